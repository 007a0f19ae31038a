"""Checkpoints: the last, for resuming, and the best, for using."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning import Trainer

from genlab.core.batch import Batch
from genlab.core.finite import NonFiniteError
from genlab.models.base import GenerativeModel
from genlab.training.callbacks.base import Callback
from genlab.training.callbacks.budget import Budget

__all__ = ["SaveCheckpoints", "was_chosen"]


def was_chosen(checkpoint: Mapping[str, Any]) -> bool:
    """Return whether a figure of validation has chosen the best checkpoint, by what a checkpoint of the run says."""
    callbacks = checkpoint.get("callbacks")
    state = callbacks.get(SaveCheckpoints.__qualname__) if isinstance(callbacks, Mapping) else None
    score = state.get("best_score") if isinstance(state, Mapping) else None
    return not isinstance(score, float) or math.isfinite(score)  # a checkpoint that does not say is taken at its name


class SaveCheckpoints(Callback):
    """Save ``last.ckpt`` at intervals and after each validation, and ``best.ckpt`` when validation improved.

    Args:
        folder: Where the checkpoints go.
        every_minutes: Minutes between two saves of the last checkpoint.
        budget: Knows whether a validation is due; then the save follows it, so that no resume skips it. Stands still
            meanwhile: how often files are written changes no training.
    """

    def __init__(self, folder: Path, every_minutes: float, budget: Budget) -> None:
        self.folder = folder
        self.every_minutes = every_minutes
        self.budget = budget
        self.best_score = math.inf
        self.last_is_best = True
        self._saved_at = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: GenerativeModel) -> None:
        self._saved_at = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: GenerativeModel, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        elapsed = time.monotonic() - self._saved_at
        due = trainer.strategy.reduce_boolean_decision(elapsed > 60 * self.every_minutes, all=False)
        if due and not self.budget.validation_due(trainer):
            self.save_last(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: GenerativeModel) -> None:
        measured = pl_module.monitor in trainer.callback_metrics
        # Samples without a feature extractor choose nothing: then the last validated checkpoint is the best.
        score = float(trainer.callback_metrics.get(pl_module.monitor, math.inf))
        if measured and not math.isfinite(score):
            culprit = "a sample is" if pl_module.chosen_by_samples else "the likelihood of a validation example is"
            raise NonFiniteError(
                f"{pl_module.monitor} is {score} after {pl_module.progress.examples:,} examples: {culprit} not finite."
                "\nThe last good checkpoint is kept. Lower model.lr, or look at the data."
            )
        self.last_is_best = score < self.best_score or not measured
        if self.last_is_best:
            self.best_score = score
            self._save(trainer, "best.ckpt")
        # Last after best: a run killed in between validates again and finds the same best.
        self.save_last(trainer)

    def save_last(self, trainer: Trainer) -> None:
        """Save ``last.ckpt`` now."""
        self._save(trainer, "last.ckpt")
        self._saved_at = time.monotonic()

    def _save(self, trainer: Trainer, name: str) -> None:
        trainer.lightning_module.guard.settle()  # no checkpoint of a step that is known to be bad only later
        # False: with the optimizer's state; Lightning remarks on each save that does not say.
        with self.budget.paused(trainer):
            trainer.save_checkpoint(self.folder / name, weights_only=False)

    def state_dict(self) -> dict[str, Any]:
        return {"best_score": self.best_score}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        # Checkpoints of earlier versions say -inf where nothing was measured, which no figure would ever be below.
        score = state_dict["best_score"]
        self.best_score = math.inf if score == -math.inf else score
