"""Scores of recurrent networks where the best possible score is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from genlab.measure.metrics import series_scores
from genlab.measure.metrics.rows import MetricError
from genlab.measure.metrics.series_scores import discriminative_score, predictive_score, scale_of

PHI = 0.9


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series_scores, "STEPS", 80)
    monkeypatch.setattr(series_scores, "REPEATS", 2)


def autoregression(count: int, seed: int, phi: float = PHI) -> Tensor:
    """Stationary windows ``[N, 1, 8]`` of mean 5 and deviation 2, each value ``phi`` times the last and noise."""
    noise = torch.randn(count, 8, generator=torch.Generator().manual_seed(seed))
    values = [noise[:, 0]]
    for step in range(1, 8):
        values.append(phi * values[-1] + math.sqrt(1 - phi**2) * noise[:, step])
    return 5 + 2 * torch.stack(values, 1)[:, None]


def test_what_is_predicted_from_the_last_step_has_the_error_of_its_noise() -> None:
    """Of a normal autoregression the least error is sqrt(2 / pi) sqrt(1 - phi^2); who learned from noise predicts 0."""
    test = autoregression(600, 1)
    scale = scale_of(test)
    least = math.sqrt(2 / math.pi) * math.sqrt(1 - PHI**2)
    found = predictive_score(autoregression(600, 0), test, scale)
    assert found.mean == pytest.approx(least, rel=0.08)
    assert found.error < 0.05
    unskilled = predictive_score(autoregression(600, 2, phi=0.0), test, scale)
    assert unskilled.mean == pytest.approx(math.sqrt(2 / math.pi), rel=0.08)
    assert predictive_score(autoregression(600, 0), test, scale) == found, "the recipe has a seed of its own"


def test_what_is_alike_is_told_apart_by_chance_alone() -> None:
    real, real_test = autoregression(400, 0), autoregression(300, 1)
    scale = scale_of(real)
    alike = discriminative_score(real, autoregression(400, 2), real_test, autoregression(200, 3), scale)
    assert alike.mean < 0.07
    others = discriminative_score(real, autoregression(400, 2, 0.0), real_test, autoregression(200, 3, 0.0), scale)
    assert others.mean > 0.35
    assert others.mean <= 0.5


def test_the_best_classifier_of_two_shifts_has_its_accuracy() -> None:
    """Constant windows of N(0, 1) and N(2, 1) are told apart in Phi(1) of all cases, however unequal their numbers."""
    source = torch.Generator().manual_seed(0)

    def shifted(count: int, mean: float) -> Tensor:
        return (mean + torch.randn(count, 1, 1, generator=source)).expand(-1, 1, 3)

    real = shifted(2000, 0.0)
    found = discriminative_score(real, shifted(2000, 2.0), shifted(4000, 0.0), shifted(800, 2.0), scale_of(real))
    assert found.mean == pytest.approx(0.5 * math.erf(1 / math.sqrt(2)), abs=0.025)


def test_the_global_generator_is_left_alone_and_few_windows_are_refused() -> None:
    x = autoregression(20, 0)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    predictive_score(x, x, scale_of(x))
    assert torch.equal(torch.get_rng_state(), state)
    with pytest.raises(MetricError, match="At least 10 real test examples are needed, 4 were given"):
        predictive_score(x, x[:4], scale_of(x))
