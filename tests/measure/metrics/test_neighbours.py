"""Memorization check: distances and pairs against all pairs, and what copies do to the ratio."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from genlab.measure.metrics import distances
from genlab.measure.metrics.distances import centre_of, nearest_neighbours, squared_distance_blocks
from genlab.measure.metrics.neighbours import NearestTrainingDistance
from tests.measure.metrics.common import D, normals


def measured(training: Tensor, test: Tensor, samples: Tensor, num_pairs: int = 5) -> dict[str, Tensor]:
    metric = NearestTrainingDistance(training.shape[1], num_pairs)
    metric.update(samples, real=False)
    metric.update(training, real=True, training=True)
    metric.update(test, real=True)
    return metric.compute()


@pytest.mark.parametrize("counts", [(70, 41, 32), (70, 40, 33)], ids=["odd and even", "even and odd"])
def test_it_equals_brute_force(monkeypatch: pytest.MonkeyPatch, counts: tuple[int, int, int]) -> None:
    monkeypatch.setattr(distances, "BLOCK", 16)
    training, test, samples = (normals(count, seed) for seed, count in enumerate(counts))
    figures = measured(training, test, samples)
    found = {name: torch.cdist(points.double(), training.double()).min(1) for name, points in
             (("test", test), ("samples", samples))}  # fmt: skip
    medians = {name: nearest.values.quantile(0.5) for name, nearest in found.items()}
    torch.testing.assert_close(figures["nearest_sample_median"], medians["samples"])
    torch.testing.assert_close(figures["nearest_test_median"], medians["test"])
    torch.testing.assert_close(figures["nearest_ratio"], medians["samples"] / medians["test"])
    order = found["samples"].values.argsort()[:5]
    assert figures["pair_samples"].tolist() == order.tolist()
    assert figures["pair_training"].tolist() == found["samples"].indices[order].tolist()
    torch.testing.assert_close(figures["pair_distances"], found["samples"].values[order])


def test_new_samples_of_the_same_distribution_are_near_one() -> None:
    figures = measured(normals(400, seed=1), normals(400, seed=2), normals(400, seed=3))
    assert figures["nearest_ratio"].item() == pytest.approx(1, abs=0.15)


def test_copies_have_a_distance_of_exactly_zero() -> None:
    training = normals(100, seed=1, num_features=64) + 100
    figures = measured(training, normals(50, seed=2, num_features=64) + 100, training[20:60], num_pairs=40)
    assert figures["nearest_ratio"].item() == 0
    assert figures["pair_distances"].tolist() == [0] * 40
    assert figures["pair_training"].tolist() == (figures["pair_samples"] + 20).tolist()


def test_samples_off_the_data_are_above_one() -> None:
    assert measured(normals(90, seed=1), normals(90, seed=2), normals(90, seed=3) + 5)["nearest_ratio"] > 2


def test_no_more_pairs_than_samples() -> None:
    assert len(measured(normals(9, seed=1), normals(9, seed=2), normals(3, seed=3))["pair_samples"]) == 3


def test_a_held_out_median_of_zero_leaves_no_ratio() -> None:
    training = normals(9, seed=1)
    assert measured(training, training.clone(), normals(9, seed=2))["nearest_ratio"].isnan()


def test_generated_examples_are_no_training_examples() -> None:
    with pytest.raises(ValueError, match="Training examples are real"):
        NearestTrainingDistance(D).update(normals(3, seed=1), real=False, training=True)


@pytest.mark.parametrize("block", [3, 16, 512])
def test_blocks_cover_all_pairs(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(distances, "BLOCK", block)
    first, second = normals(37, seed=1) + 1e3, normals(16, seed=2) + 1e3
    whole = torch.full((37, 16), torch.nan, dtype=torch.float64)
    for rows, columns, values in squared_distance_blocks(first, second, centre_of(second)):
        whole[rows, columns] = values
    expected = torch.cdist(first.double(), second.double(), compute_mode="donot_use_mm_for_euclid_dist").square()
    torch.testing.assert_close(whole, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("block", [2, 512])
def test_nearest_neighbours_equal_a_sort(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(distances, "BLOCK", block)
    queries, points = normals(11, seed=1), normals(9, seed=2)
    found = nearest_neighbours(queries, points, 4, centre_of(points))
    expected = torch.cdist(queries.double(), points.double()).sort(dim=1)
    assert torch.equal(found.indices, expected.indices[:, :4])
    torch.testing.assert_close(found.squared_distances, expected.values[:, :4].square())
