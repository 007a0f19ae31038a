"""Parameterizations of one denoiser, and the weights of noise levels, against their definitions."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from genlab.networks.diffusion.noise_schedules import log_uniform_sigmas
from genlab.networks.diffusion.preconditioning import (
    PARAMETERIZATIONS,
    SIGMA_DATA,
    edm_weight,
    likelihood_weight,
    min_snr_weight,
)

SIGMA = torch.logspace(-3, 2, 21, dtype=torch.float64)[:, None]
X = torch.randn(21, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * (1 + SIGMA)


def some_denoiser(x: Tensor, sigma: Tensor) -> Tensor:
    return torch.tanh(x / (1 + sigma)) - 0.1 * sigma.cos()


@pytest.mark.parametrize(("one", "other"), list(itertools.permutations(PARAMETERIZATIONS, 2)))
def test_converted_into_each_other_all_are_the_same_denoiser(one: str, other: str) -> None:
    first, second = PARAMETERIZATIONS[one](SIGMA), PARAMETERIZATIONS[other](SIGMA)
    denoised = first.denoised(X, first.value(X, some_denoiser(X, SIGMA)))
    converted = second.denoised(X, second.value(X, denoised))
    torch.testing.assert_close(converted, some_denoiser(X, SIGMA), rtol=1e-9, atol=1e-9)


def test_values_are_what_their_names_say() -> None:
    clean, noise = torch.randn(2, 21, 5, dtype=torch.float64)
    x = clean + SIGMA * noise
    alpha = 1 / (1 + SIGMA**2).sqrt()
    expected = {"epsilon": noise, "x0": clean, "v": alpha * noise - alpha * SIGMA * clean}
    for name, value in expected.items():
        torch.testing.assert_close(PARAMETERIZATIONS[name](SIGMA).value(x, clean), value, rtol=1e-9, atol=1e-9)
        # The network sees the variance-preserving form.
        torch.testing.assert_close(PARAMETERIZATIONS[name](SIGMA).input, alpha)


def test_edm_inputs_and_targets_have_unit_variance_at_every_level() -> None:
    noise = torch.Generator().manual_seed(0)
    clean = SIGMA_DATA * torch.randn(21, 200_000, generator=noise, dtype=torch.float64)
    x = clean + SIGMA * torch.randn(21, 200_000, generator=noise, dtype=torch.float64)
    factors = PARAMETERIZATIONS["edm"](SIGMA)
    for values in (factors.input * x, factors.value(x, clean)):
        torch.testing.assert_close(values.var(1), torch.ones(21, dtype=torch.float64), rtol=0.02, atol=0)
    torch.testing.assert_close(edm_weight(SIGMA) * factors.output**2, torch.ones_like(SIGMA))


def test_min_snr_is_the_signal_to_noise_ratio_up_to_five() -> None:
    torch.testing.assert_close(min_snr_weight(torch.tensor([0.1, 0.5, 2.0])), torch.tensor([5.0, 4.0, 0.25]))


def test_the_likelihood_weight_integrates_squared_errors_over_the_signal_to_noise_ratio() -> None:
    """For normal data, whose errors are known: half the integral of s^2 / (1 + s^2 SNR) over the SNR."""
    low, high, scale = 0.01, 50.0, 0.5
    u = (torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000
    sigma = log_uniform_sigmas(u, low, high)
    error = (scale * sigma) ** 2 / (scale**2 + sigma**2)
    exact = 0.5 * math.log((1 + (scale / low) ** 2) / (1 + (scale / high) ** 2))
    assert (likelihood_weight(sigma, low, high) * error).mean().item() == pytest.approx(exact, rel=1e-6)
