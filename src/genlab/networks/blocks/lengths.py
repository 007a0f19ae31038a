"""How long examples are: what is drawn before a sample of data whose examples differ in length."""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn

from genlab.core import noise
from genlab.core.codec import one_hot
from genlab.core.spec import DataSpec

__all__ = ["Lengths"]


class Lengths(nn.Module):
    """The lengths of training examples, of each class where the model has classes; a sample gets one of them.

    Likelihoods are given the length. Every example has its values first and then none, along its last axis.

    Args:
        spec: What one example is.
        num_classes: Labels that the model is given, or 0.
    """

    counts: Tensor

    def __init__(self, spec: DataSpec, num_classes: int) -> None:
        super().__init__()
        self.shape = spec.shape
        counts = torch.zeros(max(1, num_classes), spec.shape[-1] + 1)
        counts[:, -1] = 1
        self.register_buffer("counts", counts)

    @torch.no_grad()
    def fit(self, mask: Tensor | None, y: Tensor | None) -> None:
        """Count the lengths of examples: their ``mask [N, *shape]``, None where all is there, and labels ``[N]``."""
        if mask is None:
            return
        lengths = mask.flatten(1, -2)[:, 0].sum(1) if mask.ndim > 2 else mask.sum(1)
        rows = torch.zeros_like(lengths) if len(self.counts) == 1 or y is None else y
        counted = torch.zeros_like(self.counts).index_put_(
            (rows, lengths), torch.ones_like(lengths, dtype=self.counts.dtype), accumulate=True
        )
        # A class of which no example was seen has the lengths of all.
        empty = counted.sum(1, keepdim=True) == 0
        self.counts.copy_(torch.where(empty, counted.sum(0, keepdim=True), counted))

    def sample(
        self, n: int, y: Tensor | None = None, generator: Generator | None = None, kept: Tensor | None = None
    ) -> Tensor:
        """Draw ``[n, *shape]``, bool: true where a sample has a value.

        Args:
            n: How many.
            y: Labels ``[n]``, where there are classes.
            generator: Source of the noise.
            kept: ``[n, *shape]``, bool: values that a sample has in any case, so that it does not end before the last.
        """
        device = self.counts.device
        uniform = noise.uniform((n,), generator, device)
        weights = self.counts if len(self.counts) == 1 or y is None else one_hot(y, len(self.counts)) @ self.counts
        if kept is not None:
            weights = self._at_least(weights, kept)
        cumulative = (weights / weights.sum(1, keepdim=True)).cumsum(1)[:, :-1].expand(n, -1)
        lengths = (cumulative <= uniform[:, None]).sum(1)
        places = torch.arange(self.shape[-1], device=device)
        there = places < lengths[:, None]
        return there.view(n, *[1] * (len(self.shape) - 1), -1).expand(n, *self.shape)

    def _at_least(self, weights: Tensor, kept: Tensor) -> Tensor:
        """Return the weights ``[n, T + 1]`` of lengths that reach the last value that is kept."""
        places = torch.arange(1, self.shape[-1] + 1, device=kept.device)
        last = (kept.flatten(1, -2).any(1) if kept.ndim > 2 else kept).mul(places).amax(1)
        lengths = torch.arange(self.shape[-1] + 1, device=kept.device)
        long_enough = weights.where(lengths >= last[:, None], 0)
        # No training example may have been so long: then this one ends with what is kept.
        return long_enough.where(long_enough.any(1, keepdim=True), (lengths == last[:, None]).to(weights.dtype))
