"""Samplers of diffusion models: from noise to data along falling noise levels.

All have one signature, ``sampler(denoise, x, sigmas, generator) -> x``. They are written for ``x = x0 + sigma n``, in
which variance-preserving processes have the same trajectories up to the factor alpha; Karras et al. (2022), section 2.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

from torch import Generator, Tensor

from genlab.core.noise import normal

__all__ = [
    "SAMPLERS",
    "Denoiser",
    "Sampler",
    "SamplerName",
    "ddim",
    "ddpm",
    "dpm_solver_2m",
    "heun",
    "stochastic_heun",
]

SamplerName = Literal["ddpm", "ddim", "heun", "stochastic_heun", "dpm_solver_2m"]
Denoiser = Callable[[Tensor, Tensor], Tensor]
"""Maps noisy examples ``[N, ...]`` and their noise levels, a scalar tensor for all or ``[N]``, to denoised ones."""

CHURN = 40.0
"""S_churn of Karras et al. (2022), table 5, for ImageNet."""


def ddpm(denoise: Denoiser, x: Tensor, sigmas: Tensor, generator: Generator | None = None) -> Tensor:
    """Ancestral sampling; Ho et al. (2020), algorithm 2, with the posterior's variance, equation 7.

    Given a denoised example the posterior of the next noise level is normal; it is sampled. First order.

    Args:
        denoise: Evaluated once for each step.
        x: Examples ``[N, ...]`` at the first noise level.
        sigmas: Falling noise levels ``[steps + 1]``; the last may be 0.
        generator: Source of the noise, on the device of ``x``.

    Returns:
        Examples ``[N, ...]`` at the last noise level.
    """
    for sigma, following in _steps(sigmas):
        kept = (following / sigma) ** 2
        mean = kept * x + (1 - kept) * denoise(x, x.new_full((), sigma))
        noise = normal(x.shape, generator, x.device, x.dtype)
        x = mean + following * math.sqrt(1 - kept) * noise
    return x


def ddim(denoise: Denoiser, x: Tensor, sigmas: Tensor, generator: Generator | None = None) -> Tensor:
    """Deterministic sampling; Song et al. (2021a), equation 12 with eta = 0: Euler steps in sigma. First order.

    The arguments are those of :func:`ddpm`; no noise is drawn.
    """
    for sigma, following in _steps(sigmas):
        kept = following / sigma
        x = kept * x + (1 - kept) * denoise(x, x.new_full((), sigma))
    return x


def heun(denoise: Denoiser, x: Tensor, sigmas: Tensor, generator: Generator | None = None) -> Tensor:
    """Heun's method; Karras et al. (2022), algorithm 1. Second order.

    Two evaluations for each step, but for one to 0, which is Euler's. Arguments as of :func:`ddpm`; no noise is drawn.
    """
    for sigma, following in _steps(sigmas):
        x = _heun_step(denoise, x, sigma, following)
    return x


def stochastic_heun(denoise: Denoiser, x: Tensor, sigmas: Tensor, generator: Generator | None = None) -> Tensor:
    """Heun's method from a level raised by fresh noise at each step; Karras et al. (2022), algorithm 2.

    The level is multiplied by 1 + ``CHURN`` / steps, at most by the square root of 2; at all levels, and with noise of
    just the size that is missing (the paper's S_min = 0, S_max = infinity, S_noise = 1). The exact solution has the
    distributions of :func:`heun`, but errors of the network on the way are partly forgotten. Evaluations as of
    :func:`heun`, arguments as of :func:`ddpm`.
    """
    raise_by = min(CHURN / (len(sigmas) - 1), math.sqrt(2) - 1)
    for sigma, following in _steps(sigmas):
        raised = sigma * (1 + raise_by)
        noise = normal(x.shape, generator, x.device, x.dtype)
        x = _heun_step(denoise, x + math.sqrt(raised**2 - sigma**2) * noise, raised, following)
    return x


def _heun_step(denoise: Denoiser, x: Tensor, sigma: float, following: float) -> Tensor:
    slope = (x - denoise(x, x.new_full((), sigma))) / sigma
    euler = x + (following - sigma) * slope
    if following == 0:
        return euler
    corrected = (euler - denoise(euler, x.new_full((), following))) / following
    return x + (following - sigma) * (slope + corrected) / 2


def dpm_solver_2m(denoise: Denoiser, x: Tensor, sigmas: Tensor, generator: Generator | None = None) -> Tensor:
    """DPM-Solver++(2M); Lu et al. (2022), "DPM-Solver++", algorithm 2. Second order.

    An exponential integrator in ``-ln(sigma)`` that extrapolates from the last two denoised examples: one evaluation
    for each step. The first step and one to 0 are of first order. Arguments as of :func:`ddpm`; no noise is drawn.
    """
    previous: tuple[float, Tensor] | None = None
    for sigma, following in _steps(sigmas):
        denoised = denoise(x, x.new_full((), sigma))
        estimate = denoised
        if previous is not None and following > 0:
            last_sigma, last_denoised = previous
            half_ratio = math.log(sigma / following) / (2 * math.log(last_sigma / sigma))
            estimate = (1 + half_ratio) * denoised - half_ratio * last_denoised
        kept = following / sigma
        x = kept * x + (1 - kept) * estimate
        previous = sigma, denoised
    return x


def _steps(sigmas: Tensor) -> Iterator[tuple[float, float]]:
    return itertools.pairwise(sigmas.tolist())


class Sampler(NamedTuple):
    """A sampler and what it costs.

    Attributes:
        run: Any function of this module.
        evaluations: Evaluations of the denoiser for a number of steps, the last of them to 0.
    """

    run: Callable[[Denoiser, Tensor, Tensor, Generator | None], Tensor]
    evaluations: Callable[[int], int]


SAMPLERS: dict[SamplerName, Sampler] = {
    "ddpm": Sampler(ddpm, lambda steps: steps),
    "ddim": Sampler(ddim, lambda steps: steps),
    "heun": Sampler(heun, lambda steps: 2 * steps - 1),
    "stochastic_heun": Sampler(stochastic_heun, lambda steps: 2 * steps - 1),
    "dpm_solver_2m": Sampler(dpm_solver_2m, lambda steps: steps),
}
"""The samplers by name."""
