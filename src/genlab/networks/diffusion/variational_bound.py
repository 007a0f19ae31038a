"""The variational bound of a diffusion model on levels."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from genlab.core.likelihood import sum_dims
from genlab.core.noise import normal, uniform
from genlab.networks.diffusion.samplers import Denoiser

__all__ = ["level_log_mass", "variational_bound"]

CHUNK_VALUES = 2**24
"""Logits of levels that are held at a time."""


def variational_bound(
    denoise: Denoiser,
    x: Tensor,
    centres: Tensor,
    ends: tuple[float, float],
    prior_scale: float,
    count: int,
    generator: Generator | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Lower bound, in expectation, of the log-probability of levels under ancestral sampling in continuous time.

    The model draws from a normal prior, follows the reverse diffusion of the denoiser down to the lowest noise level
    and there chooses each level by :func:`level_log_mass`. Its bound has no steps whose number could make it loose, but
    an integral over noise levels: Kingma et al. (2021), "Variational Diffusion Models", equations 11 and 18::

        log P(x) >= E log P(x | z_low) - KL(q(z_high | x) | prior) - E integral of |x - D(z)|^2 / sigma^2 d ln sigma

    The integral is sampled once within each of ``count`` equal intervals of ln sigma, for each example at levels of its
    own. So the expectation does not depend on ``count``, only how far single examples scatter about it does. What is
    left of the gap to log P(x) is that of the denoiser. On uniform data of 17 levels, where the best denoiser is known,
    it is 0 within a standard error of 0.011 bits per dimension; the sum over a process of 250 steps was 0.24 bits too
    high, of 1,000 steps 0.06, of 4,000 0.014.

    Args:
        denoise: Evaluated ``count`` times.
        x: Levels ``[N, ...]``, integers.
        centres: Value of each level ``[levels]``, of rising order.
        ends: The lowest and the highest noise level, above 0.
        prior_scale: Standard deviation of the prior.
        count: Noise levels that are sampled.
        generator: Source of the noise.
        mask: Bool, of the shape of ``x``, true where there is a value; None: all is there. The bound is of these alone.

    Returns:
        ``[N]``, nats.
    """
    clean = centres[x.long()]
    low, high = ends

    def noisy(sigma: Tensor) -> Tensor:
        noise = normal(clean.shape, generator, clean.device, clean.dtype)
        return clean + sigma.view(-1, *[1] * (clean.ndim - 1)) * noise

    bound = level_log_mass(x, noisy(clean.new_full((1,), low)), centres, low, mask)
    bound = bound - _divergence_from_prior(clean, high, prior_scale, mask)
    width = math.log(high / low) / count
    for index in range(count):
        within = uniform((len(x),), generator, clean.device, clean.dtype)
        sigma = low * torch.exp(width * (index + within))
        error = sum_dims((clean - denoise(noisy(sigma), sigma)).square(), mask)
        bound = bound - width * error / sigma.square()
    return bound


def level_log_mass(x: Tensor, noisy: Tensor, centres: Tensor, sigma: float, mask: Tensor | None = None) -> Tensor:
    """Log-probability ``[N]``, nats, of levels given lightly noised values.

    The mass of a level is in proportion to the noise's density at its distance; Kingma et al. (2021), equation 8.

    Args:
        x: Levels ``[N, ...]``, integers.
        noisy: Values ``[N, ...]``.
        centres: Value of each level ``[levels]``.
        sigma: Standard deviation of the noise.
        mask: Bool, of the shape of ``x``, true where there is a value; None: all is there.
    """
    chunk = max(1, CHUNK_VALUES // (x[0].numel() * len(centres)))
    parts = []
    for levels, values in zip(x.split(chunk), noisy.split(chunk), strict=True):
        log_masses = (-0.5 * ((values[..., None] - centres) / sigma).square()).log_softmax(-1)
        parts.append(log_masses.gather(-1, levels.long()[..., None])[..., 0])
    return sum_dims(torch.cat(parts), mask)


def _divergence_from_prior(clean: Tensor, sigma: float, prior_scale: float, mask: Tensor | None) -> Tensor:
    ratio = (sigma / prior_scale) ** 2
    return sum_dims(0.5 * ((clean / prior_scale).square() + ratio - 1 - math.log(ratio)), mask)
