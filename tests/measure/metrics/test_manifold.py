"""Precision, recall, density and coverage against loops over all pairs, and where their values are known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from genlab.measure.metrics import distances
from genlab.measure.metrics.manifold import ManifoldMetrics
from tests.measure.metrics.common import classes, normals


def measured(real: Tensor, fake: Tensor, labels: Tensor | None = None, **settings: int) -> dict[str, Tensor]:
    metric = ManifoldMetrics(real.shape[1], **settings)
    metric.update(real, real=True, labels=labels)
    metric.update(fake, real=False)
    return metric.compute()


def radius(points: Tensor, i: int, k: int) -> float:
    return sorted(float((points[i] - points[j]).norm()) for j in range(len(points)) if j != i)[k - 1]


def brute_force(real: Tensor, fake: Tensor, k: int = 3, k_density: int = 5) -> dict[str, float]:
    real, fake = real.double(), fake.double()
    small, large = ([radius(real, i, neighbours) for i in range(len(real))] for neighbours in (k, k_density))
    generated = [radius(fake, j, k) for j in range(len(fake))]
    gap = [[float((x - y).norm()) for y in fake] for x in real]
    rows, columns = range(len(real)), range(len(fake))
    return {
        "precision": sum(any(gap[i][j] <= small[i] for i in rows) for j in columns) / len(fake),
        "recall": sum(any(gap[i][j] <= generated[j] for j in columns) for i in rows) / len(real),
        "density": sum(gap[i][j] <= large[i] for i in rows for j in columns) / (k_density * len(fake)),
        "coverage": sum(any(gap[i][j] <= large[i] for j in columns) for i in rows) / len(real),
    }


@pytest.mark.parametrize("block", [13, 512])
@pytest.mark.parametrize("shift", [0.0, 1e3], ids=["near zero", "far from zero"])
def test_they_equal_brute_force(monkeypatch: pytest.MonkeyPatch, block: int, shift: float) -> None:
    monkeypatch.setattr(distances, "BLOCK", block)
    real, fake = normals(50, seed=1) + shift, 0.7 * normals(40, seed=2) + 0.8 + shift
    figures, expected = measured(real, fake), brute_force(real, fake)
    assert {name: value.item() for name, value in figures.items()} == pytest.approx(expected, abs=1e-12)
    assert all(0.1 < value < 0.95 for value in expected.values())
    assert len(set(expected.values())) == 4


def test_other_k_are_used_where_they_belong() -> None:
    real, fake = normals(40, seed=1), 0.7 * normals(30, seed=2) + 0.8
    figures = measured(real, fake, k_precision_recall=6, k_density_coverage=2)
    expected = brute_force(real, fake, k=6, k_density=2)
    assert {name: value.item() for name, value in figures.items()} == pytest.approx(expected, abs=1e-12)


def test_data_on_a_grid_has_its_ties_inside() -> None:
    generator = torch.Generator().manual_seed(1)
    real, fake = (torch.randint(0, 4, (count, 3), generator=generator).float() for count in (60, 45))
    figures, expected = measured(real / 4 + 5, fake / 4 + 5), brute_force(real, fake)
    assert {name: value.item() for name, value in figures.items()} == pytest.approx(expected, abs=1e-12)


def test_copies_of_the_real_data_are_perfect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distances, "BLOCK", 29)
    real = normals(300, seed=1, num_features=64) + 3
    figures = measured(real, real[torch.randperm(300, generator=torch.Generator().manual_seed(0))])
    assert [figures[name].item() for name in ("precision", "recall", "coverage")] == [1, 1, 1]
    # Each ball holds its centre and k neighbours, of which the farthest lies exactly on its surface.
    assert figures["density"].item() == pytest.approx(6 / 5, abs=1e-12)


def test_sets_far_apart_have_nothing_in_common() -> None:
    figures = measured(normals(50, seed=1), normals(40, seed=2) + 100)
    assert all(value.item() == 0 for value in figures.values())


def test_one_mode_is_precise_and_does_not_recall() -> None:
    real = torch.cat([normals(100, seed=1), normals(100, seed=2) + 50])
    figures = measured(real, normals(100, seed=3))
    assert figures["precision"] > 0.8
    assert figures["recall"] < 0.5
    assert figures["coverage"] <= 0.5


def test_an_outlier_among_the_samples_does_not_blur_the_others() -> None:
    real, fake = normals(50, seed=1), 0.7 * normals(40, seed=2) + 0.8
    far = torch.full((1, 5), 1e9)
    figures, expected = measured(real, torch.cat([fake, far])), brute_force(real, fake)
    assert figures["precision"].item() * 41 == pytest.approx(expected["precision"] * 40)
    assert figures["coverage"].item() == pytest.approx(expected["coverage"])


def test_recall_per_class_is_the_recall_of_each_class() -> None:
    real, fake = normals(60, seed=1), 0.7 * normals(40, seed=2) + 0.8
    labels = classes(real)
    per_class = measured(real, fake, labels=labels, num_classes=4)["recall_per_class"]
    generated = torch.tensor([radius(fake.double(), j, 3) for j in range(40)])
    recalled = (torch.cdist(real.double(), fake.double()) <= generated).any(1).double()
    for label in range(3):
        assert per_class[label].item() == pytest.approx(recalled[labels == label].mean().item())
    assert per_class[3].isnan()
    assert per_class[:3].unique().numel() == 3


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "Real examples need labels of the shape \\[9\\] .*, not none"),
        (torch.zeros(8, dtype=torch.int64), "not the shape \\[8\\]"),
        (torch.full((9,), 3), "must be in \\[0, 3\\), not in \\[3, 3\\]"),
        (torch.zeros(9), "must be whole numbers"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels: Tensor | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ManifoldMetrics(5, num_classes=3).update(normals(9, seed=1), real=True, labels=labels)


def test_k_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="k must be at least 1, not 3 and 0"):
        ManifoldMetrics(5, k_density_coverage=0)
