"""The variational bound where the best denoiser, and so the best bound, is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from genlab.networks.diffusion.noise_schedules import EDMSchedule
from genlab.networks.diffusion.variational_bound import level_log_mass, variational_bound

LEVELS = 9
CENTRES = (2 * torch.arange(LEVELS, dtype=torch.float64) + 1) / LEVELS - 1
LOG_P = (-0.5 * ((CENTRES - 0.2) / 0.4) ** 2).log_softmax(0)
"""A normal distribution, discretized."""
SCHEDULE = EDMSchedule(0.002, 80.0, rho=7.0, mean=-1.2, deviation=1.2)


def denoise(x: Tensor, sigma: Tensor) -> Tensor:
    """The expected level given a noisy value."""
    log_joint = LOG_P - 0.5 * ((x[..., None] - CENTRES) / sigma) ** 2
    return log_joint.softmax(-1) @ CENTRES


def expected_bound(steps: int, prior_scale: float = SCHEDULE.prior_scale) -> float:
    """Bound in nats, on average over examples as frequent as the target says and over noise."""
    noise = torch.Generator().manual_seed(0)
    x = torch.multinomial(LOG_P.exp(), 10_000, replacement=True, generator=noise).view(-1, 1)
    bound = variational_bound(denoise, x, CENTRES, SCHEDULE.descent(steps), prior_scale, noise)
    assert bound.shape == (10_000,)
    return bound.mean().item()


def test_the_bound_lies_below_the_exact_value_and_nears_it_with_the_steps() -> None:
    """Its sum over steps is a Riemann sum, whose error is of first order; the noise leaves 0.01 here."""
    exact = (LOG_P.exp() * LOG_P).sum().item()
    few, many = (exact - expected_bound(steps) for steps in (60, 240))
    assert 0.05 < many < 0.2
    assert few / many == pytest.approx(4.5, abs=1)


def test_a_prior_that_is_too_narrow_costs() -> None:
    assert expected_bound(10, SCHEDULE.prior_scale / 2) < expected_bound(10) - 0.5


def test_levels_given_noisy_values_are_a_distribution() -> None:
    noisy = torch.randn(6, 1, dtype=torch.float64)
    for sigma in (0.002, 0.3, 50.0):
        masses = [level_log_mass(torch.full((6, 1), level), noisy, CENTRES, sigma).exp() for level in range(LEVELS)]
        torch.testing.assert_close(torch.stack(masses).sum(0), torch.ones(6, dtype=torch.float64))
