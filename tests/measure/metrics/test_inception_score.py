"""Inception score against its known values and torchmetrics."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torchmetrics.image.inception import InceptionScore as Theirs

from genlab.measure.metrics.inception_score import InceptionScore
from genlab.measure.metrics.rows import canonical_order
from tests.measure.metrics.common import normals


def measured(logits: Tensor, **settings: int) -> dict[str, Tensor]:
    metric = InceptionScore(logits.shape[1], **settings)
    metric.update(logits, real=False)
    return metric.compute()


def test_certain_and_evenly_spread_labels_score_the_number_of_classes() -> None:
    # Each split holds chance numbers of the classes, so many examples: the score falls short by about C / (2 n) of it.
    labels = torch.arange(8000) % 4
    figures = measured(1000.0 * nn.functional.one_hot(labels, 4).float(), num_splits=2)
    assert figures["inception_score"].item() == pytest.approx(4, rel=2e-3)
    assert figures["inception_score"].item() <= 4


@pytest.mark.parametrize("row", [[0.0, 0.0, 0.0], [9.0, -9.0, 1.0], [0.0, -300.0, -400.0]])
def test_labels_that_never_differ_score_one(row: list[float]) -> None:
    figures = measured(torch.tensor([row]).repeat(40, 1))
    assert figures["inception_score"].item() == pytest.approx(1)
    assert figures["inception_score_sd"].item() == pytest.approx(0)


@pytest.mark.filterwarnings("ignore:Metric `InceptionScore`")
def test_it_equals_torchmetrics_on_the_same_splits() -> None:
    logits = 3 * normals(80, seed=1)
    theirs = Theirs(feature=nn.Identity(), splits=5)
    theirs.update(canonical_order(logits).double())
    torch.manual_seed(3)
    mean, sd = theirs.compute()
    figures = measured(logits, num_splits=5, seed=3)
    assert figures["inception_score"].item() == pytest.approx(mean.item(), rel=1e-9)
    assert figures["inception_score_sd"].item() == pytest.approx(sd.item() * (4 / 5) ** 0.5, rel=1e-9)


def test_real_examples_do_not_count() -> None:
    logits = 3 * normals(80, seed=1)
    metric = InceptionScore(5)
    metric.update(normals(30, seed=2), real=True)
    metric.update(logits, real=False)
    torch.testing.assert_close(metric.compute(), measured(logits), rtol=0, atol=0)


def test_a_single_split_is_refused() -> None:
    with pytest.raises(ValueError, match="num_splits must be at least 2, not 1"):
        InceptionScore(3, num_splits=1)
