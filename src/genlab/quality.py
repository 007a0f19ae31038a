"""How samples compare with data: the second half of the protocol."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from genlab.data.batch import Batch
from genlab.metrics.classes import ClassHistogramDistance
from genlab.metrics.extractors import Extractor, ExtractorInfo, extractor_for, load_extractor
from genlab.metrics.features import MetricError
from genlab.metrics.frechet import FrechetDistance, MemorizationInformedFrechetDistance
from genlab.metrics.inception_score import InceptionScore
from genlab.metrics.kernel import KernelDistance
from genlab.metrics.manifold import ManifoldMetrics
from genlab.metrics.neighbours import NearestTrainingDistance
from genlab.metrics.vectors import MaximumMeanDiscrepancy, SlicedWasserstein
from genlab.spec import DataSpec

__all__ = ["MIN_SAMPLES", "Quality", "evaluate_quality"]

MIN_SAMPLES = 100
"""Fewest samples whose quality is measured: with fewer the figures are mostly chance."""
KID_SUBSET = 1000
KID_SUBSETS = 100


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

    def missing(self) -> dict[str, str]:
        """Return the reasons by the keys of a result."""
        return {f"quality.{name}".rstrip("."): reason for name, reason in self.reasons.items()}


@dataclass(frozen=True)
class _Features:
    """One set of examples as the metrics see it."""

    values: Tensor
    logits: Tensor | None
    labels: Tensor | None


def evaluate_quality(samples: Tensor, test: Batch, training: Batch, split: str, spec: DataSpec) -> Quality:
    """Compare samples with a split of the data, in the features that the data's extractor gives.

    Images are seen through the extractor that was trained on their classes; vectors as they are.

    Args:
        samples: ``[N, *spec.shape]`` in the data's own values, on the CPU.
        test: The real examples; all of them are used.
        training: What the model was trained on, for the distances to the nearest training example.
        split: Name of the split that ``test`` is.
        spec: What one example is.
    """
    if len(samples) < MIN_SAMPLES:
        return Quality(
            None, {"": f"sample quality needs {MIN_SAMPLES} samples, and this protocol draws {len(samples)}"}
        )
    info = extractor_for(spec) if spec.modality == "image" else None
    if spec.modality != "vector" and info is None:
        return Quality(None, {"": f"sample quality needs a feature extractor, and there is none for {spec.name}"})
    try:
        if info is None:
            return _of_vectors(samples, test, training, split)
        return _of_images(samples, test, training, split, spec, info)
    except MetricError as error:  # e.g. a sample that is not finite: the run still has its other figures
        return Quality(None, {"": " ".join(str(error).split())})


def _of_images(
    samples: Tensor, test: Batch, training: Batch, split: str, spec: DataSpec, info: ExtractorInfo
) -> Quality:
    extractor, levels = load_extractor(info), spec.levels or 0
    real, trained = (_extracted(extractor, batch.x, levels, batch.y) for batch in (test, training))
    figures, pairs = _shared(_extracted(extractor, samples, levels, None), real, trained, spec.num_classes)
    return _finished(figures, pairs, extractor.name, extractor.sha256, len(test.x), len(samples), split)


def _of_vectors(samples: Tensor, test: Batch, training: Batch, split: str) -> Quality:
    fake, real, trained = (_Features(x.flatten(1).float(), None, None) for x in (samples, test.x, training.x))
    figures, pairs = _shared(fake, real, trained, None)
    dims = real.values.shape[1]
    for name, metric in (("sliced_wasserstein", SlicedWasserstein(dims)), ("mmd", MaximumMeanDiscrepancy(dims))):
        metric.update(real.values, real=True)
        metric.update(fake.values, real=False)
        figures[name] = float(metric.compute())
    return _finished(figures, pairs, "identity", None, len(test.x), len(samples), split)


def _extracted(extractor: Extractor, x: Tensor, levels: int, labels: Tensor | None) -> _Features:
    return _Features(*extractor(x, levels), labels)


def _shared(fake: _Features, real: _Features, trained: _Features, classes: int | None) -> tuple[dict[str, Any], Tensor]:
    """Return the figures that need features alone, with classes those that need a classifier, and the nearest pairs."""
    dims = real.values.shape[1]
    # Subsets of nearly a whole set are all alike: their spread would say nothing.
    subset = min(KID_SUBSET, len(real.values) // 2, len(fake.values) // 2)
    fid, kid = FrechetDistance(dims), KernelDistance(dims, KID_SUBSETS, subset)
    mifid = MemorizationInformedFrechetDistance(dims)
    manifold = ManifoldMetrics(dims, num_classes=classes)
    nearest = NearestTrainingDistance(dims)
    for metric in (fid, kid, nearest):
        metric.update(real.values, real=True)
    mifid.update(trained.values, real=True)
    manifold.update(real.values, real=True, labels=real.labels)
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
        "inception_score": float(score.compute()["inception_score"]),
    }


def _finished(
    figures: dict[str, Any],
    pairs: Tensor,
    extractor: str,
    sha256: str | None,
    n_real: int,
    n_fake: int,
    split: str,
) -> Quality:
    figures |= {
        "extractor": extractor,
        "extractor_sha256": sha256,
        "n_real": n_real,
        "n_fake": n_fake,
        "reference_split": split,
    }
    reasons = {} if sha256 else {"extractor_sha256": "the features are the values themselves"}
    for name, value in figures.items():
        if isinstance(value, float) and not math.isfinite(value):
            figures[name] = None
            reasons[name] = "the figure is not defined for these samples"
    return Quality(figures, reasons, pairs)
