"""Train on synthetic, test on real: how well a column of real rows is predicted by what was trained on other rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from genlab.core.spec import Field
from genlab.measure.metrics.boosting import classifier, regressor
from genlab.measure.metrics.rows import MetricError, require_examples

__all__ = ["MOST_ROWS", "balanced_accuracy", "coefficient_of_determination", "predict_classes", "predict_numbers"]

MOST_ROWS = 20_000
"""Rows that are trained on: more would take longer and change little."""
FEWEST_ROWS = 20

Rows = tuple[np.ndarray, np.ndarray]
"""Inputs ``[N, D]`` and what is predicted from them ``[N]``."""


def predict_numbers(train: Rows, test: Rows, fields: Sequence[Field]) -> tuple[float, float]:
    """Return the R² on test rows of gradient-boosted trees, and its standard error.

    Esteban et al. (2017), "Real-valued (medical) time series generation with recurrent conditional GANs", section 4.2,
    which calls it TSTR where ``train`` are samples.

    Args:
        train: Inputs and numbers, finite.
        test: The same, real.
        fields: The columns of the inputs.

    Raises:
        MetricError: With fewer than 20 rows, or where the numbers of the test rows are all the same.
    """
    x, y = _checked(train, test)
    where, scale = test[1].mean(), test[1].std()
    if scale == 0:
        raise MetricError("The column to predict has one value in all test rows.")
    # In a unit in which the library's float32 holds them.
    trees = regressor(len(x), fields).fit(x, (y - where) / scale)
    return coefficient_of_determination((test[1] - where) / scale, trees.predict(test[0]))


def predict_classes(train: Rows, test: Rows, fields: Sequence[Field]) -> tuple[float, float]:
    """Return the balanced accuracy on test rows of gradient-boosted trees, and its standard error.

    The classes weigh the same in training too. See :func:`predict_numbers`; the arguments are the same.

    Raises:
        MetricError: With fewer than 20 rows.
    """
    x, y = _checked(train, test)
    if (y == y[0]).all():  # nothing to tell apart: all are taken for that class
        return balanced_accuracy(test[1], np.full_like(test[1], y[0]))
    trees = classifier(len(x), fields, len(np.unique(y)), class_weight="balanced").fit(x, y)
    return balanced_accuracy(test[1], trees.predict(test[0]))


def _checked(train: Rows, test: Rows) -> Rows:
    require_examples("training", len(train[0]), FEWEST_ROWS)
    require_examples("real", len(test[0]), FEWEST_ROWS)
    return train


def coefficient_of_determination(true: np.ndarray, predicted: np.ndarray) -> tuple[float, float]:
    """Return R², the share of the variance of numbers that predictions explain, and its standard error.

    1 is exact, 0 what their mean would give. The error is of the rows, to first order in their number.

    Args:
        true: ``[N]``, not all the same.
        predicted: ``[N]``.
    """
    spread = (true - true.mean()) ** 2
    errors = (true - predicted) ** 2
    found = 1 - errors.mean() / spread.mean()
    influence = (errors - (1 - found) * spread) / spread.mean()
    return float(found), float(influence.std(ddof=1) / np.sqrt(len(true)))


def balanced_accuracy(true: np.ndarray, predicted: np.ndarray) -> tuple[float, float]:
    """Return the mean over classes of the share of their rows that is found, and its standard error.

    Args:
        true: ``[N]``, whole numbers.
        predicted: ``[N]``.
    """
    classes, rows = np.unique(true, return_counts=True)
    found = np.array([(predicted[true == one] == one).mean() for one in classes])
    # With half a row more on either side, as by Jeffreys' prior: that all of a few rows are found may be chance.
    likely = (found * rows + 0.5) / (rows + 1)
    return float(found.mean()), float(np.sqrt((likely * (1 - likely) / rows).sum()) / len(classes))
