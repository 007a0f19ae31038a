"""The quality of samples while a run trains."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import torch
from pytorch_lightning import Trainer

from genlab.core.batch import Batch
from genlab.core.noise import ExampleNoise
from genlab.core.randomness import Stream, stream_seed
from genlab.core.sharded import gathered
from genlab.core.timetable import Timetable
from genlab.data.base import GenlabDataModule
from genlab.measure.batches import BatchSizes
from genlab.measure.case import Case, Instruments, Reference
from genlab.measure.features.choice import choose_extractor
from genlab.measure.figures import of_section
from genlab.measure.labels import LabelSource
from genlab.measure.measuring import comparing_device
from genlab.measure.quality import measure_quality
from genlab.modalities import modality_of
from genlab.models.base import GenerativeModel
from genlab.training.callbacks.base import Callback

__all__ = ["SampleQuality"]

_T = TypeVar("_T")

FEWEST_SAMPLES = 500
"""Samples that choose a checkpoint where none were asked for."""


class SampleQuality(Callback):
    """Compare samples of the averaged weights with the validation split, at every validation.

    It measures what the registry of figures has for validation, as ``val/<figure>``: of images ``val/fid``,
    ``val/recall`` and, where the extractor knows their classes, ``val/class_total_variation``, which shows a collapse
    onto few of them; of vectors ``val/sliced_wasserstein``; of text ``val/ngram_divergence``. Always the same noise, so
    that the checkpoints of a run compare. With so few samples ``val/fid`` is above that of the protocol. Features are
    computed and compared where an evaluation does so, and none stays on a GPU.

    Args:
        count: Number of images, of vectors ten times as many, or None for none where the likelihood chooses the
            checkpoint.
        seed: The run's seed.
        timetable: Is told what samples cost, and of what happens once, at the first validation.
    """

    def __init__(self, count: int | None, seed: int, timetable: Timetable | None = None) -> None:
        self.count = count
        self.seed = seed
        self.timetable = timetable or Timetable()
        self._instruments: Instruments | None = None

    def samples_of(self, model: GenerativeModel) -> int:
        """Return the number of samples that a validation judges."""
        if self.count is None and not model.chosen_by_samples:
            return 0
        return (self.count or FEWEST_SAMPLES) * modality_of(model.spec).validation_samples_per_image

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: GenerativeModel) -> None:
        if not self.samples_of(pl_module):
            return
        with gathered(pl_module):
            figures = self._measure(trainer.datamodule, pl_module) if trainer.is_global_zero else None
        pl_module.log_dict(trainer.strategy.broadcast(figures), logger=False)

    @torch.no_grad()
    def _measure(self, datamodule: GenlabDataModule, model: GenerativeModel) -> dict[str, float]:
        if self._instruments is None:
            self._choose_instruments(datamodule, comparing_device(model.device))
        if self._instruments.extractor is None and not modality_of(model.spec).judged_as:
            return {}  # nothing judges such data: its samples are not drawn
        count = self.samples_of(model)
        base = stream_seed(Stream.GRIDS, self.seed, 1)
        labels = LabelSource(model, datamodule.tensors("train").y if model.conditional else None)

        def draw(start: int, size: int) -> torch.Tensor:
            noise = ExampleNoise(base, start, model.device)
            return model.sample(size, labels.draw(size, noise), generator=noise).cpu()

        began = self.timetable.clock()
        samples = Batch(torch.cat(list(BatchSizes(None, model.device).each(count, draw))))
        self.timetable.observe("samples", count, self.timetable.clock() - began)  # as the evaluation draws them
        reference = Reference(model.spec, datamodule.tensors("validation"), "validation")
        wanted = [figure.key for figure in of_section("quality") if figure.validated]
        figures = self._judge(lambda by: measure_quality(samples, reference, by, wanted).figures) or {}
        found = {f"val/{name}": figures[name] for name in wanted if figures.get(name) is not None}
        # A sample that is not finite: without the figure that chooses, the newest checkpoint would count as the best.
        chooses = model.chosen_by_samples and model.monitor.removeprefix("val/") in wanted
        return {model.monitor: math.nan} | found if chooses else found

    def _choose_instruments(self, datamodule: GenlabDataModule, device: torch.device) -> None:
        with self.timetable.apart():
            extractor = choose_extractor(datamodule.spec, lambda: datamodule.tensors("train").x)
            self._instruments = Instruments(extractor, device=device)
            if extractor is not None:
                validation = datamodule.tensors("validation")
                one, reference = Batch(validation.x[:1]), Reference(datamodule.spec, validation, "validation")
                self._judge(lambda by: Case(one, reference, by).real)

    def _judge(self, work: Callable[[Instruments], _T]) -> _T:
        """Do what needs the instruments, on the device that is the training's before and after."""
        assert self._instruments is not None
        extractor, device = self._instruments.extractor, self._instruments.device
        try:
            if extractor is not None:
                extractor.to(device)
            return work(self._instruments)
        except torch.OutOfMemoryError:  # beside the training there is no room: now and later the CPU does it
            self._instruments = replace(self._instruments, device=torch.device("cpu"))
        finally:
            if extractor is not None:
                extractor.to(torch.device("cpu"))
        return work(self._instruments)
