"""Whether two figures differ beyond chance: Welch's test, without scipy, whose import takes longer than a table."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["LEVEL", "Figure", "differ", "two_sided_chance"]

LEVEL = 0.05
"""Two figures differ if a difference like theirs would come by chance less often than this."""

_LEAST, _MOST = 1.95996, 12.7063
"""Quantiles of the 95 % interval, rounded away: of the normal distribution, and of Student's t with one degree."""

_TINY = 1e-300


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure over seeds.

    Attributes:
        mean: Mean over the seeds that have it.
        sd: Standard deviation over them, with n - 1 in its denominator; None for one seed.
        count: How many seeds have it.
        se: The figure's own standard error, over examples, of one seed; None where it is not known, and for more seeds,
            whose deviation has it in it.
    """

    mean: float
    sd: float | None
    count: int
    se: float | None = None

    @property
    def spread(self) -> float | None:
        """What stands behind the mean: the deviation over seeds, of one seed its own standard error."""
        return self.se if self.sd is None else self.sd

    @property
    def variance(self) -> float | None:
        """Variance of the mean; None where nothing is known of it."""
        if self.sd is not None:
            return self.sd**2 / self.count
        return None if self.se is None else self.se**2

    @property
    def degrees(self) -> float:
        """Degrees of freedom of the variance: a standard error is of so many examples that it counts as exact."""
        return math.inf if self.sd is None else self.count - 1


def differ(first: Figure, second: Figure) -> bool:
    """Return whether two figures differ beyond chance, at 95 %.

    Welch (1947), "The generalization of 'Student's' problem when several different population variances are involved",
    with the degrees of freedom of Satterthwaite. A single seed is taken to vary as the seeds of the other figure do,
    unless its own standard error is larger; where nothing is known of either, all that is not equal differs.

    Likelihoods under one protocol are of the same examples, so that their difference varies less than this assumes: it
    marks too many as equal rather than too few. A pair is tested at a time, without a correction for their number.
    """
    distance = abs(first.mean - second.mean)
    pairs = [(figure.variance, figure.degrees) for figure in (first, second)]
    known = [(variance, degrees) for variance, degrees in pairs if variance is not None]
    single, several = (first, second) if first.sd is None else (second, first)
    if single.sd is None and several.sd is not None and (single.se or 0.0) < several.sd:
        # A standard error over examples knows nothing of how trainings differ, which the seeds of the other say.
        total, degrees = several.sd**2 * (1 + 1 / several.count), several.degrees
    elif len(known) == 1:
        (other,) = (figure for figure in (first, second) if figure.variance is not None)
        assert other.spread is not None
        total, degrees = known[0][0] + other.spread**2, known[0][1]
    else:
        total = math.fsum(variance for variance, _ in known)
        degrees = _satterthwaite(known, total)
    if total == 0:
        return distance > 0
    t = distance / math.sqrt(total)
    # Only between these does the answer depend on the degrees of freedom, which cost some microseconds.
    if not _LEAST < t < _MOST:
        return t >= _MOST
    return two_sided_chance(t, degrees) < LEVEL


def _satterthwaite(known: list[tuple[float, float]], total: float) -> float:
    weight = math.fsum((variance / total) ** 2 / degrees for variance, degrees in known) if total else 0.0
    return 1 / weight if weight else math.inf


def two_sided_chance(t: float, degrees: float) -> float:
    """Return the probability that Student's t lies as far from zero as ``t``, for one degree of freedom or more.

    It is the regularized incomplete beta function I_x(degrees / 2, 1 / 2) at x = degrees / (degrees + t^2).
    """
    if degrees > 1e6:
        return math.erfc(t / math.sqrt(2))
    a, b, x = degrees / 2, 0.5, degrees / (degrees + t * t)
    if x >= 1:
        return 1.0
    scale = a * math.log(x) + b * math.log1p(-x) - (math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b))
    # The fraction converges fast on one side of the mean; the other side is its complement.
    if x < (a + 1) / (a + b + 2):
        return math.exp(scale) * _fraction(a, b, x) / a
    return 1 - math.exp(scale) * _fraction(b, a, 1 - x) / b


def _fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of the incomplete beta function by Lentz's method (DLMF 8.17.22)."""
    c = 1.0
    d = value = 1 / _away(1 - (a + b) * x / (a + 1))
    for m in range(1, 1000):
        before = value
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d, c = 1 / _away(1 + term * d), _away(1 + term / c)
            value *= c * d
        if abs(value - before) < 1e-14 * abs(value):
            break
    return value


def _away(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
