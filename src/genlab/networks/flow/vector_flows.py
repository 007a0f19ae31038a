"""Flows on vectors: zuko's, with the noise drawn from a given generator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import zuko
from torch import Generator, Tensor, nn
from zuko.flows.autoregressive import MaskedAutoregressiveTransform

from genlab.core.noise import normal
from genlab.core.replaying import kept
from genlab.networks.flow.autoregressive import AutoregressiveInverse, ElementInverse, affine_inverse, spline_inverse
from genlab.networks.flow.invertible import ActNorm

__all__ = ["VECTOR_FLOWS", "VectorFlow"]


class Kind(NamedTuple):
    """A kind of flow.

    Attributes:
        make: Makes it: a class of zuko's.
        element: Inverse of its transform of one dimension where it is fully autoregressive, else None.
    """

    make: Callable[..., zuko.flows.Flow]
    element: ElementInverse | None


VECTOR_FLOWS = {
    "nsf": Kind(zuko.flows.NSF, spline_inverse),
    "maf": Kind(zuko.flows.MAF, affine_inverse),
    "realnvp": Kind(zuko.flows.RealNVP, None),
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
        make, element = VECTOR_FLOWS[kind]
        self.flow = make(num_dims, context, transforms=transforms, hidden_features=list(hidden))
        self._inverses = [
            AutoregressiveInverse(transform, element)
            if element is not None and isinstance(transform, MaskedAutoregressiveTransform)  # one dimension has none
            else None
            for transform in self.flow.transform.transforms
        ]

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
        x = z
        with torch.autocast(z.device.type, enabled=False):
            for transform, inverse in reversed([*zip(self.flow.transform.transforms, self._inverses, strict=True)]):
                if inverse is None:
                    x = transform(context).inv(x)
                else:
                    x = kept(inverse, x.device, 1, "the inverse of the flow")(x, context)
        return self.standardize.inverse(x[:, :, None, None]).flatten(1)

    def sample(self, n: int, context: Tensor | None = None, generator: Generator | None = None) -> Tensor:
        """Draw ``[n, num_dims]`` given context ``[n, context]``; the generator lies on the model's device."""
        shift = self.standardize.shift
        return self.decode(normal((n, len(shift)), generator, shift.device), context)
