"""Noise levels of diffusion models: which are trained, and on which a sampler stands.

All are standard deviations sigma of the noise in ``x = x0 + sigma n``. The variance-preserving form of the same
example, ``alpha x0 + sqrt(1 - alpha^2) n``, is ``alpha x`` with ``alpha = 1 / sqrt(1 + sigma^2)``.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Gt
from torch import Tensor

from genlab.core.errors import GenlabError

__all__ = [
    "CosineSchedule",
    "EDMSchedule",
    "LinearSchedule",
    "NoiseConfig",
    "NoiseSchedule",
    "log_uniform_sigmas",
]

Positive = Annotated[float, Gt(0)]

MIN_QUANTILE = 1e-6
"""Keeps a normal distribution's quantiles finite: within 4.8 standard deviations."""
BETA_MIN, BETA_MAX = 0.1, 20.0
"""Rates of the linear schedule: a thousand times Ho et al.'s 1e-4 and 0.02 for one of a thousand steps."""
COSINE_OFFSET = 0.008
COSINE_START = math.pi / 2 * COSINE_OFFSET / (1 + COSINE_OFFSET)


class NoiseSchedule(ABC):
    """Noise levels from ``sigma_min`` to ``sigma_max``.

    Args:
        sigma_min: Lowest noise level of a sampler but for 0.
        sigma_max: Highest noise level of a sampler.
    """

    def __init__(self, sigma_min: float, sigma_max: float) -> None:
        self.sigma_min = sigma_min
        self.sigma_max = sigma_max

    @property
    @abstractmethod
    def prior_scale(self) -> float:
        """Standard deviation of the normal distribution with which sampling starts."""

    @abstractmethod
    def training_sigmas(self, u: Tensor) -> Tensor:
        """Quantiles ``[N]`` of the noise levels that training sees, at ``u [N]`` in [0, 1]."""

    @abstractmethod
    def descent(self, steps: int) -> Tensor:
        """Return ``[steps]`` noise levels from ``sigma_max`` down to ``sigma_min``, float64; one step: the highest."""

    def sampling_sigmas(self, steps: int) -> Tensor:
        """Return ``[steps + 1]`` noise levels from ``sigma_max`` down to 0, float64."""
        return torch.cat([self.descent(steps), torch.zeros(1, dtype=torch.float64)])


class EDMSchedule(NoiseSchedule):
    """Log-normal noise levels in training, powers of equal steps in sampling; Karras et al. (2022), table 1 and eq. 5.

    Args:
        sigma_min: Lowest noise level of a sampler but for 0.
        sigma_max: Highest noise level of a sampler.
        rho: Power of the sampler's steps; the higher, the shorter they are at low noise.
        mean: Mean of the logarithms in training.
        deviation: Standard deviation of the logarithms in training.
    """

    def __init__(self, sigma_min: float, sigma_max: float, *, rho: float, mean: float, deviation: float) -> None:
        super().__init__(sigma_min, sigma_max)
        self.rho = rho
        self.mean = mean
        self.deviation = deviation

    @property
    def prior_scale(self) -> float:
        return self.sigma_max

    def training_sigmas(self, u: Tensor) -> Tensor:
        normal = torch.special.ndtri(u.clamp(MIN_QUANTILE, 1 - MIN_QUANTILE))
        return torch.exp(self.mean + self.deviation * normal)

    def descent(self, steps: int) -> Tensor:
        ends = (self.sigma_max ** (1 / self.rho), self.sigma_min ** (1 / self.rho))
        return torch.linspace(*ends, steps, dtype=torch.float64) ** self.rho


class _TimeSchedule(NoiseSchedule):
    """Variance-preserving noise levels at times that are uniform, in training as in sampling."""

    @property
    def prior_scale(self) -> float:
        return math.sqrt(1 + self.sigma_max**2)

    @abstractmethod
    def sigma(self, t: Tensor) -> Tensor:
        """Noise levels at times in [0, 1]."""

    @abstractmethod
    def time(self, sigma: float) -> float:
        """Time at which a noise level is reached."""

    def training_sigmas(self, u: Tensor) -> Tensor:
        first, last = self.time(self.sigma_min), self.time(self.sigma_max)
        return self.sigma(first + (last - first) * u)

    def descent(self, steps: int) -> Tensor:
        times = torch.linspace(self.time(self.sigma_max), self.time(self.sigma_min), steps, dtype=torch.float64)
        return self.sigma(times)


class LinearSchedule(_TimeSchedule):
    """Rates of noise that rise linearly; Ho et al. (2020), section 4, in the continuous time of Song et al. (2021b).

    With ``beta(t)`` from 0.1 to 20 over t in [0, 1], ``alpha^2 = exp(-integral of beta)``: Song et al. (2021b),
    "Score-Based Generative Modeling through Stochastic Differential Equations", appendix C.
    """

    def sigma(self, t: Tensor) -> Tensor:
        return torch.expm1(BETA_MIN * t + (BETA_MAX - BETA_MIN) / 2 * t.square()).sqrt()

    def time(self, sigma: float) -> float:
        rise = BETA_MAX - BETA_MIN
        # The root of a quadratic equation, in the form that loses no digits at low noise.
        exponent = math.log1p(sigma**2)
        return 2 * exponent / (BETA_MIN + math.sqrt(BETA_MIN**2 + 2 * rise * exponent))


class CosineSchedule(_TimeSchedule):
    """Signal that falls like a cosine; Nichol and Dhariwal (2021), equation 17.

    Their ``alpha^2 = f(t) / f(0)`` with ``f(t) = cos^2(pi / 2 (t + s) / (1 + s))`` and s = 0.008.
    """

    def sigma(self, t: Tensor) -> Tensor:
        # 1 / alpha^2 - 1 as products, which lose no digits at low noise.
        passed = t * (math.pi / 2) / (1 + COSINE_OFFSET)
        angle = COSINE_START + passed
        return (torch.sin(passed) * torch.sin(angle + COSINE_START)).sqrt() / torch.cos(angle)

    def time(self, sigma: float) -> float:
        angle = math.acos(math.cos(COSINE_START) / math.sqrt(1 + sigma**2))
        return (angle - COSINE_START) * (2 / math.pi) * (1 + COSINE_OFFSET)


@dataclass(frozen=True)
class NoiseConfig:
    """Noise levels.

    Args:
        schedule: ``edm``, ``linear`` or ``cosine``.
        sigma_min: Lowest noise level of a sampler but for 0.
        sigma_max: Highest noise level of a sampler.
        rho: Power of the sampler's steps under ``edm``.
        mean: Mean of the logarithms in training under ``edm``.
        deviation: Standard deviation of the logarithms in training under ``edm``.
    """

    schedule: Literal["edm", "linear", "cosine"]
    sigma_min: Positive
    sigma_max: Positive
    rho: Positive
    mean: float
    deviation: Positive

    def build(self) -> NoiseSchedule:
        """Return the schedule.

        Raises:
            GenlabError: If the levels are not in order.
        """
        if self.sigma_min >= self.sigma_max:
            raise GenlabError(
                f"model.noise.sigma_min is {self.sigma_min:g} and sigma_max {self.sigma_max:g}, "
                "expected a sigma_min below sigma_max."
            )
        if self.schedule == "edm":
            return EDMSchedule(self.sigma_min, self.sigma_max, rho=self.rho, mean=self.mean, deviation=self.deviation)
        return {"linear": LinearSchedule, "cosine": CosineSchedule}[self.schedule](self.sigma_min, self.sigma_max)


def log_uniform_sigmas(u: Tensor, sigma_min: float, sigma_max: float) -> Tensor:
    """Quantiles at ``u [N]`` of noise levels whose logarithms are uniform."""
    return torch.exp(math.log(sigma_min) + math.log(sigma_max / sigma_min) * u)
