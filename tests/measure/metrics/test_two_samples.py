"""The area under the curve of a classifier that tells rows apart, against scikit-learn's and a closed form."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from genlab.core.spec import Field
from genlab.measure.metrics.rows import MetricError
from genlab.measure.metrics.two_samples import area_under_curve, tell_apart

NUMBER = Field("size")


def rounded(count: int, seed: int, shift: float = 0.0) -> np.ndarray:
    return np.round(np.random.RandomState(seed).standard_normal(count) + shift, 1)


def test_the_area_is_that_of_scikit_learn_with_ties() -> None:
    negative, positive = rounded(60, 0), rounded(40, 1, 0.7)
    expected = roc_auc_score(np.repeat([0, 1], (60, 40)), np.concatenate([negative, positive]))
    assert area_under_curve(negative, positive)[0] == pytest.approx(expected)


def test_its_variance_is_how_far_areas_of_other_scores_differ() -> None:
    found = [area_under_curve(rounded(60, seed), rounded(40, seed + 1000, 0.7)) for seed in range(400)]
    areas, variances = zip(*found, strict=True)
    assert np.mean(variances) == pytest.approx(np.var(areas), rel=0.15)


def test_normal_numbers_are_told_apart_as_well_as_they_can_be() -> None:
    real, fake, other = (rounded(500, seed, shift)[:, None] for seed, shift in ((0, 0.0), (1, 1.0), (2, 0.0)))
    area, error = tell_apart(real, fake, [NUMBER])
    best = norm.cdf(1 / np.sqrt(2))  # of the difference of two normals
    assert best - 0.06 < area < best + 2 * error
    assert 0.01 < error < 0.03
    chance, error = tell_apart(real, other, [NUMBER])
    assert abs(chance - 0.5) < 3 * error


def test_categories_in_no_order_are_told_apart() -> None:
    """Every other category comes five times as often as the others: at best 5/6 * 1/2 + 1/2 * 1/2 = 2/3."""
    random = np.random.RandomState(0)
    real = random.randint(8, size=(400, 1)).astype(float)
    fake = random.choice(8, (400, 1), p=np.tile([5, 1], 4) / 24).astype(float)
    for levels in (8, 256):  # of more than trees may group their order has to do
        area, error = tell_apart(real, fake, [Field("kind", levels=levels)])
        assert area == pytest.approx(2 / 3, abs=3 * error)
        assert error < 0.03


def test_some_rows_are_judged_by_others_and_few_are_not() -> None:
    """Samples that the classifier saw would be known to it: pairs of equal samples are, but not by chance alone."""
    real = rounded(24, 0)[:, None]
    with pytest.raises(MetricError, match="At least 12 generated examples are needed, 11"):
        tell_apart(real, real[:11], [NUMBER])
    assert tell_apart(real, real + 100, [NUMBER])[0] == 1
    assert tell_apart(real, real[::-1], [NUMBER])[0] < 0.7
