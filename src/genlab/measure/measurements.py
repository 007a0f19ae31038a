"""How the figures of sample quality are measured: each of these gives the figures of one computation.

A figure names its measurement in the registry, ``module:name``: a class like these, called with a
:class:`~genlab.measure.case.Case`, or any ``torchmetrics.Metric`` over features.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor
from torchmetrics import Metric

from genlab.core.hardware import full_float32
from genlab.measure.case import Case
from genlab.measure.features.inception import FEATURES as INCEPTION_FEATURES
from genlab.measure.figures import FIGURES
from genlab.measure.metrics.classes import ClassHistogramDistance
from genlab.measure.metrics.classification_accuracy import classification_accuracy
from genlab.measure.metrics.frechet import FrechetDistance, MemorizationInformedFrechetDistance
from genlab.measure.metrics.inception_score import InceptionScore
from genlab.measure.metrics.kernel import KernelDistance
from genlab.measure.metrics.manifold import ManifoldMetrics
from genlab.measure.metrics.neighbours import NearestTrainingDistance
from genlab.measure.metrics.rows import require_examples

__all__ = ["Measurement", "find_measurement"]

Measurement = Callable[[Case], Mapping[str, Any]]
"""Gives figures by their keys; ``pairs`` beside them, ``[2, P]``, are places of near samples and training examples."""

KID_SUBSETS, KID_SUBSET = FIGURES["kid"].subsets
KID_SMALLEST_SUBSET = 2
_IMAGES_TOLD = 200
"""Images that Inception sees before it is told; a multiple of its batches."""

AnyMetric = TypeVar("AnyMetric", bound=Metric)


def find_measurement(name: str, keys: list[str]) -> Measurement:
    """Return what a figure of the registry names as its measurement.

    Args:
        name: ``module:name`` of a measurement, or of a ``torchmetrics.Metric`` that is made with the number of
            features, updated by ``update(features, real=...)``, and gives one number or a mapping of them.
        keys: The figures that it gives.

    Raises:
        ValueError: If there is no such thing.
    """
    module, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"the measurement {name} of {', '.join(keys)} cannot be found: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Metric)):
        return found
    return lambda case: _numbers(_over_features(found(case.real.values.shape[1]), case).compute(), keys)


def _numbers(computed: Any, keys: list[str]) -> dict[str, float]:
    if isinstance(computed, Mapping):
        return {key: float(computed[key]) for key in keys}
    (key,) = keys
    return {key: float(computed)}


def _over_features(metric: AnyMetric, case: Case) -> AnyMetric:
    metric = _alone(metric, case.instruments.device)
    metric.update(case.real.values, real=True)
    metric.update(case.fake.values, real=False)
    return metric


def _alone(metric: AnyMetric, device: torch.device) -> AnyMetric:
    """Keep a metric from waiting for other processes, which do not measure, and bring it to where the features are."""
    metric.distributed_available_fn = lambda: False
    return metric.to(device)


def memorization(case: Case) -> Mapping[str, Any]:
    """Return the Fréchet distance to the training examples, informed by how near the samples lie to them."""
    metric = _alone(MemorizationInformedFrechetDistance(case.real.values.shape[1]), case.instruments.device)
    metric.update(case.trained.values, real=True)
    metric.update(case.fake.values, real=False)
    return {"mifid": float(metric.compute())}


def kernel(case: Case) -> Mapping[str, Any]:
    """Return the kernel distance and its deviation over subsets."""
    return _kernel_distance(case.fake.values, case.real.values)


def _kernel_distance(fake: Tensor, real: Tensor) -> dict[str, float]:
    # Subsets of nearly a whole set are all alike: their spread would say nothing.
    for name, rows in (("real", real), ("generated", fake)):
        require_examples(name, len(rows), 2 * KID_SMALLEST_SUBSET)
    size = min(KID_SUBSET, len(real) // 2, len(fake) // 2)
    metric = _alone(KernelDistance(real.shape[1], KID_SUBSETS, size), real.device)
    metric.update(real, real=True)
    metric.update(fake, real=False)
    return {name: float(value) for name, value in metric.compute().items()}


def manifold(case: Case) -> Mapping[str, Any]:
    """Return precision, recall, density and coverage, and the recall of each class where there are classes."""
    reference = case.reference
    classes = None if case.lacks("classes") else reference.spec.num_classes
    metric = _alone(ManifoldMetrics(case.real.values.shape[1], num_classes=classes), case.instruments.device)
    labels = None
    if classes is not None:
        real_labels = reference.examples.y if case.real_rows is None else reference.examples.y[case.real_rows]
        labels = real_labels.to(case.instruments.device)
    metric.update(case.real.values, real=True, labels=labels)
    metric.update(case.fake.values, real=False)
    computed = metric.compute()
    by_class = computed.pop("recall_per_class", None)
    figures: dict[str, Any] = {name: float(value) for name, value in computed.items()}
    if by_class is None:
        return figures
    # A class of which there is no real example has no recall; a result holds no nan.
    return figures | {"recall_by_class": [None if math.isnan(value) else value for value in by_class.tolist()]}


def neighbours(case: Case) -> Mapping[str, Any]:
    """Return the ratio of distances to the nearest training example, and the nearest pairs."""
    metric = _alone(NearestTrainingDistance(case.real.values.shape[1]), case.instruments.device)
    metric.update(case.real.values, real=True)
    metric.update(case.trained.values, real=True, training=True)
    metric.update(case.fake.values, real=False)
    computed = metric.compute()
    near = computed["pair_training"].cpu()
    places = near if case.trained_rows is None else case.trained_rows[near]
    pairs = torch.stack([computed["pair_samples"].cpu(), places])
    return {"neighbour_ratio": float(computed["nearest_ratio"]), "pairs": pairs}


def class_histogram(case: Case) -> Mapping[str, Any]:
    """Return how far the classes' frequencies are apart, and how many classes hardly occur."""
    # Predicted labels on both sides: what the classifier confuses, it confuses in either set.
    assert case.real.logits is not None
    assert case.fake.logits is not None
    metric = _alone(ClassHistogramDistance(case.real.logits.shape[1]), case.instruments.device)
    metric.update(case.real.logits.argmax(1), real=True)
    metric.update(case.fake.logits.argmax(1), real=False)
    return {"class_total_variation": float(metric.compute()), "missing_classes": metric.missing_classes()}


def asked_class(case: Case) -> Mapping[str, Any]:
    """Return the share of samples whose class the classifier finds to be the one that they were drawn for."""
    assert case.fake.logits is not None
    right = case.fake.logits.argmax(1).cpu() == case.samples.y
    return {"asked_class_accuracy": float(right.double().mean())}


def inception_score(case: Case) -> Mapping[str, Any]:
    """Return the inception score by the extractor's own classes."""
    assert case.fake.logits is not None
    metric = _alone(InceptionScore(case.fake.logits.shape[1]), case.instruments.device)
    metric.update(case.fake.logits, real=False)
    return {"inception_score": float(metric.compute()["inception_score"])}


def inception(case: Case) -> Mapping[str, Any]:
    """Return FID and KID of the literature, in the features of Inception, and the checksum of its weights."""
    network, reference = case.instruments.inception, case.reference
    assert network is not None
    levels = reference.spec.levels or 0
    real_images = reference.examples.x
    with full_float32():
        kept = case.instruments.cache.get(
            reference.spec.name, reference.split, network.sha256, real_images, levels,
            lambda: {"features": _through_inception(case, real_images)},
        )  # fmt: skip
        both = kept["features"], _through_inception(case, case.samples.x)
    real, fake = (features.to(case.instruments.device) for features in both)
    metric = _alone(FrechetDistance(INCEPTION_FEATURES), case.instruments.device)
    metric.update(real, real=True)
    metric.update(fake, real=False)
    distance = _kernel_distance(fake, real)
    return {
        "inception_fid": float(metric.compute()),
        "inception_kid": distance["kid"],
        "inception_kid_sd": distance["kid_sd"],
        "inception_sha256": network.sha256,
    }


def _through_inception(case: Case, images: Tensor) -> Tensor:
    network, levels = case.instruments.inception, case.reference.spec.levels or 0
    assert network is not None
    features = []
    with case.timetable.phase("Inception", len(images), counts=True):
        for part in images.split(_IMAGES_TOLD):
            features.append(network(part, levels))
            case.timetable.advance(len(part))
    return torch.cat(features)


def accuracy(case: Case) -> Mapping[str, Any]:
    """Return the accuracies on real data of classifiers trained on the samples, and on as many real examples."""
    (samples, labels, *_), training, test = case.samples, case.reference.training, case.reference.examples
    spec = case.reference.spec
    assert training is not None
    rows = torch.randperm(len(training.x), generator=torch.Generator().manual_seed(0))[: len(samples)]
    real = training.rows(rows)
    scores = []
    with case.timetable.phase("classifiers", 2, counts=True):
        for x, y in ((samples, labels), (real.x, real.y)):
            scores.append(classification_accuracy(x, y, test.x, test.y, spec.levels, spec.num_classes))
            case.timetable.advance(1)
    return dict(zip(("classification_accuracy", "classification_accuracy_real"), scores, strict=True))
