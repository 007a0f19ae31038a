"""How well a column is predicted, against scikit-learn's figures and other draws of the rows."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, r2_score

from genlab.core.spec import Field
from genlab.measure.metrics.prediction import (
    Rows,
    balanced_accuracy,
    coefficient_of_determination,
    predict_classes,
    predict_numbers,
)
from genlab.measure.metrics.rows import MetricError

FIELDS = [Field("size"), Field("kind", levels=3)]


def rows(count: int, seed: int, noise: float = 0.3) -> Rows:
    """A number that depends on another and on a category that is in no order."""
    random = np.random.RandomState(seed)
    size, kind = random.standard_normal(count), random.randint(3, size=count)
    y = np.sin(size) + np.array([0.0, 2.0, 0.0])[kind] + noise * random.standard_normal(count)
    return np.column_stack([size, kind.astype(float)]), y


def guesses(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.RandomState(seed)
    true = random.choice(3, count, p=[0.6, 0.3, 0.1])
    return true, np.where(random.random_sample(count) < 0.3 + 0.2 * true, true, random.randint(3, size=count))


def test_the_share_of_variance_is_that_of_scikit_learn_and_its_error_how_far_it_varies() -> None:
    found = []
    for seed in range(300):
        _, true = rows(80, seed)
        predicted = true + np.random.RandomState(seed + 1000).standard_normal(80)
        found.append(coefficient_of_determination(true, predicted))
    assert found[-1][0] == pytest.approx(r2_score(true, predicted))
    figures, errors = zip(*found, strict=True)
    assert np.mean(errors) == pytest.approx(np.std(figures), rel=0.2)


def test_the_balanced_accuracy_is_that_of_scikit_learn_and_its_error_how_far_it_varies() -> None:
    found = [balanced_accuracy(*guesses(200, seed)) for seed in range(300)]
    assert found[7][0] == pytest.approx(balanced_accuracy_score(*guesses(200, 7)))
    figures, errors = zip(*found, strict=True)
    assert np.mean(errors) == pytest.approx(np.std(figures), rel=0.2)
    found, error = balanced_accuracy(np.array([0, 0, 1]), np.array([0, 0, 1]))
    assert (found, error) == (1, pytest.approx((5 / 36 / 2 + 3 / 16) ** 0.5 / 2)), "of few rows all may be by chance"


def test_a_number_is_predicted_in_any_unit() -> None:
    """What noise leaves to be explained of the test rows is the best that there is."""
    (x, y), (test_x, test_y) = rows(500, 0), rows(300, 1)
    found, error = predict_numbers((x, y), (test_x, test_y), FIELDS)
    best = 1 - 0.3**2 / test_y.var()
    assert best - 0.08 < found < best + 2 * error
    huge = predict_numbers((x, 1e28 * y), (test_x, 1e28 * test_y), FIELDS)
    assert huge == (pytest.approx(found, abs=1e-3), pytest.approx(error, abs=1e-3))


def test_classes_weigh_the_same_and_may_be_one() -> None:
    (x, y), (test_x, test_y) = rows(600, 0, 0.0), rows(300, 1, 0.0)
    labels, test_labels = (np.digitize(values, [1.0, 2.9]) for values in (y, test_y))
    found, error = predict_classes((x, labels), (test_x, test_labels), FIELDS)
    assert (test_labels == 2).mean() < 0.1
    assert 0.85 < found <= 1
    assert error < 0.08
    alone, _ = predict_classes((x, np.zeros_like(labels)), (test_x, test_labels), FIELDS)
    assert alone == pytest.approx(1 / 3), "the one class is found, the others are not"


def test_what_cannot_be_predicted_is_said() -> None:
    x, y = rows(30, 0)
    with pytest.raises(MetricError, match="At least 20 training examples are needed, 19"):
        predict_classes((x[:19], y[:19]), (x, y), FIELDS)
    with pytest.raises(MetricError, match="one value in all test rows"):
        predict_numbers((x, y), (x, np.ones(30)), FIELDS)
