"""Perceptron on vectors that is told how noisy its input is."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from genlab.core.errors import GenlabError
from genlab.networks.blocks.conditioning import Conditioning, projections

__all__ = ["TimeMLP"]


class ConditionedLinear(nn.Module):
    """Residual block of two linear layers with scales and shifts between them; starts as its shortcut.

    Nothing is normalized: how far a point lies from the origin matters to its noise.

    Args:
        inputs: Width of the input.
        outputs: Width of the output.
        embedding: Width of the embedding.
    """

    def __init__(self, inputs: int, outputs: int, embedding: int) -> None:
        super().__init__()
        self.enter = nn.Linear(inputs, outputs)
        self.modulate = nn.Linear(embedding, 2 * outputs)
        self.leave = nn.Linear(outputs, outputs)
        self.shortcut = nn.Identity() if inputs == outputs else nn.Linear(inputs, outputs)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, x: Tensor, modulation: Tensor) -> Tensor:
        """Map ``[N, inputs]`` to ``[N, outputs]``, given what ``modulate`` makes of the embedding."""
        scale, shift = modulation.chunk(2, dim=1)
        h = self.enter(F.silu(x)) * (1 + scale) + shift
        return self.shortcut(x) + self.leave(F.silu(h))


class TimeMLP(nn.Module):
    """Residual perceptron on vectors, given noise levels or times; the output starts at zero.

    Args:
        dims: Dimensions of one vector.
        hidden: Width of each residual block.
        num_classes: Number of classes, or 0; the label ``num_classes`` means that none is given.

    Raises:
        GenlabError: If there is no block.
    """

    def __init__(self, dims: int, hidden: Sequence[int], num_classes: int) -> None:
        super().__init__()
        if not hidden:
            raise GenlabError("hidden is empty, expected the width of each block: use hidden=[128,128,128].")
        self.conditioning = Conditioning(hidden[0], num_classes)
        self.enter = nn.Linear(dims, hidden[0])
        self.blocks = nn.ModuleList(
            ConditionedLinear(before, after, hidden[0])
            for before, after in zip([hidden[0], *hidden[:-1]], hidden, strict=True)
        )
        self.leave = nn.Linear(hidden[-1], dims)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the network's value at noisy vectors.

        Args:
            x: Vectors ``[N, dims]``.
            t: Noise levels or times ``[N]``, or ``[1]`` for all, within about ``[-3, 3]``.
            y: Labels ``[N]``; None: none is given. Passed over by a network without classes.

        Returns:
            ``[N, dims]`` in the dtype of ``x``.
        """
        modulations = projections(self.conditioning(t, y), [block.modulate for block in self.blocks])
        h = self.enter(x)
        for block, modulation in zip(self.blocks, modulations, strict=True):
            h = block(h, modulation)
        return self.leave(F.silu(h)).to(x.dtype)
