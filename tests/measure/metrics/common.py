"""Small sets of features, and every metric on them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torchmetrics import Metric

from genlab.measure.metrics.classes import ClassHistogramDistance
from genlab.measure.metrics.frechet import FrechetDistance, MemorizationInformedFrechetDistance
from genlab.measure.metrics.inception_score import InceptionScore
from genlab.measure.metrics.kernel import KernelDistance
from genlab.measure.metrics.manifold import ManifoldMetrics
from genlab.measure.metrics.neighbours import NearestTrainingDistance
from genlab.measure.metrics.vectors import MaximumMeanDiscrepancy, SlicedWasserstein

D = 5
CLASSES = 3

METRICS: dict[str, Callable[[], Metric]] = {
    "frechet": lambda: FrechetDistance(D),
    "mifid": lambda: MemorizationInformedFrechetDistance(D),
    "kernel": lambda: KernelDistance(D, num_subsets=4, subset_size=30),
    "inception_score": lambda: InceptionScore(D, num_splits=4),
    "manifold": lambda: ManifoldMetrics(D, num_classes=CLASSES),
    "neighbours": lambda: NearestTrainingDistance(D, num_pairs=4),
    "wasserstein": lambda: SlicedWasserstein(D, num_projections=50),
    "mmd": lambda: MaximumMeanDiscrepancy(D),
    "classes": lambda: ClassHistogramDistance(CLASSES),
}
ON_FEATURES = [name for name in METRICS if name != "classes"]


def normals(count: int, seed: int, num_features: int = D) -> Tensor:
    return torch.randn(count, num_features, generator=torch.Generator().manual_seed(seed))


def classes(features: Tensor) -> Tensor:
    """Return labels that depend on the features, so that they move with them."""
    return (features[:, 0] > -0.5).long() + (features[:, 0] > 0.5).long()


def give(metric: Metric, features: Tensor, real: bool, training: bool = False) -> None:
    """Update any metric with what it takes of one batch."""
    if isinstance(metric, NearestTrainingDistance):
        metric.update(features, real=real, training=training)
    elif training:
        return
    elif isinstance(metric, ClassHistogramDistance):
        metric.update(classes(features), real=real)
    elif isinstance(metric, ManifoldMetrics):
        metric.update(features, real=real, labels=classes(features) if real and metric.num_classes else None)
    else:
        metric.update(features, real=real)


def figures(metric: Metric) -> dict[str, Tensor]:
    """Return the metric's figures by name, without the places of pairs, which follow the order of the updates."""
    computed = metric.compute()
    named = computed if isinstance(computed, dict) else {"value": computed}
    return {name: value for name, value in named.items() if name not in ("pair_samples", "pair_training")}
