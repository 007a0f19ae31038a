"""Ctrl-C, SIGTERM, SIGUSR1 and SIGUSR2: save a checkpoint, then leave."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any, NoReturn

import torch
from pytorch_lightning import Trainer

from genlab.core.batch import Batch
from genlab.core.errors import Interrupted
from genlab.models.base import GenerativeModel
from genlab.processes.signals import REQUEUE_SIGNALS, STOP_SIGNALS, OneStop
from genlab.training.callbacks.base import Callback
from genlab.training.callbacks.budget import Budget
from genlab.training.callbacks.saving import SaveCheckpoints

__all__ = ["SaveOnSignal"]

_BY_WEIGHT = (0, signal.SIGINT, *STOP_SIGNALS)
"""No signal, and the signals, those last that have a job queued again."""


class SaveOnSignal(Callback):
    """On SIGINT, SIGTERM, SIGUSR1 or SIGUSR2 finish the step, save the last checkpoint, raise :class:`Interrupted`.

    A second Ctrl-C leaves at once. Of several processes it is enough that one receives the signal.
    Outside the main thread it does nothing.

    Args:
        checkpoints: Saves.
        budget: Knows whether a validation is due; the run then leaves after it.
    """

    def __init__(self, checkpoints: SaveCheckpoints, budget: Budget) -> None:
        self.checkpoints = checkpoints
        self.budget = budget
        self._received = 0
        self._previous: dict[int, Any] = {}

    def on_fit_start(self, trainer: Trainer, pl_module: GenerativeModel) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # Python hears no signals there
        # Before Lightning's are there, which must not come back: its handler of SIGTERM waits for the other processes.
        self._previous = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, *STOP_SIGNALS)}
        if self._previous[signal.SIGINT] is signal.SIG_IGN:  # as a shell has it under `nohup ... &`: then it stays so
            del self._previous[signal.SIGINT]

    def on_train_start(self, trainer: Trainer, pl_module: GenerativeModel) -> None:
        # Here, and not earlier: Lightning installs handlers of its own when a fit begins. Its requeue, from within a
        # handler, would save in the middle of a step and know nothing of W&B: `stoppable` requeues when all is closed.
        for signum in self._previous:
            signal.signal(signum, self._receive)

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
        # One process may have heard of SIGTERM alone where another knows already that the job is to be queued again.
        received = torch.tensor(_BY_WEIGHT.index(self._received), device=trainer.strategy.root_device)
        self._raise(_BY_WEIGHT[int(trainer.strategy.reduce(received, reduce_op="max"))], pl_module)

    def _raise(self, signum: int, pl_module: GenerativeModel) -> NoReturn:
        for handler in self._previous.values():
            if isinstance(handler, OneStop):
                handler.note(signum)  # on the way out no second signal shall cut short what is being closed
        raise Interrupted(
            f"Stopped by {signal.Signals(signum).name} after {pl_module.progress.examples:,} examples; the checkpoint "
            "is saved. The same command goes on from here.",
            signum,
            together=True,
        )

    def on_train_end(self, trainer: Trainer, pl_module: GenerativeModel) -> None:
        self._restore()
        if self._received:  # since the last validation was over
            self._raise(self._received, pl_module)

    def on_exception(self, trainer: Trainer, pl_module: GenerativeModel, exception: BaseException) -> None:
        self._restore()

    def _restore(self) -> None:
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)
