"""What denoising networks are told beside their input: a noise level or time, and a label."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Conditioning", "FourierFeatures", "projections"]

NUM_FREQUENCIES = 32
FREQUENCY_RANGE_LOG2 = (-1.0, 6.0)


class FourierFeatures(nn.Module):
    """Sines and cosines of a number at geometrically spaced frequencies; Vaswani et al. (2017), section 3.5.

    The frequencies go from 1/2 to 64 radians per unit: numbers in ``[-3, 3]`` stay apart, as ``log(sigma) / 4`` and
    times in ``[0, 1]`` do, and a difference of 0.01 shows.
    """

    frequencies: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.num_features = 2 * NUM_FREQUENCIES
        frequencies = torch.logspace(*FREQUENCY_RANGE_LOG2, NUM_FREQUENCIES, base=2)
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, t: Tensor) -> Tensor:
        """Map ``[N]`` to ``[N, num_features]``."""
        angles = t.to(self.frequencies.dtype)[:, None] * self.frequencies
        return torch.cat([angles.sin(), angles.cos()], dim=1)


class Conditioning(nn.Module):
    """Embed noise levels and labels into one vector, from which every block of a network takes its scales and shifts.

    A network with classes knows one label more, ``num_classes``, which means that none is given: trained with it now
    and then, the network can be guided; Ho and Salimans (2022), "Classifier-Free Diffusion Guidance", section 3.2.

    Args:
        width: Width of the embedding.
        num_classes: Number of classes, or 0: labels are passed over then.
    """

    def __init__(self, width: int, num_classes: int) -> None:
        super().__init__()
        self.width = width
        self.num_classes = num_classes
        self.features = FourierFeatures()
        self.level = nn.Sequential(nn.Linear(self.features.num_features, width), nn.SiLU(), nn.Linear(width, width))
        self.label = nn.Embedding(num_classes + 1, width) if num_classes else None

    def forward(self, t: Tensor, y: Tensor | None = None) -> Tensor:
        """Map noise levels ``[N]`` and labels ``[N]`` to ``[N, width]``; without labels, none is given to any."""
        embedding = self.level(self.features(t))
        if self.label is not None:
            none = torch.full_like(t, self.num_classes, dtype=torch.int64)
            embedding = embedding + self.label(none if y is None else y)
        return F.silu(embedding)


def projections(embedding: Tensor, layers: Sequence[nn.Linear]) -> Sequence[Tensor]:
    """Return what each layer makes of the embedding ``[N, E]``, computed for all of them at once.

    They are small products, so that on a GPU one for each layer costs its launch and little else. Each layer keeps a
    weight and a bias of its own: states of models and of optimizers, and what a seed draws, are as with one for each.

    Args:
        embedding: ``[N, E]``, or ``[1, E]`` for all examples.
        layers: With a bias each, of any widths.

    Returns:
        For each layer ``[N, its width]``, in the order given.
    """
    weight = torch.cat([layer.weight for layer in layers])
    bias = torch.cat([layer.bias for layer in layers])
    return F.linear(embedding, weight, bias).split([layer.out_features for layer in layers], dim=1)
