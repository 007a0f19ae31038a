"""The quality of samples while a run trains."""

from __future__ import annotations

import math
from typing import Any

import torch
from pytorch_lightning import Trainer
from torch import Tensor

from genlab.core.randomness import Stream, generator
from genlab.core.sharded import gathered
from genlab.core.spec import DataSpec
from genlab.measure.features.extractors import extractor_for, load_extractor
from genlab.measure.metrics.classes import ClassHistogramDistance
from genlab.measure.metrics.frechet import FrechetDistance
from genlab.measure.metrics.manifold import ManifoldMetrics
from genlab.measure.metrics.rows import MetricError
from genlab.measure.metrics.vectors import SlicedWasserstein
from genlab.models.base import GenerativeModel
from genlab.training.callbacks.base import Callback

__all__ = ["SampleQuality"]

FEWEST_SAMPLES = 500
"""Samples that choose a checkpoint where none were asked for."""
VECTORS_PER_IMAGE = 10
"""Vectors are cheap to draw, and distances of few of them mostly chance."""
BATCH_SIZE = 250


class SampleQuality(Callback):
    """Compare samples of the averaged weights with the validation split, at every validation.

    Images, in the features of the data's extractor: ``val/fid``, ``val/recall`` and ``val/class_total_variation``,
    which shows a collapse onto few classes. Vectors: ``val/sliced_wasserstein``. Always the same noise, so that the
    checkpoints of a run compare. With so few samples ``val/fid`` is above that of the protocol.

    Args:
        count: Number of images, of vectors ten times as many, or None for none where the likelihood chooses the
            checkpoint.
        seed: The run's seed.
    """

    def __init__(self, count: int | None, seed: int) -> None:
        self.count = count
        self.seed = seed
        self._real: tuple[Tensor, Tensor | None] | None = None

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: GenerativeModel) -> None:
        spec = pl_module.spec
        if (self.count is None and not pl_module.chosen_by_samples) or not _measurable(spec):
            return
        with gathered(pl_module):
            figures = self._measure(trainer, pl_module) if trainer.is_global_zero else None
        pl_module.log_dict(trainer.strategy.broadcast(figures), logger=False)

    @torch.no_grad()
    def _measure(self, trainer: Trainer, model: GenerativeModel) -> dict[str, float]:
        noise = generator(Stream.GRIDS, self.seed, 1, device=model.device)
        count = (self.count or FEWEST_SAMPLES) * (VECTORS_PER_IMAGE if model.spec.modality == "vector" else 1)
        sizes = [min(BATCH_SIZE, count - start) for start in range(0, count, BATCH_SIZE)]
        samples = torch.cat([model.sample(size, generator=noise).cpu() for size in sizes])
        if self._real is None:
            self._real = _seen(trainer.datamodule.tensors("validation").x, model.spec)
        try:
            figures = _compare(self._real, _seen(samples, model.spec), model.spec)
        except MetricError:  # a sample that is not finite
            figures = {model.monitor.removeprefix("val/"): math.nan} if model.chosen_by_samples else {}
        return {f"val/{name}": value for name, value in figures.items()}


def _measurable(spec: DataSpec) -> bool:
    return spec.modality == "vector" or (spec.modality == "image" and extractor_for(spec) is not None)


def _seen(x: Tensor, spec: DataSpec) -> tuple[Tensor, Tensor | None]:
    """Return examples as the metrics see them: features, and logits of images."""
    info = extractor_for(spec) if spec.modality == "image" else None
    return (x.flatten(1).float(), None) if info is None else load_extractor(info)(x, spec.levels or 0)


def _compare(
    real: tuple[Tensor, Tensor | None], fake: tuple[Tensor, Tensor | None], spec: DataSpec
) -> dict[str, float]:
    dims = real[0].shape[1]
    if real[1] is None or fake[1] is None:
        return {"sliced_wasserstein": _figure(SlicedWasserstein(dims), real[0], fake[0])}
    classes = real[1].shape[1]
    return {
        "fid": _figure(FrechetDistance(dims), real[0], fake[0]),
        "recall": float(_updated(ManifoldMetrics(dims), real[0], fake[0]).compute()["recall"]),
        "class_total_variation": _figure(ClassHistogramDistance(classes), real[1].argmax(1), fake[1].argmax(1)),
    }


def _figure(metric: Any, real: Tensor, fake: Tensor) -> float:
    return float(_updated(metric, real, fake).compute())


def _updated(metric: Any, real: Tensor, fake: Tensor) -> Any:
    metric.distributed_available_fn = lambda: False  # it would wait for the other processes, which measure nothing
    metric.update(real, real=True)
    metric.update(fake, real=False)
    return metric
