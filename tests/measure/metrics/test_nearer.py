"""The share of samples that are nearer to training rows, against distances one by one and all choices of these rows."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from genlab.core.spec import Field
from genlab.measure.metrics import nearer
from genlab.measure.metrics.nearer import share_nearer
from genlab.measure.metrics.rows import MetricError

FIELDS = (Field("size"), Field("kind", levels=3), Field("count", decimals=0, rounded=True))


def rows(count: int, seed: int, kinds: int = 3) -> Tensor:
    random = np.random.RandomState(seed)
    size = 1000 * random.standard_normal(count)
    return torch.from_numpy(np.column_stack([size, random.randint(kinds, size=count), np.round(size / 500)])).float()


def one_by_one(samples: Tensor, training: Tensor, held_out: Tensor) -> float:
    x, first, second = (part.double().numpy() for part in (samples, training, held_out))
    scale, total = first.std(0, ddof=1), 0.0
    for row in x:
        apart = [
            [sum(((row[c] - other[c]) / scale[c]) ** 2 for c in (0, 2)) + 2 * (row[1] != other[1]) for other in part]
            for part in (first, second)
        ]
        total += 1.0 if min(apart[0]) < min(apart[1]) else 0.5 * (min(apart[0]) == min(apart[1]))
    return total / len(x)


def test_the_share_is_that_of_distances_one_by_one() -> None:
    # So many kinds that a row of another one is often the nearest.
    samples, training, held_out = rows(300, 0, 12), rows(40, 1, 12), rows(40, 2, 12)
    found, _ = share_nearer(samples, training, held_out, FIELDS)
    assert found == pytest.approx(one_by_one(samples, training, held_out))


def test_the_error_is_that_of_all_choices_of_training_rows() -> None:
    weight = torch.tensor([5.0, 1, 0, 2, 0, 3, 1, 0], dtype=torch.float64)
    weight /= weight.sum()
    shares = [float(weight[list(chosen)].sum()) for chosen in itertools.combinations(range(8), 4)]
    assert np.mean(shares) == pytest.approx(0.5)
    assert float(nearer._error(weight)) == pytest.approx(np.std(shares))


def test_samples_that_know_nothing_of_training_rows_are_as_near_to_others() -> None:
    """Many samples and few rows: what varies is which of these were trained on."""
    found = [share_nearer(rows(300, 3 * s), rows(50, 3 * s + 1), rows(50, 3 * s + 2), FIELDS) for s in range(60)]
    shares, errors = zip(*found, strict=True)
    assert np.mean(shares) == pytest.approx(0.5, abs=3 * np.std(shares) / np.sqrt(60))
    assert np.mean(errors) == pytest.approx(np.std(shares), rel=0.3)
    assert np.mean(errors) > 1.3 * 0.5 / np.sqrt(300), "more than samples alone would vary"


def test_copies_are_nearer_as_far_as_their_rows_are_among_the_compared() -> None:
    training, held_out = rows(400, 0), rows(100, 1)
    all_copied, _ = share_nearer(training[:100], training[:100], held_out, FIELDS)
    assert all_copied == 1
    # A quarter of the training rows is compared: those of a quarter of the samples, the others are as near to either.
    some, error = share_nearer(training, training, held_out, FIELDS)
    assert some == pytest.approx(0.25 + 0.75 / 2, abs=3 * error)


def test_rows_at_the_same_distance_share_a_sample_and_equal_rows_count_once() -> None:
    kinds = [Field("a", levels=30), Field("b", levels=30)]
    training, held_out = (torch.stack([torch.arange(20.0) + start, torch.zeros(20)], 1) for start in (0, 5))
    samples = torch.tensor([[29.0, 0.0]]).repeat(20, 1)
    assert share_nearer(samples, training, held_out, kinds)[0] == pytest.approx(0.5), "all differ in one column"
    again = torch.cat([training] * 3)
    assert share_nearer(samples, again, held_out, kinds)[0] == pytest.approx(0.5)
    with pytest.raises(MetricError, match="At least 20 training examples are needed, 19"):
        share_nearer(samples, torch.cat([training[:19]] * 3), held_out, kinds)


def test_a_column_that_never_changed_and_numbers_beyond_all_decide_nothing() -> None:
    fields = (*FIELDS, Field("constant"))
    samples, training, held_out = (
        torch.column_stack([rows(40, s), torch.full((40,), value)]) for s, value in ((0, 7.0), (1, 3.0), (2, 3.0))
    )
    expected = share_nearer(samples[:, :3], training[:, :3], held_out[:, :3], FIELDS)
    assert share_nearer(samples, training, held_out, fields) == expected
    samples[0, 0] = 3e38
    share, error = share_nearer(samples, training, held_out, fields)
    assert 0 <= share <= 1
    assert error > 0


def test_only_some_of_very_many_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearer, "MOST_ROWS", 30)
    x = rows(200, 0)
    _, error = share_nearer(x, rows(200, 1), rows(200, 2), FIELDS)
    assert error > 0.7 * 0.5 / np.sqrt(30)
