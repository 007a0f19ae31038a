"""What a denoising network predicts, and how much each noise level weighs in training.

Every parameterization is affine: with the noisy example ``x = x0 + sigma n`` and the network's value F, the denoised
example is ``D(x; sigma) = skip x + output F(input x)``; Karras et al. (2022), equation 7. So all are one denoiser.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

from torch import Tensor

__all__ = [
    "PARAMETERIZATIONS",
    "SIGMA_DATA",
    "Coefficients",
    "ParameterizationName",
    "edm_weight",
    "likelihood_weight",
    "min_snr_weight",
    "noise_condition",
]

ParameterizationName = Literal["edm", "epsilon", "v", "x0"]

SIGMA_DATA = 0.5
"""Standard deviation of the data that the edm parameterization and weight expect; Karras et al. (2022), table 1."""
MIN_SNR_GAMMA = 5.0


class Coefficients(NamedTuple):
    """The factors of a parameterization at some noise levels, each broadcastable to the examples.

    Attributes:
        skip: Factor of the noisy example.
        output: Factor of the network's value.
        input: Factor of what the network sees.
    """

    skip: Tensor
    output: Tensor
    input: Tensor

    def denoised(self, x: Tensor, value: Tensor) -> Tensor:
        """Return the denoised example for a network's value at the noisy example ``x``."""
        return self.skip * x + self.output * value

    def value(self, x: Tensor, denoised: Tensor) -> Tensor:
        """Return the network's value that gives this denoised example; the target of training for a clean one."""
        return (denoised - self.skip * x) / self.output


def _edm(sigma: Tensor) -> Coefficients:
    """Karras et al. (2022), table 1: input and target of unit variance at every noise level."""
    total = sigma.square() + SIGMA_DATA**2
    return Coefficients(SIGMA_DATA**2 / total, sigma * SIGMA_DATA / total.sqrt(), total.rsqrt())


def _epsilon(sigma: Tensor) -> Coefficients:
    """The noise n; Ho et al. (2020), equation 12."""
    return Coefficients(sigma.new_ones(sigma.shape), -sigma, _alpha(sigma))


def _v(sigma: Tensor) -> Coefficients:
    """The velocity ``alpha n - sigma alpha x0``; Salimans and Ho (2022), section 4 and appendix D."""
    alpha = _alpha(sigma)
    return Coefficients(alpha.square(), -sigma * alpha, alpha)


def _x0(sigma: Tensor) -> Coefficients:
    """The clean example; Ho et al. (2020), section 3.2."""
    return Coefficients(sigma.new_zeros(sigma.shape), sigma.new_ones(sigma.shape), _alpha(sigma))


def _alpha(sigma: Tensor) -> Tensor:
    return (1 + sigma.square()).rsqrt()


PARAMETERIZATIONS: dict[ParameterizationName, Callable[[Tensor], Coefficients]] = {
    "edm": _edm,
    "epsilon": _epsilon,
    "v": _v,
    "x0": _x0,
}
"""The coefficients at noise levels of any shape, by name."""


def noise_condition(sigma: Tensor) -> Tensor:
    """What a network is told of the noise level, ``ln(sigma) / 4``; Karras et al. (2022), table 1."""
    return sigma.log() / 4


def edm_weight(sigma: Tensor) -> Tensor:
    """Weight of the squared error of the denoised example; Karras et al. (2022), table 1.

    It gives the edm parameterization's targets weight 1 at every noise level.
    """
    return (sigma.square() + SIGMA_DATA**2) / (sigma * SIGMA_DATA).square()


def min_snr_weight(sigma: Tensor) -> Tensor:
    """Weight of the squared error of the denoised example, ``min(1 / sigma^2, 5)``; Hang et al. (2023), section 3.4."""
    return sigma.square().reciprocal().clamp_max(MIN_SNR_GAMMA)


def likelihood_weight(sigma: Tensor, sigma_min: float, sigma_max: float) -> Tensor:
    """Weight that makes squared errors at log-uniform noise levels the variational bound's loss, in nats.

    Half the integral over the signal-to-noise ratio ``1 / sigma^2`` of the squared error: Kingma et al. (2021),
    "Variational Diffusion Models", equation 18. It depends on the ends of the schedule alone, so the logarithm of
    sigma, in which the integrand is nearly level, can be drawn uniformly.
    """
    return math.log(sigma_max / sigma_min) / sigma.square()
