"""How the figures of samples of series are measured: their stylized facts, and what recurrent networks make of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from genlab.core.stylized_facts import FACTS, WindowFacts, block_of, gaps, resampled
from genlab.measure.case import Case
from genlab.measure.metrics.rows import MetricError
from genlab.measure.metrics.series_scores import discriminative_score, predictive_score, scale_of

__all__ = ["RESAMPLES", "scores", "stylized_facts"]

RESAMPLES = 200
"""Bootstrap resamples of windows, of which the errors are."""


def stylized_facts(case: Case) -> Mapping[str, Any]:
    """Return how far the stylized facts of the samples are from those of the data, and how sure that is.

    Beside each gap stand its standard error and what it is by chance alone, both by a bootstrap of whole windows:
    Efron (1979). Samples are independent, unless training windows take their place; these and the real windows are
    drawn in blocks of neighbours, as they follow each other. By chance, the gap is that between two sets of real
    windows: one of as many as there are samples, one of as many as there are real windows. A deviation is in standard
    deviations of the difference between these two.

    Raises:
        MetricError: If a value is not finite, or a column never changes.
    """
    real_windows, fake_windows = case.reference.examples.x.cpu(), case.samples.x.cpu()
    _require_finite(real_windows, fake_windows)
    for name, x in (("real", real_windows), ("generated", fake_windows)):
        if bool((x.amax((0, 2)) == x.amin((0, 2))).any()):
            raise MetricError(f"A column of the {name} windows never changes, so that it has no stylized facts.")
    block = 1
    if case.rows is not None:
        fake_windows, block = fake_windows[case.rows.argsort()], _block_of_training(case)
    real, fake = WindowFacts(real_windows), WindowFacts(fake_windows)
    noise = torch.Generator().manual_seed(0)
    real_again, other_real = (
        real.compute(resampled(real.count, n, RESAMPLES, noise, block_of(real.count))) for n in (real.count, fake.count)
    )
    fake_again = fake.compute(resampled(fake.count, fake.count, RESAMPLES, noise, block))
    found, true = fake.compute(), real.compute()
    gap, errors, chance = gaps(found, true), gaps(fake_again, real_again), gaps(other_real, real_again)
    figures = {}
    for name in FACTS:
        figures[f"{name}_gap"] = float(gap[name])
        figures[f"{name}_gap_se"] = float(errors[name].std())
        figures[f"{name}_gap_chance"] = float(chance[name].mean())
    deviations = {name: (other_real[name] - real_again[name]).std(0) for name in FACTS}
    squares, kurtosis = (
        _farthest((found[name][0] - true[name][0]) / deviations[name])
        for name in ("autocorrelation_squared", "kurtosis")
    )
    figures |= {"autocorrelation_squared_deviation": squares.tolist(), "kurtosis_deviation": float(kurtosis)}
    for name in ("kurtosis", "tail_index"):
        figures |= {name: float(found[name].mean()), f"{name}_real": float(true[name].mean())}
    return figures


def _block_of_training(case: Case) -> int:
    """Return the length of a block of training windows in the place of samples.

    Training windows may begin at each step: a block reaches beyond those that share steps, as those of windows that do
    not overlap reach beyond the next one.
    """
    assert case.reference.training is not None
    count, length = len(case.samples.x), case.samples.x.shape[-1]
    sharing = math.ceil(length * count / len(case.reference.training.x))
    return min(count, sharing + block_of(count))


def _farthest(deviations: torch.Tensor) -> torch.Tensor:
    """Return ``[...]``, of the columns of ``[C, ...]`` each that is farthest from zero."""
    return deviations.gather(0, deviations.abs().argmax(0, keepdim=True))[0]


def scores(case: Case) -> Mapping[str, Any]:
    """Return the discriminative and the predictive score, and beside each that of real training windows.

    Networks learn from the training windows and half of the samples, and are tested on the real windows that samples
    are compared with and on the other half: a sample is judged by what holds beyond the training windows. For the
    line of real windows, training windows take the place of the samples.
    """
    trained = case.reference.training
    assert trained is not None
    train, real, fake = trained.x.cpu(), case.reference.examples.x.cpu(), case.samples.x.cpu()
    _require_finite(real, fake)
    rows = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))
    if case.rows is not None:  # a model that was trained on the others is taken to have drawn the samples
        rows = rows[~torch.isin(rows, case.rows)]
    scale = scale_of(train[rows])
    # Halves at random: training windows that begin near each other share values.
    one, other = train[rows[::2]], train[rows[1::2]]
    fakes, half = fake[torch.randperm(len(fake), generator=torch.Generator().manual_seed(1))], len(fake) // 2
    figures = {}
    with case.timetable.phase("recurrent networks", 4, counts=True):
        for name, score in {
            "discriminative_score": lambda: discriminative_score(train[rows], fakes[:half], real, fakes[half:], scale),
            "discriminative_score_real": lambda: discriminative_score(one, other[::2], real, other[1::2], scale),
            "predictive_score": lambda: predictive_score(fake, real, scale),
            "predictive_score_real": lambda: predictive_score(train[rows], real, scale),
        }.items():
            found = score()
            figures |= {name: found.mean, f"{name}_se": found.error}
            case.timetable.advance(1)
    return figures


def _require_finite(real: torch.Tensor, fake: torch.Tensor) -> None:
    for name, x in (("real", real), ("generated", fake)):
        if broken := int((~x.isfinite()).flatten(1).any(1).sum()):
            raise MetricError(f"{broken} of {len(x)} {name} windows have values that are not finite.")
