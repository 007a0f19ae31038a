"""Total variation between class histograms."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from genlab.measure.metrics.classes import ClassHistogramDistance


def measured(real: Tensor, fake: Tensor) -> float:
    metric = ClassHistogramDistance(3)
    metric.update(real, real=True)
    metric.update(fake, real=False)
    return metric.compute().item()


@pytest.mark.parametrize(
    ("real", "fake", "distance"),
    [
        ([0, 1, 2], [2, 2, 1, 1, 0, 0], 0),
        ([0, 0], [1, 2], 1),
        ([0, 0, 1, 2], [0, 1, 1, 1], 1 / 2),
        ([0, 1], [0, 0, 1], 1 / 6),
    ],
)
def test_distances_of_small_histograms(real: list[int], fake: list[int], distance: float) -> None:
    assert measured(torch.tensor(real), torch.tensor(fake)) == pytest.approx(distance)
    assert measured(torch.tensor(fake), torch.tensor(real)) == pytest.approx(distance)


def test_counts_are_kept_by_class() -> None:
    metric = ClassHistogramDistance(3)
    metric.update(torch.tensor([2, 2, 0], dtype=torch.uint8), real=True)
    metric.update(torch.tensor([1]), real=False)
    assert metric.real_counts.tolist() == [1, 0, 2]
    assert metric.fake_counts.tolist() == [0, 1, 0]


@pytest.mark.parametrize("labels", [torch.tensor([3]), torch.tensor([-1]), torch.tensor([0.0]), torch.tensor([[0]])])
def test_labels_that_are_no_classes_are_refused(labels: Tensor) -> None:
    with pytest.raises(ValueError, match="Labels must be"):
        ClassHistogramDistance(3).update(labels, real=True)


def test_a_class_under_a_tenth_of_its_share_is_missing() -> None:
    metric = ClassHistogramDistance(4)
    # Shares of the data: 0.2, 0.3, 0.5 and none.
    metric.update(torch.tensor([0] * 2 + [1] * 3 + [2] * 5), real=True)
    # A tenth of 0.3 is not under it; 0.019 is under a tenth of 0.2.
    metric.update(torch.tensor([0] * 19 + [1] * 30 + [2] * 951), real=False)
    assert metric.missing_classes() == 1


def test_no_rounding_makes_the_distance_more_than_one() -> None:
    """Shares sum to 1 but for rounding, and a result takes no distance above 1."""
    for count in range(100, 400):
        real = torch.arange(count) % 9
        metric = ClassHistogramDistance(10)
        metric.update(real, real=True)
        metric.update(torch.full((200,), 9), real=False)
        assert 1 - 1e-12 < metric.compute() <= 1
