"""Likelihoods of the data as it is: dequantization, the logit with its log-determinant, bits per dimension.

The only place where these are computed, so that every family's figure means the same.
Everything here runs in float32 or better, also under autocast.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from genlab.core.noise import uniform

__all__ = [
    "Dequantized",
    "Dequantizer",
    "Logit",
    "NoiseDequantizer",
    "active_units",
    "bits_per_dim",
    "dequantized_log_weights",
    "importance_weighted",
    "log_weights",
    "mean_bits_per_dim",
    "standard_normal_log_prob",
    "sum_dims",
    "uniform_dequantize",
]

ACTIVE_VARIANCE = 0.01
"""Variance over the data of the mean of a latent that counts as active."""


def sum_dims(x: Tensor, mask: Tensor | None = None) -> Tensor:
    """Sum over every axis but the first, leaving out what a mask says is not there: ``[N, ...] -> [N]``.

    Args:
        x: ``[N, ...]``.
        mask: Bool, of the same shape, true where there is a value; None: all is there.
    """
    # Chosen and not multiplied: what stands where nothing is may be infinite.
    return (x if mask is None else x.where(mask, 0)).flatten(1).sum(1)


def standard_normal_log_prob(z: Tensor, mask: Tensor | None = None) -> Tensor:
    """Log-density of independent standard normals, of those that are there: nats per example, ``[N, ...] -> [N]``."""
    return sum_dims(-0.5 * (z.square() + math.log(2 * math.pi)), mask)


def bits_per_dim(log_prob: Tensor, num_dims: int) -> Tensor:
    """Negative log-probability in bits per dimension, from nats per example.

    Args:
        log_prob: Nats per example of discrete data, any shape.
        num_dims: Dimensions of one example; the uniform model over 256 levels gives exactly 8.
    """
    return -log_prob / (num_dims * math.log(2))


def mean_bits_per_dim(log_prob: Tensor, num_dims: int, mask: Tensor | None = None) -> Tensor:
    """Bits per dimension of a whole batch, in which each value that is there counts as much.

    Args:
        log_prob: ``[N]``, nats per example of discrete data.
        num_dims: Dimensions of one example, where all are there.
        mask: ``[N, ...]``, bool, true where there is a value; None: all is there.

    Returns:
        A scalar.
    """
    if mask is None:
        return bits_per_dim(log_prob, num_dims).mean()
    return -log_prob.sum() / (mask.sum().clamp_min(1) * math.log(2))


def importance_weighted(log_weights: Tensor) -> Tensor:
    """Importance-weighted lower bound of the log-probability: ``log mean_k exp(log_weights)``.

    Args:
        log_weights: ``[K, N]``, nats: log p(x, z_k) - log q(z_k | x).

    Returns:
        ``[N]``, nats; rises in expectation with K to the exact log-probability.
        Burda et al. (2016), "Importance Weighted Autoencoders", equation 8.
    """
    return torch.logsumexp(log_weights, dim=0) - math.log(log_weights.shape[0])


class Dequantized(NamedTuple):
    """Continuous data made from levels.

    Attributes:
        z: ``[N, ...]`` in ``[0, 1)``: (x + u) / levels with noise u in ``[0, 1)``.
        log_q: ``[N]``, nats: log-density of u given x.
    """

    z: Tensor
    log_q: Tensor


class Dequantizer(Protocol):
    """Anything that draws noise u for integers x and knows its density."""

    def __call__(self, x: Tensor, levels: int, generator: Generator | None = None) -> Dequantized: ...


class NoiseDequantizer(Protocol):
    """A dequantizer that first draws noise of the integers' shape alone, and then makes u of noise and integers."""

    def noise(self, x: Tensor, generator: Generator | None = None) -> Tensor:
        """Draw what :meth:`of_noise` takes, by the shape and device of ``x`` alone."""
        ...

    def of_noise(self, x: Tensor, noise: Tensor, levels: int) -> Dequantized:
        """Dequantize ``x``, drawing nothing."""
        ...


class _Uniform:
    """Add uniform noise to integers, the density of which is 1.

    Theis et al. (2016), "A note on the evaluation of generative models", section 3.1.
    """

    def noise(self, x: Tensor, generator: Generator | None = None) -> Tensor:
        return uniform(x.shape, generator, x.device)

    def of_noise(self, x: Tensor, noise: Tensor, levels: int) -> Dequantized:
        return Dequantized((x + noise) / levels, torch.zeros(x.shape[0], device=x.device))

    def __call__(self, x: Tensor, levels: int, generator: Generator | None = None) -> Dequantized:
        return self.of_noise(x, self.noise(x, generator), levels)


uniform_dequantize = _Uniform()


def dequantized_log_weights(
    x: Tensor,
    levels: int,
    log_density: Callable[[Tensor], Tensor],
    dequantize: Dequantizer = uniform_dequantize,
    generator: Generator | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """One importance weight of the probability of integers under a density on ``[0, 1]^D``.

    P(x) is the integral of the density over the cell of x; with noise u ~ q(u | x) that is the
    expectation of p((x + u) / levels) / (levels^D q(u | x)). Ho et al. (2019), "Flow++", equation 12.

    Args:
        x: ``[N, ...]``, integers in ``[0, levels)``.
        levels: Number of values per dimension.
        log_density: Maps ``[N, ...]`` in ``[0, 1]`` to nats ``[N]``.
        dequantize: Draws the noise and gives its log-density.
        generator: Source of the noise.
        mask: Bool, of the shape of ``x``, true where there is a value; None: all is there. The log-density is then of
            these alone, and so are the cells; the noise must have a log-density of 0 elsewhere, as uniform noise has.

    Returns:
        ``[N]``, nats: a lower bound of log P(x) in expectation.
    """
    noisy = dequantize(x, levels, generator)
    return log_weights(log_density(noisy.z), noisy, levels, mask)


def log_weights(log_density: Tensor, noisy: Dequantized, levels: int, mask: Tensor | None = None) -> Tensor:
    """Return what :func:`dequantized_log_weights` does, given the log-density ``[N]`` of dequantized integers."""
    dims = noisy.z[0].numel() if mask is None else mask.flatten(1).sum(1)
    return log_density - noisy.log_q - dims * math.log(levels)


class Logit:
    """Map ``[0, 1]`` to the real line and back, keeping ``alpha`` away from the borders.

    Dinh et al. (2017), "Density estimation using Real NVP", section 4.1: logit(alpha + (1 - 2 alpha) z).

    Args:
        alpha: Distance kept from 0 and 1, in ``(0, 0.5)``.
    """

    def __init__(self, alpha: float = 1e-6) -> None:
        self.alpha = alpha

    def forward(self, z: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the transformed values and the log-determinant ``[N]``, nats, of what a mask says is there."""
        squeezed = self.alpha + (1 - 2 * self.alpha) * z
        log_p, log_1mp = squeezed.log(), torch.log1p(-squeezed)
        log_det = sum_dims(math.log(1 - 2 * self.alpha) - log_p - log_1mp, mask)
        return log_p - log_1mp, log_det

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return values in ``[0, 1]`` (clamped) and the log-determinant of this inverse ``[N]``, nats."""
        squeezed = torch.sigmoid(y)
        log_det = sum_dims(F.logsigmoid(y) + F.logsigmoid(-y) - math.log(1 - 2 * self.alpha))
        return ((squeezed - self.alpha) / (1 - 2 * self.alpha)).clamp(0, 1), log_det


def active_units(means: Tensor) -> Tensor:
    """Count the latents whose posterior mean varies over the data; Burda et al. (2016), section 5.2.

    Args:
        means: Posterior means ``[N, Z]`` of N examples.

    Returns:
        Scalar: how many of the Z variances exceed 0.01, the threshold of the paper.
    """
    return (means.detach().var(0, correction=0) > ACTIVE_VARIANCE).sum().to(means.dtype)
