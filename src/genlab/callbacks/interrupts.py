"""Ctrl-C, SIGTERM, SIGUSR1 and SIGUSR2: save a checkpoint, then leave."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

import torch
from pytorch_lightning import Trainer

from genlab.callbacks.base import Callback
from genlab.callbacks.budget import Budget
from genlab.callbacks.checkpoints import SaveCheckpoints
from genlab.data.batch import Batch
from genlab.errors import Interrupted
from genlab.interrupts import REQUEUE_SIGNALS, STOP_SIGNALS, OneStop
from genlab.models.base import GenerativeModel

__all__ = ["SaveOnSignal"]


class SaveOnSignal(Callback):
    """On SIGINT, SIGTERM, SIGUSR1 or SIGUSR2 finish the step, save the last checkpoint, raise :class:`Interrupted`.

    A second Ctrl-C leaves at once. Of several processes it is enough that one receives the signal.

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
        # Here, and not earlier: Lightning installs handlers of its own when a fit begins. Its requeue, from within a
        # handler, would save in the middle of a step and know nothing of W&B: `stoppable` requeues when all is closed.
        for signum in (signal.SIGINT, *STOP_SIGNALS):
            self._previous[signum] = signal.signal(signum, self._receive)

    def _receive(self, signum: int, frame: FrameType | None) -> None:
        if self._received and signum == signal.SIGINT:
            raise KeyboardInterrupt
        if self._received not in REQUEUE_SIGNALS:  # SIGTERM may follow them, and takes nothing back
            self._received = signum

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: GenerativeModel, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        if self._asked_to_stop(trainer) and not self.budget.validation_due(trainer):
            self.checkpoints.save_last(trainer)
            self._leave(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: GenerativeModel) -> None:
        if self._asked_to_stop(trainer):
            self._leave(trainer, pl_module)

    def _asked_to_stop(self, trainer: Trainer) -> bool:
        return trainer.strategy.reduce_boolean_decision(bool(self._received), all=False)

    def _leave(self, trainer: Trainer, pl_module: GenerativeModel) -> None:
        received = torch.tensor(self._received, device=trainer.strategy.root_device)
        signum = int(trainer.strategy.reduce(received, reduce_op="max"))
        for handler in self._previous.values():
            if isinstance(handler, OneStop):
                handler.note(signum)  # on the way out no second signal shall cut short what is being closed
        raise Interrupted(
            f"Stopped by {signal.Signals(signum).name} after {pl_module.progress.examples:,} examples; the checkpoint "
            "is saved. The same command goes on from here.",
            signum,
        )

    def on_train_end(self, trainer: Trainer, pl_module: GenerativeModel) -> None:
        self._restore()

    def on_exception(self, trainer: Trainer, pl_module: GenerativeModel, exception: BaseException) -> None:
        self._restore()

    def _restore(self) -> None:
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)
        self._previous = {}
