"""What the user sees while a run trains."""

from __future__ import annotations

import logging
import math
from typing import Any

import torch
from pytorch_lightning import Trainer

from genlab.core.batch import Batch
from genlab.core.sharded import gathered
from genlab.core.timetable import Phase
from genlab.measure.figures import FIGURES, validated
from genlab.modalities import modality_of
from genlab.models.base import GenerativeModel
from genlab.processes.display import Display
from genlab.training.callbacks.base import Callback
from genlab.training.callbacks.budget import Budget
from genlab.training.callbacks.log_metrics import LogMetrics
from genlab.training.callbacks.saving import SaveCheckpoints
from genlab.training.foresight import Foresight

__all__ = ["ShowProgress"]

_log = logging.getLogger("genlab")

REHEARSED_AT = (0.02, 0.5)
"""Fractions of the budget after which the evaluation is rehearsed: what adaptive solvers cost grows with learning."""
SHORTEST_TRAINING = 5.0
"""Seconds of a training that is worth a rehearsal."""
SECONDS_BETWEEN_LOOKS = 0.1
"""Steps may take less: then not each is worth a look."""
SHORTEST_HALF_LIFE = 10.0
"""Seconds after which the pace of training counts half at least; later a third of what was trained."""


class ShowProgress(Callback):
    """Keep the timetable of a training, its validations and what follows, and say what a line about them says.

    That is the examples seen, the figure that chooses the checkpoint, the latest loss, examples per second and what
    else validation has measured of the headlines. A checkpoint keeps the paces, so that a run that goes on knows them.

    Args:
        budget: Knows what is spent.
        metrics: Knows the latest figures.
        saving: Knows which checkpoint is the best.
        display: Shows it.
        foresight: Knows what follows; None where nothing does.
    """

    def __init__(
        self,
        budget: Budget,
        metrics: LogMetrics,
        saving: SaveCheckpoints,
        display: Display,
        foresight: Foresight | None = None,
    ) -> None:
        self.budget = budget
        self.metrics = metrics
        self.saving = saving
        self.display = display
        self.foresight = foresight
        self.timetable = display.timetable
        self.training = Phase("training")
        self.validating = Phase("validating", budget.validations)
        self._monitor, self._bits = "", ""
        self._started = (0.0, 0)
        self._rehearsals: list[float] = []
        self._foreseen = False
        self._told_at = -math.inf

    def on_train_start(self, trainer: Trainer, pl_module: GenerativeModel) -> None:
        progress = self.budget.progress
        self._started = (progress.seconds, progress.examples)
        self._monitor = pl_module.monitor
        self._bits = modality_of(pl_module.spec).bits_unit(pl_module.spec)
        self._rehearsals = [] if self.foresight is None else self._due(progress.fraction)
        self.training.done = progress.fraction
        self.validating.done = int(progress.fraction * self.budget.validations)
        self.display.before = max(self.display.before, progress.seconds)
        self.display.details = self._details
        unknown = [] if self.foresight is None else [Phase("evaluation")]
        self.timetable.plan([self.training, self.validating, *unknown])
        if self.foresight is not None and self.timetable.known():  # a run that goes on has its paces
            with self.budget.paused(trainer):  # to plan the evaluation, its data is read
                if trainer.is_global_zero:
                    self._foresee(trainer, pl_module)
                trainer.strategy.barrier()

    def _due(self, fraction: float) -> list[float]:
        """The fractions of the budget at which there is a rehearsal yet to come."""
        due = [at for at in REHEARSED_AT if at > fraction]
        missed = fraction > REHEARSED_AT[0] and "samples" not in self.timetable.known()
        return [fraction, *due] if missed else due

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: GenerativeModel, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        now = self.timetable.clock()
        if now - self._told_at >= SECONDS_BETWEEN_LOOKS:
            self._told_at = now
            self._advance()
        if self._rehearsals and self.budget.progress.fraction >= self._rehearsals[0]:
            self._rehearse(trainer, pl_module)

    def _advance(self) -> None:
        progress = self.budget.progress
        if self.timetable.now is None:  # the first step is not like the others
            self.training.done = progress.fraction
            self.timetable.begin(self.training)
            return
        half_life = max(SHORTEST_HALF_LIFE, (progress.seconds - self._started[0]) / 3)
        self.timetable.advance(progress.fraction - self.training.done, half_life)

    def _rehearse(self, trainer: Trainer, pl_module: GenerativeModel) -> None:
        progress = self.budget.progress
        self._rehearsals = [at for at in self._rehearsals if at > progress.fraction]
        training_seconds = progress.seconds / progress.fraction
        # All devices come here at the same step, and must agree.
        if not trainer.strategy.reduce_boolean_decision(training_seconds > SHORTEST_TRAINING, all=False):
            return
        pl_module.guard.settle()  # on all devices: a rehearsal, which reads its answers too, is of one alone
        with self.timetable.apart(), self.budget.paused(trainer), gathered(pl_module):
            if trainer.is_global_zero:
                self._foresee(trainer, pl_module, training_seconds)
            trainer.strategy.barrier()

    def _foresee(self, trainer: Trainer, pl_module: GenerativeModel, training_seconds: float | None = None) -> None:
        try:
            if training_seconds is not None:
                self.foresight.rehearse(trainer, pl_module, self.timetable, training_seconds)
            self._plan(trainer, pl_module)
        except Exception as error:
            # What only foretells must not end a training: a young network may be too rough for an adaptive solver, or a
            # batch of the evaluation too large beside the optimizer's state. Then the time left stays unknown.
            reason = (str(error) or type(error).__name__).partition("\n")[0]
            _log.info("How long the evaluation will take is not known yet: %s", reason)
            if torch.cuda.is_initialized():
                torch.cuda.empty_cache()

    def _plan(self, trainer: Trainer, pl_module: GenerativeModel) -> None:
        following = self.foresight.evaluation(trainer.datamodule, pl_module, twice=not self.saving.last_is_best)
        self.timetable.plan([self.training, self.validating, *following])
        self._foreseen = True

    def on_validation_start(self, trainer: Trainer, pl_module: GenerativeModel) -> None:
        if self.timetable.now is self.training:
            self._advance()
            self.timetable.leave()
        # A long step, or the last one, may pass over several.
        self.validating.done = max(0, int(self.budget.progress.fraction * self.budget.validations) - 1)
        self.timetable.begin(self.validating)

    def on_validation_end(self, trainer: Trainer, pl_module: GenerativeModel) -> None:
        self.timetable.advance(1)
        self.timetable.leave()
        if self._foreseen:
            self._plan(trainer, pl_module)
        if not self.budget.spent:
            self.timetable.begin(self.training)

    def on_train_end(self, trainer: Trainer, pl_module: GenerativeModel) -> None:
        self.display.details = lambda: ("", "")

    def _details(self) -> tuple[str, str]:
        progress, latest = self.budget.progress, self.metrics.latest
        others = [f"val/{figure.key}" for figure in validated(headlines_only=True)]
        names = dict.fromkeys([self._monitor, "train/loss", *others])
        remarks = [f"{_label(name, self._bits)} {_short(latest[name])}" for name in names if name in latest]
        seconds, examples = progress.seconds - self._started[0], progress.examples - self._started[1]
        remarks.insert(2, f"{examples / max(seconds, 1e-9):,.0f}/s")
        return self._count(), "  ".join(remarks)

    def _count(self) -> str:
        if self.timetable.now is self.validating:
            total = self.validating.total
            return f"{min(self.validating.done + 1, total):.0f}/{total:.0f}"
        progress, examples = self.budget.progress, self.budget.examples
        if examples is not None and progress.fraction <= progress.examples / examples:
            return f"{progress.examples:,}/{examples:,}"
        return f"{progress.examples:,} examples"  # the minutes end it

    def state_dict(self) -> dict[str, Any]:
        return {"paces": self.timetable.known(), "elapsed": self.display.elapsed}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.timetable.recall(state_dict["paces"])
        self.display.before = state_dict["elapsed"]


def _short(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 100 else f"{value:,.1f}"


def _label(name: str, bits: str) -> str:
    split, key = name.split("/")
    label = bits if key == "bits_per_dim" else FIGURES[key].label if key in FIGURES else key
    return label if split == "train" else f"val {label}"
