"""Figures of samples of series: their gaps, errors by a bootstrap, and what chance alone would give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from genlab.core.batch import Batch
from genlab.core.spec import DataSpec
from genlab.core.stylized_facts import FACTS, WindowFacts, gaps
from genlab.data.stochastic_volatility import draw_returns
from genlab.measure.case import Instruments, Reference
from genlab.measure.features.extractors import Values
from genlab.measure.figures import FIGURES
from genlab.measure.metrics import series_scores
from genlab.measure.quality import measure_quality

SPEC = DataSpec("prices", "series", (1, 12))
KEYS = [figure.key for figure in FIGURES.values() if "time series" in figure.needs]
SCORES = [figure.key for figure in FIGURES.values() if "series scores" in figure.needs]


def drawn(count: int, seed: int) -> torch.Tensor:
    return torch.from_numpy(draw_returns(count, 12, np.random.RandomState(seed))).float()[:, None]


def measured(samples: torch.Tensor, real: torch.Tensor) -> tuple[dict[str, float], dict[str, str]]:
    found = measure_quality(Batch(samples), Reference(SPEC, Batch(real), "test"), Instruments(Values()), only=KEYS)
    return found.figures or {}, found.reasons


def test_gaps_are_between_the_facts_of_samples_and_data() -> None:
    samples, real = torch.randn(150, 1, 12, generator=torch.Generator().manual_seed(0)), drawn(200, 1)
    figures, reasons = measured(samples, real)
    facts, true = WindowFacts(samples).compute(), WindowFacts(real).compute()
    for name, gap in gaps(facts, true).items():
        assert figures[f"{name}_gap"] == pytest.approx(float(gap))
    assert figures["kurtosis"] == pytest.approx(float(facts["kurtosis"]))
    assert figures["kurtosis_real"] == pytest.approx(float(true["kurtosis"]))
    assert figures["tail_index_real"] == pytest.approx(float(true["tail_index"]))
    assert set(reasons) == {"extractor_sha256"}
    assert measured(samples, real)[0] == figures, "the bootstrap is always the same"


def test_real_windows_have_the_gap_of_chance_and_others_more() -> None:
    """Over many draws, the gap between real windows is what is said to be that of chance."""
    told, real_gaps = [], []
    for seed in range(12):
        figures, _ = measured(drawn(150, 100 + seed), drawn(300, 200 + seed))
        told.append([figures[f"{name}_gap_chance"] for name in FACTS])
        real_gaps.append([figures[f"{name}_gap"] for name in FACTS])
    ratio = np.mean(told, axis=0) / np.mean(real_gaps, axis=0)
    assert (abs(np.log(ratio)) < np.log(2)).all(), dict(zip(FACTS, ratio, strict=True))
    noise, _ = measured(torch.randn(150, 1, 12, generator=torch.Generator().manual_seed(0)), drawn(300, 1))
    for name in ("autocorrelation_abs", "autocorrelation_squared"):
        assert noise[f"{name}_gap"] > noise[f"{name}_gap_chance"] + 3 * noise[f"{name}_gap_se"]


def test_the_standard_error_is_how_far_figures_of_other_windows_differ() -> None:
    scaled = [torch.randn(150, 1, 12, generator=torch.Generator().manual_seed(seed)) for seed in range(12)]
    figures = [measured(samples, drawn(300, 50 + seed))[0] for seed, samples in enumerate(scaled)]
    for name in ("autocorrelation_abs", "leverage"):
        deviation = np.std([found[f"{name}_gap"] for found in figures], ddof=1)
        assert np.mean([found[f"{name}_gap_se"] for found in figures]) == pytest.approx(deviation, rel=0.6)


def test_the_standard_error_of_training_windows_that_overlap_counts_their_steps_once() -> None:
    """Many windows of few steps: taken as independent, their error would be that of as many steps as they have."""
    found, alone = [], []
    for seed in range(10):
        steps = torch.from_numpy(draw_returns(1, 400, np.random.RandomState(seed)))[0].float()
        train, real = Batch(steps.unfold(0, 12, 1)[:, None]), drawn(500, 300 + seed)
        rows = torch.randperm(len(train.x), generator=torch.Generator().manual_seed(seed))[:300]
        for figures, places in ((found, rows), (alone, None)):
            reference = Reference(SPEC, Batch(real), "test", train)
            samples = train.rows(rows)
            figures.append(measure_quality(samples, reference, Instruments(Values()), KEYS, places).figures or {})
    for name in ("autocorrelation", "autocorrelation_abs", "tail_index"):
        deviation = np.std([figures[f"{name}_gap"] for figures in found], ddof=1)
        mean, mean_alone = (np.mean([figures[f"{name}_gap_se"] for figures in each]) for each in (found, alone))
        assert mean == pytest.approx(deviation, rel=0.5)
        assert mean_alone < 0.65 * mean


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [(float("nan"), "1 of 150 generated windows have values that are not finite"), (None, "generated windows never")],
)
def test_samples_without_facts_say_why(spoil: float | None, reason: str) -> None:
    samples = drawn(150, 0)
    samples[(..., 0) if spoil else ...] = 0.0
    if spoil is not None:
        samples[3, 0, 0] = spoil
    figures, reasons = measured(samples, drawn(100, 1))
    assert figures == {}
    assert reason in next(iter(reasons.values()))


def test_other_data_has_no_such_figures() -> None:
    plane = DataSpec("plane", "vector", (2,))
    batch = Batch(torch.randn(120, 2))
    found = measure_quality(batch, Reference(plane, batch, "test"), Instruments(Values()))
    assert not set(KEYS) & set(found.figures or {})


def scored(samples: torch.Tensor, train: torch.Tensor, **asked: Any) -> dict[str, float]:
    reference = Reference(SPEC, Batch(drawn(60, 9)), "test", Batch(train))
    instruments = Instruments(Values(), series_scores=True)
    found = measure_quality(Batch(samples), reference, instruments, only=SCORES, **asked)
    return found.figures or {}


def test_scores_stand_beside_those_of_real_windows_and_leave_the_floors_own_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(series_scores, "STEPS", 15)
    monkeypatch.setattr(series_scores, "REPEATS", 2)
    train = drawn(300, 3)
    one, other = (scored(x, train) for x in (drawn(120, 4), drawn(120, 4) + 9))
    assert set(SCORES) <= set(one)
    assert one["discriminative_score"] < 0.25 < other["discriminative_score"]
    for key in ("discriminative_score_real", "predictive_score_real", "predictive_score_real_se"):
        assert one[key] == other[key], "of real windows alone"
    rows = torch.arange(100)
    floor, again = scored(train[rows], train, rows=rows), scored(train[rows], train[100:])
    assert [floor[key] for key in SCORES] == pytest.approx([again[key] for key in SCORES], abs=0.3)
    assert floor["predictive_score_real"] != one["predictive_score_real"], "trained on the others alone"


def test_scores_are_measured_where_they_are_asked_for() -> None:
    reference = Reference(SPEC, Batch(drawn(60, 9)), "test", Batch(drawn(300, 3)))
    assert not set(SCORES) & set(measure_quality(Batch(drawn(120, 4)), reference, Instruments(Values())).figures)
    plane = DataSpec("plane", "vector", (2,))
    batch = Batch(torch.randn(120, 2))
    found = measure_quality(batch, Reference(plane, batch, "test"), Instruments(Values(), series_scores=True))
    assert found.figures["discriminative_score"] is None
    assert found.reasons["discriminative_score"] == "it is for time series"


def test_a_deviation_counts_sampling_errors_of_real_windows() -> None:
    """Over many draws, samples that are real windows deviate by one error; noise without memory by many."""
    found = [measured(drawn(400, 100 + seed), drawn(300, 200 + seed))[0] for seed in range(10)]
    squares = torch.tensor([figures["autocorrelation_squared_deviation"] for figures in found])
    assert squares.shape == (10, 6)
    kurtosis = torch.tensor([figures["kurtosis_deviation"] for figures in found])
    for deviations in (squares[:, 0], squares[:, 4], kurtosis):
        assert 0.4 < float(deviations.square().mean().sqrt()) < 2.2
    noise, _ = measured(torch.randn(400, 1, 12, generator=torch.Generator().manual_seed(0)), drawn(300, 1))
    assert noise["autocorrelation_squared_deviation"][0] < -3
    assert noise["kurtosis_deviation"] < -1.5


def test_of_several_columns_the_farthest_deviates() -> None:
    pair = DataSpec("pair", "series", (2, 12))
    real = torch.cat([drawn(300, 1), drawn(300, 2)], dim=1)
    noise = torch.randn(400, 1, 12, generator=torch.Generator().manual_seed(0))
    samples = torch.cat([drawn(400, 3), noise], dim=1)
    reference = Reference(pair, Batch(real), "test")
    both = measure_quality(Batch(samples), reference, Instruments(Values()), only=KEYS).figures
    alone, _ = measured(noise, drawn(300, 2))
    assert both["kurtosis_deviation"] == pytest.approx(alone["kurtosis_deviation"])
    assert len(both["autocorrelation_squared_deviation"]) == 6
