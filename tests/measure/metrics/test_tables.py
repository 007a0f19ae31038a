"""Distances of columns and of pairs of columns against SciPy and shares counted by hand."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from genlab.core.spec import Field
from genlab.measure.metrics.rows import MetricError
from genlab.measure.metrics.tables import TableDistances

FIELDS = (Field("size"), Field("kind", levels=3), Field("count", decimals=0, rounded=True), Field("flag", levels=2))


def rows(count: int, seed: int, shift: float = 0.0) -> Tensor:
    """Numbers with many equal values among them, and categories that depend on these."""
    random = np.random.RandomState(seed)
    size = random.standard_normal(count) + shift
    kind = np.clip(np.floor(size + 1.5), 0, 2)
    number = np.round(2 * size + random.standard_normal(count))
    flag = (random.random_sample(count) < 0.3 + shift / 10).astype(float)
    return torch.from_numpy(np.column_stack([size, kind, number, flag])).float()


def distances(real: Tensor, fake: Tensor, fields: tuple[Field, ...] = FIELDS) -> dict[str, Tensor]:
    metric = TableDistances(fields)
    for part in real.split(37):
        metric.update(part, real=True)
    metric.update(fake, real=False)
    return metric.compute()


def variation(real: list, fake: list) -> float:
    ours, theirs = Counter(real), Counter(fake)
    return sum(abs(ours[k] / len(real) - theirs[k] / len(fake)) for k in ours.keys() | theirs.keys()) / 2


def test_the_distances_of_columns_are_those_of_scipy() -> None:
    real, fake = rows(200, 0), rows(150, 1, shift=0.5)
    found = distances(real, fake)
    a, b = real.T.tolist(), fake.T.tolist()
    expected = [
        scipy.stats.ks_2samp(a[0], b[0]).statistic,
        variation(a[1], b[1]),
        scipy.stats.ks_2samp(a[2], b[2]).statistic,
        variation(a[3], b[3]),
    ]
    assert found["by_column"].tolist() == pytest.approx(expected)
    assert float(found["column"]) == pytest.approx(sum(expected) / 4)


def test_the_differences_of_pairs_are_those_of_scipy() -> None:
    real, fake = rows(200, 0), rows(160, 1, shift=0.5)
    fake[:, 2] = fake[torch.randperm(160, generator=torch.Generator().manual_seed(0)), 2]
    found = distances(real, fake)
    rho = [scipy.stats.spearmanr(x[:, 0], x[:, 2]).statistic for x in (real, fake)]
    assert float(found["correlation"]) == pytest.approx(abs(rho[0] - rho[1]))
    cuts = {c: np.sort(real[:, c].numpy())[[50, 100, 150]] for c in (0, 2)}
    a, b = ({c: np.searchsorted(cuts[c], x[:, c].numpy()) for c in (0, 2)} | {c: x[:, c].numpy() for c in (1, 3)}
            for x in (real, fake))  # fmt: skip
    pairs = [(0, 1), (0, 3), (1, 2), (1, 3), (2, 3)]
    expected = [variation(list(zip(a[i], a[j], strict=True)), list(zip(b[i], b[j], strict=True))) for i, j in pairs]
    assert float(found["contingency"]) == pytest.approx(np.mean(expected))


def test_the_distances_are_those_of_sdmetrics() -> None:
    """SDMetrics 0.32.0 of the same rows: KSComplement, TVComplement, CorrelationSimilarity with Spearman's coefficient
    and ContingencySimilarity, which are one less the distance, and one less half of the correlations' difference. It
    cuts numbers beside categories into ten parts of one width, of which tails leave few rows in most: ours are
    quarters, so that only the pair of two categories is the same.

    The numbers are those that this prints, where `pip install sdmetrics==0.32.0` and PyTorch are::

        from pandas import DataFrame
        from sdmetrics.column_pairs import ContingencySimilarity, CorrelationSimilarity
        from sdmetrics.single_column import KSComplement, TVComplement

        real, fake = (DataFrame(x.numpy(), columns=list("abcd")) for x in (rows(200, 0), rows(150, 1, shift=0.5)))
        for name, metric in zip("abcd", 2 * [KSComplement, TVComplement]):
            print(metric.compute(real[name], fake[name]))
        print(CorrelationSimilarity.compute(real[["a", "c"]], fake[["a", "c"]], coefficient="Spearman"))
        print(ContingencySimilarity.compute(real[["b", "d"]], fake[["b", "d"]]))

    The mean of the first four is the score of its QualityReport's column shapes, 0.81.
    """
    real, fake = rows(200, 0), rows(150, 1, shift=0.5)
    found = distances(real, fake)
    complements = [0.7633333333333333, 0.7766666666666666, 0.7566666666666666, 0.9433333333333334]
    assert found["by_column"].tolist() == pytest.approx([1 - score for score in complements])
    assert float(found["column"]) == pytest.approx(1 - 0.81)
    assert float(found["correlation"]) == pytest.approx(2 * (1 - 0.966186599383811))
    categories = distances(real[:, 1::2], fake[:, 1::2], FIELDS[1::2])
    assert float(categories["contingency"]) == pytest.approx(1 - 0.7733333333333333)


def test_equal_rows_are_not_apart_and_others_wholly() -> None:
    real = rows(100, 0)
    same = distances(real, real)
    assert all(float(same[key]) == pytest.approx(0, abs=1e-12) for key in ("column", "correlation", "contingency"))
    far = real.clone()
    far[:, 0], far[:, 2] = far[:, 0] + 100, far[:, 2] - 100
    assert distances(real, far)["by_column"].tolist() == [1, 0, 1, 0]


def test_columns_of_one_kind_have_no_pairs_of_the_other() -> None:
    real = rows(100, 0)
    assert not {"contingency", "contingency_se"} & set(distances(real[:, [0, 2]], real[:, [0, 2]], FIELDS[::2]))
    assert "correlation" not in distances(real[:, 1:], real[:, 1:], FIELDS[1:])
    assert set(distances(real[:, :1], real[:, :1], FIELDS[:1])) == {"column", "column_se", "by_column"}


def test_the_standard_errors_are_how_far_figures_of_other_samples_differ() -> None:
    real = rows(2000, 0)
    figures = [distances(real, rows(400, seed, shift=0.8)) for seed in range(1, 31)]
    for key in ("column", "correlation", "contingency"):
        deviation = float(torch.stack([figure[key] for figure in figures]).std())
        told = float(torch.stack([figure[f"{key}_se"] for figure in figures]).mean())
        assert told == pytest.approx(deviation, rel=0.6), key


def test_a_constant_column_of_samples_correlates_with_nothing() -> None:
    real, fake = rows(100, 0), rows(100, 1)
    fake[:, 0] = 1.0
    rho = scipy.stats.spearmanr(real[:, 0], real[:, 2]).statistic
    assert float(distances(real, fake)["correlation"]) == pytest.approx(abs(rho))


def test_what_cannot_be_compared_is_said() -> None:
    real = rows(100, 0)
    with pytest.raises(MetricError, match="At least 20 generated examples are needed, 19"):
        distances(real, real[:19])
    broken = real.clone()
    broken[3, 0] = torch.inf
    with pytest.raises(MetricError, match="1 of 100 rows have values that are nan or infinite"):
        distances(real, broken)
    with pytest.raises(ValueError, match=r"shape \[N, 4\], not \[100, 3\]"):
        distances(real, real[:, :3])
