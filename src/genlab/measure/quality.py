"""How samples compare with data: the second half of the protocol."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from genlab.core.batch import Batch
from genlab.core.spec import DataSpec
from genlab.measure.evaluation import full_float32
from genlab.measure.features.cache import FeatureCache
from genlab.measure.features.extractors import ExtractorInfo, extractor_for, load_extractor
from genlab.measure.features.inception import FEATURES, InceptionExtractor
from genlab.measure.metrics.classes import ClassHistogramDistance
from genlab.measure.metrics.classification_accuracy import classification_accuracy
from genlab.measure.metrics.frechet import FrechetDistance, MemorizationInformedFrechetDistance
from genlab.measure.metrics.inception_score import InceptionScore
from genlab.measure.metrics.kernel import KernelDistance
from genlab.measure.metrics.manifold import ManifoldMetrics
from genlab.measure.metrics.neighbours import NearestTrainingDistance
from genlab.measure.metrics.rows import MetricError
from genlab.measure.metrics.vectors import MaximumMeanDiscrepancy, SlicedWasserstein

__all__ = ["MIN_SAMPLES", "Quality", "QualityOptions", "evaluate_floor", "evaluate_quality"]

MIN_SAMPLES = 100
"""Fewest samples whose quality is measured: with fewer the figures are mostly chance."""
KID_SUBSET = 1000
KID_SUBSETS = 100

_OF_FEATURES = ("fid", "kid", "kid_sd", "precision", "recall", "density", "coverage")


@dataclass(frozen=True)
class Quality:
    """Figures of samples, and why others are not known.

    Attributes:
        figures: The ``quality`` section of a result, or None.
        reasons: Reason for each figure that is None, by its key within the section; by ``""`` for the whole section.
        pairs: ``[2, P]``, int64: places of the samples nearest to a training example, nearest first, and below them
            those of their training examples; None without figures.
    """

    figures: dict[str, Any] | None
    reasons: dict[str, str]
    pairs: Tensor | None = None

    def missing(self, section: str = "quality") -> dict[str, str]:
        """Return the reasons by the keys of a result that has the figures in a section of this name."""
        return {f"{section}.{name}".rstrip("."): reason for name, reason in self.reasons.items()}


@dataclass(frozen=True)
class QualityOptions:
    """What is measured beside the figures that every protocol has, and where features are kept.

    Args:
        cache: Keeps the features of real examples.
        inception: Gives the FID and KID of the literature too, of images.
        classification_accuracy: Whether a classifier is trained on the samples, and beside it one on real examples.
    """

    cache: FeatureCache = field(default_factory=lambda: FeatureCache(None))
    inception: InceptionExtractor | None = None
    classification_accuracy: bool = False


@dataclass(frozen=True)
class _Features:
    """One set of examples as the metrics see it."""

    values: Tensor
    logits: Tensor | None = None

    def at(self, rows: Tensor) -> _Features:
        return _Features(self.values[rows], None if self.logits is None else self.logits[rows])


@dataclass(frozen=True)
class _Case:
    """What is compared with what; ``rows`` are the samples' places among the training examples where they are such."""

    samples: Batch
    test: Batch
    training: Batch
    split: str
    spec: DataSpec
    options: QualityOptions
    rows: Tensor | None = None


def evaluate_quality(
    samples: Tensor,
    test: Batch,
    training: Batch,
    split: str,
    spec: DataSpec,
    options: QualityOptions | None = None,
    labels: Tensor | None = None,
) -> Quality:
    """Compare samples with a split of the data, in the features that the data's extractor gives.

    Images are seen through the extractor that was trained on their classes; vectors as they are.

    Args:
        samples: ``[N, *spec.shape]`` in the data's own values, on the CPU.
        test: The real examples; all of them are used.
        training: What the model was trained on, for the distances to the nearest training example.
        split: Name of the split that ``test`` is.
        spec: What one example is.
        options: What else is measured; by default nothing.
        labels: ``[N]``, int64, the classes that the samples were drawn for, or None where the model was given none.
    """
    return _evaluate(_Case(Batch(samples, labels), test, training, split, spec, options or QualityOptions()))


def evaluate_floor(
    rows: Tensor, test: Batch, training: Batch, split: str, spec: DataSpec, options: QualityOptions | None = None
) -> Quality:
    """Compare training examples with a split of the data, as if a model that was trained on the others had drawn them.

    Args:
        rows: ``[N]``, int64, the places of these examples in ``training``.
        test: The real examples.
        training: The whole training split.
        split: Name of the split that ``test`` is.
        spec: What one example is.
        options: As in :func:`evaluate_quality`.
    """
    samples = training.rows(rows)
    return _evaluate(_Case(samples, test, training, split, spec, options or QualityOptions(), rows))


def _evaluate(case: _Case) -> Quality:
    drawn, spec = len(case.samples.x), case.spec
    if drawn < MIN_SAMPLES:
        return Quality(None, {"": f"sample quality needs {MIN_SAMPLES} samples, and this protocol draws {drawn}"})
    info = extractor_for(spec) if spec.modality == "image" else None
    lacking = f"sample quality needs a feature extractor, and there is none for {spec.name}"
    asked = case.options.inception is not None or case.options.classification_accuracy
    try:
        if spec.modality == "vector":
            quality = _of_vectors(case)
        elif info is not None:
            quality = _of_images(case, info)
        elif spec.modality == "image" and asked:
            nothing = dict.fromkeys(_OF_FEATURES) | {"extractor": None, "extractor_sha256": None, **_sizes(case)}
            quality = Quality(nothing, {name: lacking for name, value in nothing.items() if value is None})
        else:
            return Quality(None, {"": lacking})
    except MetricError as error:  # e.g. a sample that is not finite: the run still has its other figures
        return Quality(None, {"": " ".join(str(error).split())})
    for measure in (_of_inception, _of_classification):
        figures, reasons = measure(case)
        quality = Quality(quality.figures | figures, quality.reasons | reasons, quality.pairs)
    return quality


def _of_images(case: _Case, info: ExtractorInfo) -> Quality:
    extractor, levels = load_extractor(info), case.spec.levels or 0

    def see(x: Tensor, split: str | None) -> _Features:
        def extract() -> dict[str, Tensor]:
            return dict(zip(("features", "logits"), extractor(x, levels), strict=True))

        cache = case.options.cache
        found = extract() if split is None else cache.get(case.spec.name, split, info.sha256, x, levels, extract)
        return _Features(found["features"], found["logits"])

    figures, pairs = _shared(*_seen(case, see), case.test.y, case.spec.num_classes)
    return _finished(figures, pairs, case, extractor.name, extractor.sha256)


def _of_vectors(case: _Case) -> Quality:
    fake, real, trained = _seen(case, lambda x, split: _Features(x.flatten(1).float()))
    figures, pairs = _shared(fake, real, trained, None, None)
    del figures["mifid"]  # its cosine distances are near 0 between any vectors of few dimensions, copies or not
    dims = real.values.shape[1]
    for name, metric in (("sliced_wasserstein", SlicedWasserstein(dims)), ("mmd", MaximumMeanDiscrepancy(dims))):
        metric.update(real.values, real=True)
        metric.update(fake.values, real=False)
        figures[name] = float(metric.compute())
    return _finished(figures, pairs, case, "identity", None)


def _seen(case: _Case, see: Callable[[Tensor, str | None], _Features]) -> tuple[_Features, _Features, _Features]:
    """Return samples, real and training examples as features."""
    real, trained = see(case.test.x, case.split), see(case.training.x, "train")
    if case.rows is None:
        return see(case.samples.x, None), real, trained
    others = torch.ones(len(trained.values), dtype=torch.bool)
    others[case.rows] = False
    return trained.at(case.rows), real, trained.at(others)


def _shared(
    fake: _Features, real: _Features, trained: _Features, labels: Tensor | None, classes: int | None
) -> tuple[dict[str, Any], Tensor]:
    """Return the figures that need features alone, with classes those that need a classifier, and the nearest pairs."""
    dims = real.values.shape[1]
    fid, kid = FrechetDistance(dims), _kernel_distance(fake.values, real.values)
    mifid = MemorizationInformedFrechetDistance(dims)
    manifold = ManifoldMetrics(dims, num_classes=classes)
    nearest = NearestTrainingDistance(dims)
    for metric in (fid, kid, nearest):
        metric.update(real.values, real=True)
    mifid.update(trained.values, real=True)
    manifold.update(real.values, real=True, labels=labels)
    nearest.update(trained.values, real=True, training=True)
    for metric in (fid, kid, mifid, manifold, nearest):
        metric.update(fake.values, real=False)
    on_manifold, neighbours = manifold.compute(), nearest.compute()
    by_class = on_manifold.pop("recall_per_class", None)
    figures: dict[str, Any] = {
        "fid": float(fid.compute()),
        **{name: float(value) for name, value in kid.compute().items()},
        **{name: float(value) for name, value in on_manifold.items()},
        "mifid": float(mifid.compute()),
        "neighbour_ratio": float(neighbours["nearest_ratio"]),
    }
    if classes is not None and fake.logits is not None:
        figures |= {"recall_by_class": by_class.tolist(), **_of_classes(fake, real, classes)}
    return figures, torch.stack([neighbours["pair_samples"], neighbours["pair_training"]])


def _of_classes(fake: _Features, real: _Features, classes: int) -> dict[str, Any]:
    # Predicted labels on both sides: what the classifier confuses, it confuses in either set.
    variation, score = ClassHistogramDistance(classes), InceptionScore(classes)
    variation.update(real.logits.argmax(1), real=True)
    variation.update(fake.logits.argmax(1), real=False)
    score.update(fake.logits, real=False)
    return {
        "class_total_variation": float(variation.compute()),
        "missing_classes": variation.missing_classes(),
        "inception_score": float(score.compute()["inception_score"]),
    }


def _kernel_distance(fake: Tensor, real: Tensor) -> KernelDistance:
    # Subsets of nearly a whole set are all alike: their spread would say nothing.
    return KernelDistance(real.shape[1], KID_SUBSETS, min(KID_SUBSET, len(real) // 2, len(fake) // 2))


def _of_inception(case: _Case) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the FID and KID of the literature, if they are asked for, and why they are not known."""
    inception, levels = case.options.inception, case.spec.levels or 0
    if inception is None:
        return {}, {}
    if case.spec.modality != "image" or case.spec.shape[0] not in (1, 3) or not levels:
        return _unknown(_INCEPTION, "Inception sees discrete images of one or three channels")
    with full_float32():
        found = case.options.cache.get(
            case.spec.name, case.split, inception.sha256, case.test.x, levels,
            lambda: {"features": inception(case.test.x, levels)},
        )  # fmt: skip
        real, fake = found["features"], inception(case.samples.x, levels)
    fid, kid = FrechetDistance(FEATURES), _kernel_distance(fake, real)
    for metric in (fid, kid):
        metric.update(real, real=True)
        metric.update(fake, real=False)
    spread = kid.compute()
    values = (float(fid.compute()), float(spread["kid"]), float(spread["kid_sd"]), inception.sha256)
    return dict(zip(_INCEPTION, values, strict=True)), {}


def _of_classification(case: _Case) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the accuracies of classifiers trained on samples and on real examples, if they are asked for."""
    if not case.options.classification_accuracy:
        return {}, {}
    (samples, labels, *_), (x, y, *_), (test, truth, *_), spec = case.samples, case.training, case.test, case.spec
    if spec.modality != "image" or spec.levels is None or spec.num_classes is None or y is None or truth is None:
        return _unknown(_ACCURACIES, "the score needs discrete images with labels")
    if labels is None:
        return _unknown(_ACCURACIES, "the model is not class-conditional: its samples have no labels")
    rows = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[: len(samples)]
    try:
        values = [
            classification_accuracy(images, classes, test, truth, spec.levels, spec.num_classes)
            for images, classes in ((samples, labels), (x[rows], y[rows]))
        ]
    except MetricError as error:
        return _unknown(_ACCURACIES, str(error))
    return dict(zip(_ACCURACIES, values, strict=True)), {}


_INCEPTION = ("inception_fid", "inception_kid", "inception_kid_sd", "inception_sha256")
_ACCURACIES = ("classification_accuracy", "classification_accuracy_real")


def _unknown(names: tuple[str, ...], reason: str) -> tuple[dict[str, Any], dict[str, str]]:
    return dict.fromkeys(names), dict.fromkeys(names, reason)


def _finished(figures: dict[str, Any], pairs: Tensor, case: _Case, extractor: str, sha256: str | None) -> Quality:
    figures |= {"extractor": extractor, "extractor_sha256": sha256, **_sizes(case)}
    reasons = {} if sha256 else {"extractor_sha256": "the features are the values themselves"}
    for name, value in figures.items():
        if isinstance(value, float) and not math.isfinite(value):
            figures[name] = None
            reasons[name] = "the figure is not defined for these samples"
    return Quality(figures, reasons, pairs)


def _sizes(case: _Case) -> dict[str, Any]:
    return {"n_real": len(case.test.x), "n_fake": len(case.samples.x), "reference_split": case.split}
