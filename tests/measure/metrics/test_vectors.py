"""Sliced Wasserstein distance and maximum mean discrepancy against closed forms, scipy and brute force."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import wasserstein_distance
from torch import Tensor

from genlab.measure.metrics import distances, vectors
from genlab.measure.metrics.rows import MetricError
from genlab.measure.metrics.vectors import MaximumMeanDiscrepancy, SlicedWasserstein
from tests.measure.metrics.common import normals


def sliced(real: Tensor, fake: Tensor, **settings: int) -> float:
    metric = SlicedWasserstein(real.shape[1], **settings)
    metric.update(real, real=True)
    metric.update(fake, real=False)
    return metric.compute().item()


def discrepancy(real: Tensor, fake: Tensor) -> Tensor:
    metric = MaximumMeanDiscrepancy(real.shape[1])
    metric.update(real, real=True)
    metric.update(fake, real=False)
    return metric.compute()


@pytest.mark.parametrize(("n", "m"), [(60, 60), (60, 45), (7, 50), (1, 9)])
def test_one_dimension_equals_scipy(n: int, m: int) -> None:
    """In one dimension every direction gives the same distance."""
    real, fake = normals(n, seed=1, num_features=1), 2 * normals(m, seed=2, num_features=1) + 1
    expected = wasserstein_distance(real.double().flatten(), fake.double().flatten())
    assert sliced(real, fake, order=1, num_projections=3) == pytest.approx(expected, rel=1e-10)


def test_sets_of_unequal_size_are_those_whose_examples_are_repeated() -> None:
    real, fake = normals(12, seed=1), normals(9, seed=2)
    for order in (1, 2):
        repeated = sliced(real.repeat(3, 1), fake.repeat(4, 1), order=order)
        assert sliced(real, fake, order=order) == pytest.approx(repeated, rel=1e-10)


@pytest.mark.parametrize("order", [1, 2])
def test_a_shift_has_its_known_distance(monkeypatch: pytest.MonkeyPatch, order: int) -> None:
    """A shift by v moves each projection by <v, direction>, where E|.| = 2 |v| / pi and E(.)^2 = |v|^2 / 2 in 2-D."""
    monkeypatch.setattr(vectors, "PROJECTIONS_AT_ONCE", 33)
    real = normals(50, seed=1, num_features=2)
    expected = {1: 2 / math.pi, 2: math.sqrt(1 / 2)}[order] * 5
    moved = real + torch.tensor([3.0, 4.0])
    assert sliced(real, moved, order=order, num_projections=20_000) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("order", [1, 2])
def test_it_is_zero_on_identical_sets_and_symmetric(order: int) -> None:
    real, fake = normals(30, seed=1), normals(40, seed=2)
    assert sliced(real, real.flip(0), order=order) == pytest.approx(0, abs=1e-12)
    assert sliced(real, fake, order=order) == pytest.approx(sliced(fake, real, order=order), rel=1e-12)


@pytest.mark.parametrize("settings", [{"order": 3}, {"num_projections": 0}])
def test_settings_out_of_range_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="order must be 1 or 2 and num_projections at least 1"):
        SlicedWasserstein(3, **settings)


def brute_force(real: Tensor, fake: Tensor) -> float:
    real, fake = real.double(), fake.double()
    squared = sorted(float((x - y).square().sum()) for i, x in enumerate(real) for y in real[:i])
    median = squared[(len(squared) - 1) // 2]

    def k(x: Tensor, y: Tensor) -> float:
        gap = float((x - y).square().sum())
        return sum(math.exp(-gap / (2 * s * median)) for s in (0.25, 0.5, 1, 2, 4)) / 5

    def among(points: Tensor) -> float:
        n = len(points)
        return sum(k(points[i], points[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))

    across = sum(k(x, y) for x in real for y in fake) / (len(real) * len(fake))
    return among(real) + among(fake) - 2 * across


@pytest.mark.parametrize("block", [7, 512])
def test_the_discrepancy_equals_brute_force(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(distances, "BLOCK", block)
    real, fake = normals(24, seed=1) + 10, normals(17, seed=2) + 10.5
    assert discrepancy(real, fake).item() == pytest.approx(brute_force(real, fake), rel=1e-9)


def test_the_discrepancy_is_unbiased_on_equal_distributions() -> None:
    repeats = torch.stack([discrepancy(normals(20, 2 * seed), normals(30, 2 * seed + 1)) for seed in range(300)])
    error = repeats.std() / len(repeats) ** 0.5
    assert repeats.mean().abs() < 3 * error
    # The biased estimate would lie above by this.
    assert 10 * error < 0.5 * (1 / 20 + 1 / 30)


def test_the_bandwidth_comes_from_a_choice_of_the_real_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    real, fake = normals(300, seed=1), normals(300, seed=2) + 0.5
    whole = discrepancy(real, fake)
    monkeypatch.setattr(vectors, "BANDWIDTH_EXAMPLES", 100)
    some = discrepancy(real, fake)
    assert some != whole
    torch.testing.assert_close(some, whole, rtol=0.1, atol=0)
    torch.testing.assert_close(discrepancy(real.flip(0), fake), some, rtol=1e-10, atol=0)


def test_real_examples_that_are_mostly_equal_leave_no_bandwidth() -> None:
    with pytest.raises(MetricError, match="no bandwidth"):
        discrepancy(torch.ones(9, 2), normals(9, seed=1, num_features=2))
