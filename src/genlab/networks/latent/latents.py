"""Distributions of latent variables."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["DiagonalNormal", "active_units"]

MIN_LOG_SCALE = -7.0
# A network that errs by a few units in a log-scale asks for draws from where no decoder was trained: one scale of 17,
# beside a prior's 1, made the loss jump. Against a standard normal no posterior gains by being wider, and other priors
# are learned in whatever unit the posteriors have; so e, 2.7, is room enough, also for the wide proposals of importance
# weighting. The bound is sharper than the floor, so that scales up to 1 stay what the network says, and a layer that
# starts as its prior has no divergence from it.
MAX_LOG_SCALE = 1.0
MAX_SHARPNESS = 6.0
ACTIVE_VARIANCE = 0.01
HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


def _precise(params: Tensor) -> Tensor:
    return params.float() if params.dtype in (torch.bfloat16, torch.float16) else params


def _bounded(log_scale: Tensor) -> Tensor:
    floored = MIN_LOG_SCALE + F.softplus(log_scale - MIN_LOG_SCALE)
    return MAX_LOG_SCALE - F.softplus(MAX_LOG_SCALE - floored, beta=MAX_SHARPNESS)


@dataclass(frozen=True)
class DiagonalNormal:
    """Independent normal distributions.

    Attributes:
        mean: ``[N, ...]``, float32 or better.
        log_scale: Logarithms of the standard deviations, ``[N, ...]``.
    """

    mean: Tensor
    log_scale: Tensor

    @classmethod
    def from_params(cls, params: Tensor) -> DiagonalNormal:
        """Read mean and log-scale from the halves of ``params [N, 2 Z, ...]``, which a network may give in bfloat16.

        Log-scales stay softly within [-7, 1]: below no density can explode, above no draw.
        """
        mean, log_scale = _precise(params).chunk(2, dim=1)
        return cls(mean, _bounded(log_scale))

    def shifted(self, params: Tensor) -> DiagonalNormal:
        """Return a normal whose mean and log-scale lie off these by the halves of ``params [N, 2 Z, ...]``."""
        mean, log_scale = _precise(params).chunk(2, dim=1)
        return DiagonalNormal(self.mean + mean, _bounded(self.log_scale + log_scale))

    def expand(self, draws: int) -> DiagonalNormal:
        """Return one distribution for each of several draws, ``[draws, N, ...]``, without copying."""
        return DiagonalNormal(self.mean.expand(draws, *self.mean.shape), self.log_scale.expand(draws, *self.mean.shape))

    def transform(self, noise: Tensor) -> Tensor:
        """Turn standard normal noise into draws; Kingma and Welling (2014), section 2.4."""
        return self.mean + self.log_scale.exp() * noise

    def log_prob(self, z: Tensor) -> Tensor:
        """Log-density of each dimension, nats, in the shape that ``z`` and the parameters broadcast to."""
        return -0.5 * ((z - self.mean) * (-self.log_scale).exp()).square() - self.log_scale - HALF_LOG_TWO_PI

    def kl_to_standard(self) -> Tensor:
        """Divergence of each dimension from a standard normal, nats; Kingma and Welling (2014), appendix B."""
        return 0.5 * (self.mean.square() + (2 * self.log_scale).exp() - 1) - self.log_scale

    def kl(self, other: DiagonalNormal) -> Tensor:
        """Divergence of each dimension from another normal, nats."""
        distance = (self.mean - other.mean) * (-other.log_scale).exp()
        ratio = self.log_scale - other.log_scale
        return 0.5 * (distance.square() + (2 * ratio).exp() - 1) - ratio


def active_units(means: Tensor) -> Tensor:
    """Count the latents whose posterior mean varies over the data; Burda et al. (2016), section 5.2.

    Args:
        means: Posterior means ``[N, Z]`` of N examples.

    Returns:
        Scalar: how many of the Z variances exceed 0.01, the threshold of the paper.
    """
    return (means.detach().var(0, correction=0) > ACTIVE_VARIANCE).sum().to(means.dtype)
