"""What follows a training, and how long that and its validations will take."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from pytorch_lightning import Trainer

from genlab.core.timetable import Phase, Timetable
from genlab.data.base import GenlabDataModule
from genlab.measure.case import Instruments, Reference
from genlab.measure.floor import lacks_floor
from genlab.measure.measuring import choose_instruments, reference_of
from genlab.measure.protocol import EvaluationProtocol
from genlab.measure.rehearsal import plan_evaluation, rehearse
from genlab.modalities import modality_of
from genlab.models.base import GenerativeModel
from genlab.runs.folder import RunDir
from genlab.training.callbacks.sample_grids import SampleGrids
from genlab.training.callbacks.sample_quality import SampleQuality

__all__ = ["Foresight"]

SHARE, SHORTEST, LONGEST = 0.003, 0.1, 5.0
"""A part of the evaluation is tried until it takes this share of the training, within so many seconds."""


class Foresight:
    """Plans the evaluation of a run that trains, and rehearses it.

    Args:
        protocol: What the evaluation measures.
        place: The run's folder.
        quality: Draws samples at each validation.
        grids: Does so too.
    """

    def __init__(self, protocol: EvaluationProtocol, place: RunDir, quality: SampleQuality, grids: SampleGrids) -> None:
        self.protocol = protocol
        self.place = place
        self.quality = quality
        self.grids = grids
        self._plans: dict[bool, list[Phase]] = {}
        self._tools: tuple[Reference, Instruments] | None = None

    def evaluation(self, datamodule: GenlabDataModule, model: GenerativeModel, twice: bool) -> list[Phase]:
        """Return the phases of the evaluation.

        Args:
            datamodule: The data.
            model: What is trained.
            twice: Whether the last checkpoint is measured beside the best one.
        """
        if twice not in self._plans:
            reference, instruments = self._reach(datamodule, model)
            floor = lacks_floor(self.place, datamodule, self.protocol, instruments)
            self._plans[twice] = plan_evaluation(model, reference, instruments, self.protocol, twice, floor)
        return [replace(phase) for phase in self._plans[twice]]

    def rehearse(self, trainer: Trainer, model: GenerativeModel, timetable: Timetable, training_seconds: float) -> None:
        """Foretell how long the phases of the evaluation and a validation take, by trying a little of each.

        Args:
            trainer: Has the data.
            model: Is left as it was.
            timetable: Is told.
            training_seconds: What the whole training will probably take, by which this is kept short.
        """
        datamodule, limit = trainer.datamodule, min(LONGEST, max(SHORTEST, SHARE * training_seconds))
        with _evaluating(model), torch.no_grad():
            reference, instruments = self._reach(datamodule, model)
            rehearse(model, reference, instruments, self.protocol, timetable, limit)
            if "validating" not in timetable.known():
                self._rehearse_validation(datamodule, model, timetable)

    def _rehearse_validation(self, datamodule: GenlabDataModule, model: GenerativeModel, timetable: Timetable) -> None:
        loader, clock, known = datamodule.val_dataloader(), timetable.clock, timetable.known()
        batch = next(iter(loader)).to(model.device)
        model.on_validation_epoch_start()
        step = type(model).validation_step  # and not what a strategy has made of it, which waits for the other devices
        step(model, batch, 0)  # what only a first one does
        began = clock()
        step(model, batch, 0)
        seconds = len(loader) * (clock() - began)
        judged, drawn = self.quality.samples_of(model), self.grids.samples_of(model)
        seconds += (judged + drawn) * known["samples"] + judged * known.get("features", 0.0)
        timetable.foretell("validating", 1, seconds)
        modality, samples = modality_of(model.spec), model.sample(2).cpu()
        with tempfile.TemporaryDirectory() as folder:  # the first picture imports what draws it
            modality.preview(samples, model.spec, Path(folder) / "first.png", "", samples)

    def _reach(self, datamodule: GenlabDataModule, model: GenerativeModel) -> tuple[Reference, Instruments]:
        if self._tools is None:
            instruments = choose_instruments(datamodule, self.protocol, model.device)
            self._tools = reference_of(datamodule, self.protocol.split), instruments
        return self._tools


@contextmanager
def _evaluating(model: torch.nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
