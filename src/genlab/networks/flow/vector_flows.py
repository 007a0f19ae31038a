"""Flows on vectors: zuko's, with the noise drawn from a given generator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import zuko
from torch import Generator, Tensor, nn
from zuko.flows.autoregressive import MaskedAutoregressiveTransform
from zuko.lazy import LazyTransform

from genlab.core.noise import normal
from genlab.core.replaying import kept
from genlab.networks.flow.invertible import ActNorm

__all__ = ["VECTOR_FLOWS", "VectorFlow"]

VECTOR_FLOWS: dict[str, Callable[..., zuko.flows.Flow]] = {
    "nsf": zuko.flows.NSF,
    "maf": zuko.flows.MAF,
    "realnvp": zuko.flows.RealNVP,
}
"""Neural spline flow, masked autoregressive flow (both autoregressive) and affine coupling flow."""


class VectorFlow(nn.Module):
    """A flow of zuko's on flattened data, standardized first by its starting batch.

    Args:
        kind: A key of :data:`VECTOR_FLOWS`.
        num_dims: Dimensions of one example.
        transforms: Number of transforms.
        hidden: Widths of the hidden layers.
        context: Length of an optional context vector.
    """

    def __init__(self, kind: str, num_dims: int, *, transforms: int, hidden: Sequence[int], context: int = 0) -> None:
        super().__init__()
        # Splines act on [-5, 5] only, so the data is brought to unit variance.
        self.standardize = ActNorm(num_dims)
        self.flow = VECTOR_FLOWS[kind](num_dims, context, transforms=transforms, hidden_features=list(hidden))

    @property
    def nfe(self) -> int:
        """Network evaluations that a sample costs: one per dimension where a transform is autoregressive."""
        return max(getattr(transform, "passes", 1) for transform in self.flow.transform.transforms)

    @property
    def num_latents(self) -> int:
        """Length of a code: the number of dimensions."""
        return len(self.standardize.shift)

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Log-density ``[N]``, nats, of ``x [N, ...]`` given context ``[N, context]``."""
        z, log_det = self.standardize(x.flatten(1)[:, :, None, None])
        # Masked linear layers gain nothing from bfloat16 and a density loses by it.
        with torch.autocast(x.device.type, enabled=False):
            return self.flow(context).log_prob(z.flatten(1)) + log_det

    def encode(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the standard normal latents ``[N, num_dims]`` of ``x [N, ...]``."""
        z, _ = self.standardize(x.flatten(1)[:, :, None, None])
        with torch.autocast(x.device.type, enabled=False):
            return self.flow(context).transform(z.flatten(1))

    def decode(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the vectors ``[N, num_dims]`` whose latents are ``z [N, num_dims]``."""
        for transform in reversed(self.flow.transform.transforms):
            z = _undone(transform, z, context)
        return self.standardize.inverse(z[:, :, None, None]).flatten(1)

    def sample(self, n: int, context: Tensor | None = None, generator: Generator | None = None) -> Tensor:
        """Draw ``[n, num_dims]`` given context ``[n, context]``; the generator lies on the model's device."""
        shift = self.standardize.shift
        return self.decode(normal((n, len(shift)), generator, shift.device), context)


def _undone(transform: LazyTransform, y: Tensor, context: Tensor | None) -> Tensor:
    """Return the vectors ``[N, num_dims]`` whose image by a transform is ``y``."""
    if not isinstance(transform, MaskedAutoregressiveTransform):
        return transform(context).inv(y)
    step = kept(_Pass(transform), y.device, transform.passes, "the passes of the flow")
    x = torch.zeros_like(y)
    for _ in range(transform.passes):
        x = step(x, y, context)
    return x


@dataclass(frozen=True)
class _Pass:
    """Undo a masked autoregressive transform, given what of its result is known so far: one dimension more each time.

    That is a turn of the loop in zuko's inverse.
    """

    transform: MaskedAutoregressiveTransform

    def __call__(self, x: Tensor, y: Tensor, context: Tensor | None) -> Tensor:
        return self.transform.meta(context, x).inv(y)
