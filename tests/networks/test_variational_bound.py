"""The variational bound where the best denoiser, and so the best bound, is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from genlab.networks.diffusion.samplers import Denoiser
from genlab.networks.diffusion.variational_bound import level_log_mass, variational_bound

LEVELS = 9
CENTRES = (2 * torch.arange(LEVELS, dtype=torch.float64) + 1) / LEVELS - 1
LOG_P = (-0.5 * ((CENTRES - 0.2) / 0.4) ** 2).log_softmax(0)
"""A normal distribution, discretized."""
ENDS = (0.002, 80.0)
"""Lowest and highest noise level."""


def denoise(x: Tensor, sigma: Tensor) -> Tensor:
    """The expected level given a noisy value."""
    log_joint = LOG_P - 0.5 * ((x[..., None] - CENTRES) / sigma.view(-1, 1, 1)) ** 2
    return log_joint.softmax(-1) @ CENTRES


def bounds(denoise: Denoiser, count: int, prior_scale: float = ENDS[1], n: int = 10_000) -> tuple[Tensor, Tensor]:
    """Levels as frequent as the target says ``[n, 1]``, and their bounds in nats, with the same noise each time."""
    noise = torch.Generator().manual_seed(0)
    x = torch.multinomial(LOG_P.exp(), n, replacement=True, generator=noise).view(-1, 1)
    return x, variational_bound(denoise, x, CENTRES, ENDS, prior_scale, count, noise)


@pytest.mark.parametrize("count", [1, 40])
def test_the_bound_of_the_best_denoiser_is_the_exact_value_with_any_number_of_noise_levels(count: int) -> None:
    """On average over the target's examples: in continuous time nothing is lost to steps."""
    _, found = bounds(denoise, count)
    exact = (LOG_P.exp() * LOG_P).sum().item()
    standard_error = found.std().item() / len(found) ** 0.5
    assert found.mean().item() == pytest.approx(exact, abs=4 * standard_error)
    assert count == 1 or standard_error < 0.02


def test_a_denoiser_that_errs_by_a_share_of_the_noise_loses_what_the_integral_says() -> None:
    """An error of 0.1 sigma loses the integral of 0.01 over ln sigma, here 0.1060 nats."""
    _, best = bounds(denoise, 40, n=2000)
    _, worse = bounds(lambda x, sigma: denoise(x, sigma) + 0.1 * sigma.view(-1, 1), 40, n=2000)
    loss = best - worse
    expected = 0.01 * math.log(ENDS[1] / ENDS[0])
    assert loss.mean().item() == pytest.approx(expected, abs=4 * loss.std().item() / len(loss) ** 0.5)


def test_probabilities_by_bounds_sum_to_no_more_than_one() -> None:
    """Of every level, enumerated, for the best denoiser and one with a narrower target; noise leaves 0.02."""
    levels = torch.arange(LEVELS).repeat_interleave(2000).view(-1, 1)
    for believe, least in ((denoise, 0.95), (lambda x, sigma: 0.8 * denoise(x, sigma), 0.0)):
        noise = torch.Generator().manual_seed(0)
        found = variational_bound(believe, levels, CENTRES, ENDS, ENDS[1], 40, noise).view(LEVELS, -1)
        assert least < found.mean(1).exp().sum().item() < 1.05


def test_a_prior_that_is_too_narrow_costs() -> None:
    assert bounds(denoise, 10, ENDS[1] / 2)[1].mean() < bounds(denoise, 10)[1].mean() - 0.5


def test_levels_given_noisy_values_are_a_distribution() -> None:
    noisy = torch.randn(6, 1, dtype=torch.float64)
    for sigma in (0.002, 0.3, 50.0):
        masses = [level_log_mass(torch.full((6, 1), level), noisy, CENTRES, sigma).exp() for level in range(LEVELS)]
        torch.testing.assert_close(torch.stack(masses).sum(0), torch.ones(6, dtype=torch.float64))
