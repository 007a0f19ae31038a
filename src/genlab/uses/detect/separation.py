"""How well a score tells two sets of examples apart, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

__all__ = ["REPLICATES", "TRUE_POSITIVES", "Separation", "separate"]

REPLICATES = 200
"""Of the bootstrap: the standard errors themselves are then known to within 5 %."""
TRUE_POSITIVES = 0.95
"""Share of the unusual examples that are found, at which false alarms are counted."""


@dataclass(frozen=True)
class Separation:
    """How well a score finds the examples of another set among those of one's own.

    Attributes:
        auroc: Area under the curve of true against false positives: the probability that an example of the other set
            scores higher than one of one's own, half of the ties added. 0.5 is chance; below it the score is higher for
            one's own.
        auroc_se: Its standard error. DeLong et al. (1988), "Comparing the areas under two or more correlated receiver
            operating characteristic curves", for one curve.
        average_precision: Sum over thresholds of the precision times the gain in recall, the examples of the other set
            being those to be found. By chance it is their share of all examples.
        average_precision_se: Its standard error, by a bootstrap of either set.
        fpr_at_95: Share of one's own examples above the threshold at which 95 % of the others are found.
        fpr_at_95_se: Its standard error, by the same bootstrap.
    """

    auroc: float
    auroc_se: float
    average_precision: float
    average_precision_se: float
    fpr_at_95: float
    fpr_at_95_se: float


def separate(own: np.ndarray, other: np.ndarray) -> Separation:
    """Measure how well a score, high for what is unusual, tells another set from one's own.

    Standard errors are those over examples, independent of each other; a model that is trained anew is not in them.

    Args:
        own: Scores ``[N]`` of examples of one's own data, N at least 2; infinite ones are the most unusual.
        other: Scores ``[M]`` of the other set, M at least 2.

    Raises:
        ValueError: If there are fewer, or a score is not a number.
    """
    own, other = np.asarray(own, dtype=np.float64), np.asarray(other, dtype=np.float64)
    if min(len(own), len(other)) < 2 or np.isnan(own).any() or np.isnan(other).any():
        raise ValueError(f"{len(own)} and {len(other)} scores, expected at least 2 of either set and no nan.")
    area, area_error = _auroc(own, other)
    counts = _Counts.of(own, other)
    precision, alarms = counts.figures(np.ones(len(own)), np.ones(len(other)))
    random = np.random.RandomState(0)  # NumPy promises never to change this stream
    shares = [np.full(len(x), 1 / len(x)) for x in (own, other)]
    drawn = [counts.figures(*(random.multinomial(len(x), x) for x in shares)) for _ in range(REPLICATES)]
    precision_error, alarms_error = np.std(drawn, axis=0, ddof=1)
    return Separation(area, area_error, precision, float(precision_error), alarms, float(alarms_error))


def _auroc(own: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    # The ranks among all, less those within a set, count the pairs with the other set that an example wins.
    ranks = rankdata(np.concatenate([own, other]))
    beaten = (ranks[len(own) :] - rankdata(other)) / len(own)
    above = 1 - (ranks[: len(own)] - rankdata(own)) / len(other)
    variance = beaten.var(ddof=1) / len(other) + above.var(ddof=1) / len(own)
    return float(beaten.mean()), float(np.sqrt(variance))


@dataclass(frozen=True)
class _Counts:
    """Scores in groups of equal ones, the highest first, so that curves of many resamples need no sorting.

    Attributes:
        own: Groups ``[N]`` of one's own examples.
        other: Groups ``[M]`` of the others.
        groups: How many groups there are.
    """

    own: np.ndarray
    other: np.ndarray
    groups: int

    @classmethod
    def of(cls, own: np.ndarray, other: np.ndarray) -> _Counts:
        values, group = np.unique(np.concatenate([own, other]), return_inverse=True)
        group = len(values) - 1 - group
        return cls(group[: len(own)], group[len(own) :], len(values))

    def figures(self, own: np.ndarray, other: np.ndarray) -> tuple[float, float]:
        """Return the average precision and the rate of false alarms of a resample.

        Args:
            own: How often each of one's own examples is drawn, ``[N]``.
            other: The same of the others, ``[M]``.
        """
        gained = np.bincount(self.other, other, self.groups)
        hits, alarms = gained.cumsum(), np.bincount(self.own, own, self.groups).cumsum()
        precision = hits / np.maximum(hits + alarms, 1)
        threshold = np.searchsorted(hits, TRUE_POSITIVES * hits[-1] - 1e-9)
        return float((gained * precision).sum() / hits[-1]), float(alarms[threshold] / alarms[-1])
