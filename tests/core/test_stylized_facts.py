"""Stylized facts against sums written out by hand, SciPy, and a model whose facts are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import kurtosis

from genlab.core.stylized_facts import FACTS, TAIL_SHARE, WindowFacts, block_of, gaps, lags_of, resampled
from genlab.data.stochastic_volatility import StochasticVolatility, draw_returns

LAGS = 4


@pytest.fixture(scope="module")
def windows() -> np.ndarray:
    """Windows ``[N, 2, T]`` with tails, dependence and a mean that is not zero."""
    noise = np.random.default_rng(3).standard_t(4, (60, 2, 2 * LAGS)) + 0.3
    noise[:, :, 1:] += 0.5 * noise[:, :, :-1]
    return noise


def correlation(first: np.ndarray, later: np.ndarray, lag: int) -> float:
    """Correlation of what is lag steps apart in one window, with means and variances over all windows."""
    pairs = [
        (one[t] - first.mean()) * (other[t + lag] - later.mean())
        for one, other in zip(first, later, strict=True)
        for t in range(len(one) - lag)
    ]
    return float(np.mean(pairs) / (first.std() * later.std()))


def test_dependences_are_sums_over_pairs_within_windows(windows: np.ndarray) -> None:
    facts = WindowFacts(torch.from_numpy(windows)).compute()
    assert facts["autocorrelation"].shape == (1, 2, LAGS)
    for column in range(2):
        r = windows[:, column] - windows[:, column].mean()
        expected = {
            "autocorrelation": (r, r), "autocorrelation_abs": (abs(r), abs(r)),
            "autocorrelation_squared": (r**2, r**2), "leverage": (r, r**2),
        }  # fmt: skip
        for name, (first, later) in expected.items():
            by_hand = [correlation(first, later, lag) for lag in range(1, LAGS + 1)]
            assert facts[name][0, column].tolist() == pytest.approx(by_hand), name


def test_tails_are_those_of_scipy_and_of_hill(windows: np.ndarray) -> None:
    facts = WindowFacts(torch.from_numpy(windows)).compute()
    for column in range(2):
        values = windows[:, column].ravel()
        assert float(facts["kurtosis"][0, column]) == pytest.approx(kurtosis(values, fisher=False))
        sizes = np.sort(abs(values - values.mean()))[::-1]
        count = math.ceil(TAIL_SHARE * len(sizes))
        hill = 1 / np.mean([math.log(sizes[i] / sizes[count]) for i in range(count)])
        assert float(facts["tail_index"][0, column]) == pytest.approx(hill)


def test_the_tail_of_a_power_law_is_its_exponent() -> None:
    signs = torch.from_numpy(np.random.default_rng(0).choice([-1.0, 1.0], 40_000))
    sizes = torch.from_numpy(np.random.default_rng(1).pareto(3.0, 40_000) + 1)
    facts = WindowFacts((signs * sizes).view(-1, 1, 20)).compute()
    assert float(facts["tail_index"]) == pytest.approx(3, abs=5 * 3 / math.sqrt(TAIL_SHARE * 40_000))


def test_a_resample_has_the_facts_of_its_windows() -> None:
    x = torch.from_numpy(draw_returns(3000, 8, np.random.RandomState(2)))[:, None]
    counts = resampled(len(x), len(x), 2, torch.Generator().manual_seed(1))
    assert counts.sum(1).tolist() == [len(x)] * 2
    again = WindowFacts(x).compute(counts)
    for row, times in enumerate(counts.long()):
        repeated = WindowFacts(x.repeat_interleave(times, dim=0)).compute()
        for name in FACTS:
            # The resample's own means move a little.
            assert again[name][row].tolist()[0] == pytest.approx(repeated[name][0].tolist()[0], abs=3e-3, rel=1e-2)


def test_the_facts_of_stochastic_volatility_are_the_closed_form() -> None:
    windows = torch.from_numpy(draw_returns(40_000, 8, np.random.RandomState(9)))[:, None]
    truth = StochasticVolatility(length=8).true_facts()
    found = WindowFacts(windows)
    errors = found.compute(resampled(40_000, 40_000, 30, torch.Generator().manual_seed(0)))
    for name, expected in truth.items():
        error = 5 * errors[name][:, 0].std(0) + 1e-3
        assert ((found.compute()[name][0, 0] - expected).abs() < error).all(), name


def test_gaps_are_mean_differences_over_columns_and_lags() -> None:
    one = {name: torch.zeros(1, 2, 3) for name in FACTS}
    other = {name: torch.tensor([[[1.0, -2, 3], [0, 0, 0]]]) for name in FACTS}
    assert {name: value.tolist() for name, value in gaps(one, other).items()} == {key: [1.0] for key in FACTS}


@pytest.mark.parametrize(("length", "lags"), [(2, 1), (3, 1), (16, 8), (500, 20)])
def test_lags_reach_over_half_a_window(length: int, lags: int) -> None:
    assert lags_of(length) == lags
    assert WindowFacts(torch.randn(5, 1, length)).compute()["leverage"].shape == (1, 1, lags)


def test_blocks_of_neighbours_vary_as_all_of_them_do() -> None:
    """The variance of a mean over resamples, by all blocks that there are: circles of three of ten windows."""
    values = torch.tensor([5.0, 4.0, 5.0, 1.0, 0.0, 0.0, 1.0, 2.0, 4.0, 4.0], dtype=torch.float64)
    drawn = resampled(10, 9, 20_000, torch.Generator().manual_seed(0), block=3)
    assert drawn.sum(1).tolist() == [9] * 20_000
    found = (drawn @ values / 9).var()
    means = torch.stack([values.roll(-start)[:3].mean() for start in range(10)])
    assert float(found) == pytest.approx(float(means.var(correction=0)) / 3, rel=0.05)
    cut = resampled(10, 4, 50, torch.Generator().manual_seed(0), block=3)
    assert cut.sum(1).tolist() == [4] * 50
    assert [block_of(count) for count in (2, 31, 5000)] == [1, 3, 17]
