"""Distributions of latent variables."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["DiagonalNormal"]

MIN_LOG_SCALE = -7.0
MAX_LOG_SCALE = 2.0
# A posterior needs no scale above that of the prior, 1. Far beyond it the decoder sees noise, and the divergence grows
# with the scale's square: a scale of 17 once made the loss jump.
HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


def _precise(params: Tensor) -> Tensor:
    return params.float() if params.dtype in (torch.bfloat16, torch.float16) else params


def _bounded(log_scale: Tensor) -> Tensor:
    floored = MIN_LOG_SCALE + F.softplus(log_scale - MIN_LOG_SCALE)
    # Four times as sharp as the floor, which is far away: the scale 1, where trainings start, stays 1 to 1e-4.
    return MAX_LOG_SCALE - F.softplus(MAX_LOG_SCALE - floored, beta=4)


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

        Log-scales stay softly between -7 and 2, so that no density and no divergence can explode.
        """
        mean, log_scale = _precise(params).chunk(2, dim=1)
        return cls(mean, _bounded(log_scale))

    def shifted(self, params: Tensor) -> DiagonalNormal:
        """Return a normal whose mean and log-scale lie off these by the halves of ``params [N, 2 Z, ...]``.

        The log-scales have the bounds of :meth:`from_params`.
        """
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
