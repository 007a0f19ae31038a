"""Noise levels against the papers' formulas."""

from __future__ import annotations

import math

import pytest
import torch

from genlab.core.errors import GenlabError
from genlab.networks.diffusion.noise_schedules import (
    CosineSchedule,
    EDMSchedule,
    LinearSchedule,
    NoiseConfig,
    NoiseSchedule,
)

LOW, HIGH = 0.002, 80.0
EDM = EDMSchedule(LOW, HIGH, rho=7, mean=-1.2, deviation=1.2)
SCHEDULES = [EDM, LinearSchedule(LOW, HIGH), CosineSchedule(LOW, HIGH)]


def named(schedule: NoiseSchedule) -> str:
    return type(schedule).__name__


@pytest.mark.parametrize("schedule", SCHEDULES, ids=named)
def test_a_sampler_goes_from_the_highest_level_down_to_none(schedule: NoiseSchedule) -> None:
    sigmas = schedule.sampling_sigmas(18)
    assert sigmas.shape == (19,)
    assert sigmas[0].item() == pytest.approx(HIGH, rel=1e-9)
    assert sigmas[-2].item() == pytest.approx(LOW, rel=1e-6)
    assert sigmas[-1] == 0
    assert (sigmas.diff() < 0).all()
    assert schedule.sampling_sigmas(1).tolist() == pytest.approx([HIGH, 0])


@pytest.mark.parametrize("schedule", SCHEDULES, ids=named)
def test_training_levels_are_finite_and_rise_with_the_quantile(schedule: NoiseSchedule) -> None:
    sigmas = schedule.training_sigmas(torch.linspace(0, 1, 1001))
    assert torch.isfinite(sigmas).all()
    assert (sigmas > 0).all()
    assert (sigmas.diff() >= 0).all()


@pytest.mark.parametrize("schedule", SCHEDULES[1:], ids=named)
def test_training_in_single_precision_keeps_low_levels(schedule: NoiseSchedule) -> None:
    u = torch.linspace(0, 1, 101)
    torch.testing.assert_close(
        schedule.training_sigmas(u).double(), schedule.training_sigmas(u.double()), rtol=1e-4, atol=0
    )
    ends = schedule.training_sigmas(torch.tensor([0.0, 1.0], dtype=torch.float64)).tolist()
    assert ends == pytest.approx([LOW, HIGH], rel=1e-6)


def test_edm_levels() -> None:
    logs = EDM.training_sigmas((torch.arange(10_000, dtype=torch.float64) + 0.5) / 10_000).log()
    assert logs.mean().item() == pytest.approx(-1.2, abs=1e-6)
    assert logs.std().item() == pytest.approx(1.2, rel=1e-3)
    middle = ((HIGH ** (1 / 7) + LOW ** (1 / 7)) / 2) ** 7
    assert EDM.sampling_sigmas(3)[1].item() == pytest.approx(middle)
    assert EDM.prior_scale == HIGH


def test_linear_levels_are_those_of_a_thousand_small_steps() -> None:
    signal = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)
    discrete = (1 / signal - 1).sqrt()
    continuous = LinearSchedule(LOW, HIGH).sigma(torch.arange(1, 1001, dtype=torch.float64) / 1000)
    torch.testing.assert_close(continuous[9:], discrete[9:], rtol=0.06, atol=0)


def test_cosine_levels_are_those_of_the_equation() -> None:
    def signal(t: float) -> float:
        return math.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2

    for t in (0.001, 0.1, 0.5, 0.9, 0.99):
        expected = math.sqrt(signal(0) / signal(t) - 1)
        found = CosineSchedule(LOW, HIGH).sigma(torch.tensor(t, dtype=torch.float64)).item()
        assert found == pytest.approx(expected, rel=1e-9)


def test_levels_out_of_order_are_refused() -> None:
    with pytest.raises(GenlabError, match="sigma_min"):
        NoiseConfig("edm", 80.0, 0.002, 7.0, -1.2, 1.2).build()
