from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from genlab.comparison.chance import Figure, differ, two_sided_chance


@pytest.mark.parametrize("degrees", [1, 1.01, 1.5, 2, 2.7, 4, 9.3, 30, 250, 1e4, 1e6, math.inf])
@pytest.mark.parametrize("t", [0.0, 1e-3, 0.5, 1.0, 1.96, 2.1, 4.3, 12.7])
def test_the_chance_is_that_of_scipy(t: float, degrees: float) -> None:
    expected = 2 * (stats.norm.sf(t) if math.isinf(degrees) else stats.t.sf(t, degrees))
    assert two_sided_chance(t, degrees) == pytest.approx(expected, rel=1e-8, abs=1e-12)


def test_seeds_differ_where_scipys_test_says_so() -> None:
    """For means at all distances, and deviations and numbers of seeds that are not alike."""
    chance, answers = np.random.default_rng(0), []
    for seeds, more, wider, _ in itertools.product((2, 3, 5), (2, 4), (1.0, 10.0), range(50)):
        first, second = chance.normal(size=seeds), wider * chance.normal(size=more) + chance.uniform(0, 8)
        expected = stats.ttest_ind(first, second, equal_var=False).pvalue < 0.05
        figures = (Figure(x.mean(), x.std(ddof=1), len(x)) for x in (first, second))
        assert differ(*figures) == expected
        answers.append(expected)
    assert 0.2 < np.mean(answers) < 0.8


def test_one_seed_is_judged_by_its_own_standard_error() -> None:
    best = Figure(1.0, None, 1, 0.03)
    assert not differ(best, Figure(1.09, None, 1, 0.04)), "1.8 standard errors of the difference"
    assert differ(best, Figure(1.11, None, 1, 0.04))


def test_a_seed_of_which_nothing_is_known_varies_as_the_others_do() -> None:
    several = Figure(1.0, 0.1, 3)
    edge = stats.t.ppf(0.975, 2) * 0.1 * math.sqrt(1 + 1 / 3)
    assert not differ(several, Figure(1 + 0.99 * edge, None, 1))
    assert differ(Figure(1 + 1.01 * edge, None, 1), several)


def test_the_standard_error_of_one_training_does_not_say_how_trainings_differ() -> None:
    several = Figure(1.0, 0.1, 3)
    edge = stats.t.ppf(0.975, 2) * 0.1 * math.sqrt(1 + 1 / 3)
    for small in (None, 0.001, 0.09):
        assert not differ(several, Figure(1 + 0.99 * edge, None, 1, small))
        assert differ(Figure(1 + 1.01 * edge, None, 1, small), several)
    assert not differ(several, Figure(1 + 1.01 * edge, None, 1, 1.0)), "a larger one counts"


def test_without_any_spread_all_that_is_not_equal_differs() -> None:
    assert differ(Figure(1.0, None, 1), Figure(1.0001, None, 1))
    assert not differ(Figure(1.0, None, 1), Figure(1.0, None, 1))
    assert differ(Figure(1.0, 0.0, 3), Figure(1.0001, 0.0, 3))
    assert not differ(Figure(1.0, 0.0, 3), Figure(1.0, 0.0, 3))
