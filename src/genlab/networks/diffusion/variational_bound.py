"""The variational bound of a diffusion model on levels."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Generator, Tensor

from genlab.core.likelihood import sum_dims
from genlab.networks.diffusion.samplers import Denoiser

__all__ = ["level_log_mass", "variational_bound"]

CHUNK_VALUES = 2**24
"""Logits of levels that are held at a time."""


def variational_bound(
    denoise: Denoiser,
    x: Tensor,
    centres: Tensor,
    sigmas: Tensor,
    prior_scale: float,
    generator: Generator | None = None,
) -> Tensor:
    """Lower bound, in expectation, of the log-probability of levels under ancestral sampling.

    The model draws from a normal prior, goes down the noise levels by
    :func:`genlab.networks.diffusion.samplers.ddpm` and at the last chooses each level by :func:`level_log_mass`.
    Kingma et al. (2021), "Variational Diffusion Models", equations 11 to 14; all steps are summed, none is left to
    chance, so only the noise of the examples varies.

    Args:
        denoise: Evaluated once for each step.
        x: Levels ``[N, ...]``, integers.
        centres: Value of each level ``[levels]``, of rising order.
        sigmas: Falling noise levels ``[steps]``, above 0.
        prior_scale: Standard deviation of the prior.
        generator: Source of the noise.

    Returns:
        ``[N]``, nats.
    """
    clean = centres[x.long()]

    def noisy(sigma: float) -> Tensor:
        noise = torch.randn(clean.shape, generator=generator, device=clean.device, dtype=clean.dtype)
        return clean + sigma * noise

    *higher, last = sigmas.tolist()
    bound = level_log_mass(x, noisy(last), centres, last) - _divergence_from_prior(clean, sigmas[0].item(), prior_scale)
    for sigma, following in itertools.pairwise([*higher, last]):
        error = sum_dims((clean - denoise(noisy(sigma), clean.new_tensor(sigma))).square())
        # The divergence of two normals of one variance, that of the posterior.
        bound = bound - 0.5 * (following**-2 - sigma**-2) * error
    return bound


def level_log_mass(x: Tensor, noisy: Tensor, centres: Tensor, sigma: float) -> Tensor:
    """Log-probability ``[N]``, nats, of levels given lightly noised values.

    The mass of a level is in proportion to the noise's density at its distance; Kingma et al. (2021), equation 8.

    Args:
        x: Levels ``[N, ...]``, integers.
        noisy: Values ``[N, ...]``.
        centres: Value of each level ``[levels]``.
        sigma: Standard deviation of the noise.
    """
    chunk = max(1, CHUNK_VALUES // (x[0].numel() * len(centres)))
    parts = []
    for levels, values in zip(x.split(chunk), noisy.split(chunk), strict=True):
        log_masses = (-0.5 * ((values[..., None] - centres) / sigma).square()).log_softmax(-1)
        parts.append(sum_dims(log_masses.gather(-1, levels.long()[..., None])))
    return torch.cat(parts)


def _divergence_from_prior(clean: Tensor, sigma: float, prior_scale: float) -> Tensor:
    ratio = (sigma / prior_scale) ** 2
    return sum_dims(0.5 * ((clean / prior_scale).square() + ratio - 1 - math.log(ratio)))
