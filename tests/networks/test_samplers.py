"""Samplers against the exact solution for a normal target, whose denoiser is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from genlab.networks.diffusion.samplers import SAMPLERS, ddpm, stochastic_heun

MEAN, SCALE = 0.3, 0.7
HIGH, LOW = 10.0, 0.1


def denoise(x: Tensor, sigma: Tensor) -> Tensor:
    """The expected clean value where clean values are normal."""
    return (SCALE**2 * x + sigma**2 * MEAN) / (SCALE**2 + sigma**2)


def solution(x: Tensor, sigma: float) -> Tensor:
    """Where the probability-flow equation takes ``x`` from the highest noise level."""
    return MEAN + (x - MEAN) * math.sqrt((SCALE**2 + sigma**2) / (SCALE**2 + HIGH**2))


def falling(steps: int, low: float = LOW) -> Tensor:
    """Noise levels in steps that are neither equal in sigma nor in its logarithm."""
    return torch.linspace(HIGH ** (1 / 7), low ** (1 / 7), steps + 1, dtype=torch.float64) ** 7


@pytest.mark.parametrize(("name", "order"), [("ddim", 1), ("heun", 2), ("dpm_solver_2m", 2)])
def test_the_error_falls_with_the_order_of_the_sampler(name: str, order: int) -> None:
    start = torch.tensor([-12.0, 3.0, 8.0], dtype=torch.float64)
    errors = []
    for steps in (64, 128, 256):
        end = SAMPLERS[name].run(denoise, start, falling(steps), None)
        errors.append((end - solution(start, LOW)).norm().item())
    assert math.log2(errors[1] / errors[2]) == pytest.approx(order, abs=0.1)
    assert errors[2] < 0.02


def test_the_spread_of_ancestral_samples_is_of_first_order() -> None:
    """Its steps are linear maps of normal values, so samples stay normal; their variance has an error."""
    exact = SCALE**2 + LOW**2
    errors = []
    for steps in (32, 64):
        noise = torch.Generator().manual_seed(0)
        start = MEAN + math.sqrt(SCALE**2 + HIGH**2) * torch.randn(300_000, generator=noise, dtype=torch.float64)
        end = ddpm(denoise, start, falling(steps), noise)
        assert end.mean().item() == pytest.approx(MEAN, abs=0.006)
        errors.append(exact - end.var().item())
    # Their standard error is 0.0013; a second-order error would fall to a quarter.
    assert errors[1] / errors[0] == pytest.approx(0.53, abs=0.06)


def test_fresh_noise_keeps_the_distribution_and_forgets_the_start() -> None:
    noise = torch.Generator().manual_seed(0)
    start = MEAN + math.sqrt(SCALE**2 + HIGH**2) * torch.randn(150_000, generator=noise, dtype=torch.float64)
    end = stochastic_heun(denoise, start, falling(256), noise)
    assert end.mean().item() == pytest.approx(MEAN, abs=0.006)
    assert end.var().item() == pytest.approx(SCALE**2 + LOW**2, abs=0.004)
    assert abs(torch.corrcoef(torch.stack([start, end]))[0, 1].item()) < 0.1, "the deterministic method's is 1"


def test_ancestral_steps_are_exact_where_the_clean_example_is_known() -> None:
    """Then the posterior is that of the process itself, however few the steps."""
    noise = torch.Generator().manual_seed(0)
    start = MEAN + HIGH * torch.randn(200_000, generator=noise, dtype=torch.float64)
    end = ddpm(lambda x, sigma: torch.full_like(x, MEAN), start, torch.tensor([HIGH, 3.0, 0.5]), noise)
    assert end.mean().item() == pytest.approx(MEAN, abs=0.005)
    assert end.std().item() == pytest.approx(0.5, abs=0.004)
    kept = torch.corrcoef(torch.stack([start, end]))[0, 1].item()
    assert kept == pytest.approx(0.5 / HIGH, abs=0.009), "as along the process"


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_a_sampler_costs_what_it_says_and_ends_without_noise(name: str, steps: int) -> None:
    levels = []

    def watched(x: Tensor, sigma: Tensor) -> Tensor:
        assert sigma.shape == ()
        levels.append(sigma.item())
        return denoise(x, sigma)

    sigmas = torch.cat([falling(steps, 1e-3)[:steps], torch.zeros(1, dtype=torch.float64)])
    start = torch.randn(4, 1, 2, 2)
    end = SAMPLERS[name].run(watched, start, sigmas, torch.Generator().manual_seed(0))
    assert len(levels) == SAMPLERS[name].evaluations(steps)
    assert min(levels) > 0
    assert (end.shape, end.dtype) == (start.shape, start.dtype)
    assert torch.isfinite(end).all()


@pytest.mark.parametrize("name", ["ddim", "heun", "dpm_solver_2m"])
def test_a_deterministic_sampler_draws_no_noise(name: str) -> None:
    start = torch.randn(3, dtype=torch.float64)
    first, second = (
        SAMPLERS[name].run(denoise, start, falling(8), torch.Generator().manual_seed(seed)) for seed in (0, 1)
    )
    assert torch.equal(first, second)


@pytest.mark.parametrize("name", ["ddpm", "stochastic_heun"])
def test_a_stochastic_sampler_draws_its_noise_from_the_generator(name: str) -> None:
    start = torch.randn(3, dtype=torch.float64)
    drawn = [SAMPLERS[name].run(denoise, start, falling(8), torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
