"""Priors of latent vectors."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Generator, Tensor, nn

from genlab.core.likelihood import standard_normal_log_prob
from genlab.core.noise import integers, normal
from genlab.networks.flow.vector_flows import VectorFlow
from genlab.networks.latent.latents import DiagonalNormal

__all__ = ["Encode", "FlowPrior", "LatentDensity", "NormalMixture", "NormalPrior", "Prior", "VampPrior"]

Encode = Callable[[Tensor], DiagonalNormal]
"""The approximate posterior of inputs ``[N, *shape]``."""


class LatentDensity(Protocol):
    """A distribution of latent vectors."""

    def log_prob(self, z: Tensor) -> Tensor:
        """Log-density ``[N]``, nats, of ``z [N, Z]``."""
        ...

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        """Draw ``[n, Z]``; the generator lies on the prior's device."""
        ...

    def closed_kl(self, posterior: DiagonalNormal) -> Tensor | None:
        """Divergence of a posterior from this, nats for each dimension ``[N, Z]``; None without a closed form."""
        ...


class Prior(nn.Module):
    """A family of latent distributions, which may depend on the encoder."""

    nfe: int = 0
    """Network evaluations, one after the other, that a sample costs."""

    def given(self, encode: Encode) -> LatentDensity:
        """Return the distribution under the encoder's present weights."""
        raise NotImplementedError

    def initialize(self, inputs: Tensor) -> None:
        """Set starting values from some of the encoder's inputs ``[N, *shape]``."""


class NormalPrior(Prior):
    """Independent standard normals.

    Args:
        latent_dims: Length of a latent vector.
    """

    def __init__(self, latent_dims: int) -> None:
        super().__init__()
        self.register_buffer("zero", torch.zeros(latent_dims), persistent=False)

    def given(self, encode: Encode) -> LatentDensity:
        return self

    def log_prob(self, z: Tensor) -> Tensor:
        return standard_normal_log_prob(z)

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        return normal((n, len(self.zero)), generator, self.zero.device)

    def closed_kl(self, posterior: DiagonalNormal) -> Tensor:
        return posterior.kl_to_standard()


class FlowPrior(Prior):
    """Masked autoregressive flow; Papamakarios et al. (2017), as a prior in Chen et al. (2017), section 3.2.

    Args:
        latent_dims: Length of a latent vector.
        transforms: Number of transforms.
        hidden: Widths of the hidden layers of each transform.
    """

    def __init__(self, latent_dims: int, transforms: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.flow = VectorFlow("maf", latent_dims, transforms=transforms, hidden=hidden)
        self.nfe = self.flow.nfe

    def given(self, encode: Encode) -> LatentDensity:
        return self

    def log_prob(self, z: Tensor) -> Tensor:
        return self.flow.log_prob(z)

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        return self.flow.sample(n, None, generator)

    def closed_kl(self, posterior: DiagonalNormal) -> None:
        return None


class VampPrior(Prior):
    """Mixture of the posteriors of learned pseudo-inputs; Tomczak and Welling (2018), equation 9.

    Args:
        shape: Shape of one input of the encoder.
        pseudo_inputs: Number of components.
    """

    def __init__(self, shape: Sequence[int], pseudo_inputs: int) -> None:
        super().__init__()
        # A little noise, so that two components that start from the same example part.
        self.inputs = nn.Parameter(0.05 * torch.randn(pseudo_inputs, *shape))

    @torch.no_grad()
    def initialize(self, inputs: Tensor) -> None:
        rows = torch.arange(len(self.inputs), device=inputs.device) % len(inputs)
        self.inputs += inputs[rows].to(self.inputs)

    def given(self, encode: Encode) -> LatentDensity:
        return NormalMixture(encode(self.inputs))


class NormalMixture:
    """Mixture of diagonal normals with equal weights.

    Args:
        components: Parameters ``[K, Z]``.
    """

    def __init__(self, components: DiagonalNormal) -> None:
        self.components = components
        mean, log_scale = (self._accurate(part) for part in (components.mean, components.log_scale))
        # log N(z) is a quadratic in z: two matrix products, and never [N, K, Z] in memory.
        self._precision = (-2 * log_scale).exp()
        self._linear = mean * self._precision
        normalizer = log_scale + 0.5 * math.log(2 * math.pi)
        self._constant = -(0.5 * mean.square() * self._precision + normalizer).sum(1)

    @staticmethod
    def _accurate(x: Tensor) -> Tensor:
        # The terms of the quadratic nearly cancel, which float32 would pay with hundredths of a nat.
        return x if x.device.type == "mps" else x.double()

    def log_prob(self, z: Tensor) -> Tensor:
        with torch.autocast(z.device.type, enabled=False):
            accurate = self._accurate(z)
            each = self._constant + accurate @ self._linear.T - 0.5 * accurate.square() @ self._precision.T
            return (torch.logsumexp(each, dim=1) - math.log(len(self._constant))).to(z.dtype)

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        mean, log_scale = self.components.mean, self.components.log_scale
        chosen = integers(len(mean), n, generator, mean.device)
        noise = normal((n, mean.shape[1]), generator, mean.device)
        return DiagonalNormal(mean[chosen], log_scale[chosen]).transform(noise)

    def closed_kl(self, posterior: DiagonalNormal) -> None:
        return None
