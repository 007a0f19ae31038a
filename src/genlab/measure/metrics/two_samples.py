"""A classifier's two-sample test: how well generated and real rows of a table can be told apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from genlab.core.spec import Field
from genlab.measure.metrics.boosting import classifier
from genlab.measure.metrics.rows import require_examples

__all__ = ["FOLDS", "MOST_ROWS", "area_under_curve", "tell_apart"]

FOLDS = 3
MOST_ROWS = 5_000
"""Rows of each kind that are compared: with as many, chance moves the area by half a hundredth."""
FEWEST_ROWS = 4 * FOLDS


def tell_apart(real: np.ndarray, fake: np.ndarray, fields: Sequence[Field]) -> tuple[float, float]:
    """Return how well a classifier tells rows of two kinds apart, and the standard error of that.

    Lopez-Paz and Oquab (2017), "Revisiting classifier two-sample tests", with the area under the ROC curve for the
    accuracy: the chance that the classifier takes the generated one of two rows for it. 0.5 is no better than chance.
    As many rows of one kind as of the other; each is judged by gradient-boosted trees that were trained on the other
    two of three parts, and the areas of the three are averaged. The error is DeLong's, of the rows judged: what other
    trees would find is no part of it.

    Args:
        real: ``[N, D]``, finite.
        fake: ``[M, D]``, the same columns.
        fields: The columns.

    Raises:
        MetricError: With fewer than 12 rows of either kind.
    """
    for name, rows in (("real", real), ("generated", fake)):
        require_examples(name, len(rows), FEWEST_ROWS)
    random = np.random.RandomState(0)
    count = min(len(real), len(fake), MOST_ROWS)
    real, fake = (rows[random.permutation(len(rows))[:count]] for rows in (real, fake))
    part = np.arange(count) % FOLDS
    areas, variances = [], []
    for fold in range(FOLDS):
        left = part != fold
        x, y = np.concatenate([real[left], fake[left]]), np.repeat([0, 1], left.sum())
        trees = classifier(len(x), fields).fit(x, y)
        scores = [trees.decision_function(rows[~left]) for rows in (real, fake)]
        area, variance = area_under_curve(*scores)
        areas.append(area)
        variances.append(variance)
    return float(np.mean(areas)), float(np.sqrt(np.sum(variances)) / FOLDS)


def area_under_curve(negative: np.ndarray, positive: np.ndarray) -> tuple[float, float]:
    """Return the area under the ROC curve of scores, ties counting half, and its variance.

    The variance is that of DeLong et al. (1988), "Comparing the areas under two or more correlated receiver operating
    characteristic curves": of the share of the other kind that each score is on the right side of.

    Args:
        negative: ``[N]``, scores that should be low.
        positive: ``[M]``, scores that should be high.
    """
    of_positive, of_negative = _share_below(positive, negative), 1 - _share_below(negative, positive)
    variance = of_positive.var(ddof=1) / len(positive) + of_negative.var(ddof=1) / len(negative)
    return float(of_positive.mean()), float(variance)


def _share_below(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Share of the others that lies below each value, equal ones counting half: ``[N]``."""
    others = np.sort(others)
    return (np.searchsorted(others, values, "left") + np.searchsorted(others, values, "right")) / (2 * len(others))
