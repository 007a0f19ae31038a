"""Ctrl-C and SIGTERM: save a checkpoint, then leave."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

from pytorch_lightning import Trainer

from genlab.callbacks.base import Callback
from genlab.callbacks.budget import Budget
from genlab.callbacks.checkpoints import SaveCheckpoints
from genlab.data.batch import Batch
from genlab.errors import Interrupted
from genlab.models.base import GenerativeModel

__all__ = ["SaveOnSignal"]


class SaveOnSignal(Callback):
    """On SIGINT or SIGTERM finish the step, save the last checkpoint and raise :class:`Interrupted`.

    A second Ctrl-C leaves at once.

    Args:
        checkpoints: Saves.
        budget: Knows whether a validation is due; the run then leaves after it.
    """

    def __init__(self, checkpoints: SaveCheckpoints, budget: Budget) -> None:
        self.checkpoints = checkpoints
        self.budget = budget
        self._received = 0
        self._previous: dict[int, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: GenerativeModel) -> None:
        # Here, and not earlier: Lightning installs handlers of its own when a fit begins.
        for signum in (signal.SIGINT, signal.SIGTERM):
            self._previous[signum] = signal.signal(signum, self._receive)

    def _receive(self, signum: int, frame: FrameType | None) -> None:
        if self._received and signum == signal.SIGINT:
            raise KeyboardInterrupt
        self._received = signum

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: GenerativeModel, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        if self._asked_to_stop(trainer) and not self.budget.validation_due(trainer):
            self.checkpoints.save_last(trainer)
            self._leave(pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: GenerativeModel) -> None:
        if self._asked_to_stop(trainer):
            self._leave(pl_module)

    def _asked_to_stop(self, trainer: Trainer) -> bool:
        return trainer.strategy.reduce_boolean_decision(bool(self._received), all=False)

    def _leave(self, pl_module: GenerativeModel) -> None:
        name = signal.Signals(self._received).name if self._received else "a signal to another process"
        raise Interrupted(
            f"Stopped by {name} after {pl_module.progress.examples:,} examples; the checkpoint is saved. "
            "The same command goes on from here.",
            self._received or signal.SIGTERM,
        )

    def on_train_end(self, trainer: Trainer, pl_module: GenerativeModel) -> None:
        self._restore()

    def on_exception(self, trainer: Trainer, pl_module: GenerativeModel, exception: BaseException) -> None:
        self._restore()

    def _restore(self) -> None:
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)
        self._previous = {}
