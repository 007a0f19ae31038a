"""N-gram divergence against SciPy and words counted by hand."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from scipy.spatial.distance import jensenshannon
from torch import Tensor

from genlab.measure.metrics.ngrams import NgramDivergence
from genlab.measure.metrics.rows import MetricError
from genlab.measure.metrics.words import count_words, word_shares


def drawn(count: int, seed: int, levels: int = 4, length: int = 9) -> Tensor:
    return torch.randint(levels, (count, length), generator=torch.Generator().manual_seed(seed))


def divergence(real: Tensor, fake: Tensor) -> dict[str, Tensor]:
    metric = NgramDivergence(real.shape[1])
    for part in real.split(7):
        metric.update(part, real=True)
    metric.update(fake, real=False)
    return metric.compute()


def shares(rows: Tensor, order: int) -> Counter[tuple[int, ...]]:
    return Counter(tuple(row[i : i + order]) for row in rows.tolist() for i in range(len(row) - order + 1))


def test_the_divergence_is_that_of_scipy() -> None:
    real, fake = drawn(50, 1), drawn(60, 2, levels=6) * 1000  # an alphabet whose strings are many
    fake[::2] = real[:30]
    found = divergence(real, fake)
    expected = []
    for order in range(1, 5):
        ours, theirs = shares(real, order), shares(fake, order)
        keys = sorted(ours.keys() | theirs.keys())
        distance = jensenshannon([ours[key] for key in keys], [theirs[key] for key in keys], base=2)
        expected.append(distance**2)
    assert found["by_order"].tolist() == pytest.approx(expected)
    assert float(found["divergence"]) == pytest.approx(sum(expected) / 4)


def test_equal_texts_have_no_divergence_and_others_the_whole() -> None:
    real = drawn(40, 1)
    assert float(divergence(real, real)["divergence"]) == pytest.approx(0, abs=1e-12)
    assert divergence(real, real + 4)["by_order"].tolist() == [1, 1, 1, 1]
    assert len(divergence(real[:, :2], real[:, :2])["by_order"]) == 2, "no string is longer than an example"


def test_the_standard_error_is_how_far_figures_of_other_samples_differ() -> None:
    real = drawn(400, 0)
    skewed = [torch.minimum(drawn(200, 2 * seed + 1), drawn(200, 2 * seed + 2)) for seed in range(30)]
    figures = [divergence(real, fake) for fake in skewed]
    deviation = float(torch.stack([figure["divergence"] for figure in figures]).std())
    told = float(torch.stack([figure["standard_error"] for figure in figures]).mean())
    assert told == pytest.approx(deviation, rel=0.5)


def test_too_few_and_wrong_symbols_are_refused() -> None:
    with pytest.raises(MetricError, match="At least 20 generated"):
        divergence(drawn(5, 1), drawn(19, 2))
    with pytest.raises(ValueError, match=r"whole numbers \[N, 9\]"):
        NgramDivergence(9).update(torch.zeros(3, 9), real=True)


def test_words_are_letters_whose_ends_are_seen() -> None:
    text = "olD Lord, don't old-fashioned 3x çava_là the"
    assert count_words([text]) == Counter(["lord", "don't", "old", "fashioned", "x", "çava", "là"])
    assert count_words(["whole"]) == Counter(), "it may be a part of one"


def test_the_shares_of_words() -> None:
    found = word_shares([". the cat the dog .", ". The mat ."], [". the cat sat .", ". mat ."])
    assert found.distinct == 4 / 6
    assert found.known == 5 / 6
    with pytest.raises(MetricError, match="no words"):
        word_shares(["123", ""], [". the ."])
