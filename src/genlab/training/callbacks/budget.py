"""When a run validates and when it stops: by examples seen and minutes, never by optimizer steps."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from pytorch_lightning import Trainer

from genlab.core.batch import Batch
from genlab.core.hardware import device_name, peak_memory_bytes
from genlab.models.base import GenerativeModel
from genlab.models.steps import Progress
from genlab.runs.code import Code, codes_of, this_code
from genlab.training.callbacks.base import Callback

__all__ = ["NEVER", "Budget"]

NEVER = sys.maxsize
"""A validation interval that no run reaches: the budget alone says when to validate."""


class Budget(Callback):
    """Count what a run has spent, validate evenly over the budget, stop when it is spent.

    Args:
        examples: Training examples to see, on all devices together, or None.
        minutes: Minutes of training, over all starts of the run, with data-dependent starting values and without
            validation and the writing of checkpoints, or None.
        validations: How often to validate, evenly over the budget.
        batch_size: Examples of one global batch.
    """

    def __init__(self, examples: int | None, minutes: float | None, validations: int, batch_size: int) -> None:
        self.examples = examples
        self.minutes = minutes
        self.validations = validations
        self.batch_size = batch_size
        self.progress = Progress()
        self.hardware: dict[str, Any] = {}
        self.code: list[Code] = []
        self._resumed_at = 0.0
        self._paused_at: float | None = None
        self._is_fitted = False

    @property
    def spent(self) -> bool:
        """Whether the run is over."""
        return self.progress.fraction >= 1

    @property
    def stopped_by(self) -> str:
        """What ended the run: ``"examples"``, ``"minutes"`` or, where no steps train the model, ``"fitted"``."""
        if self._is_fitted:
            return "fitted"
        return "examples" if self.examples is not None and self.progress.examples >= self.examples else "minutes"

    def on_fit_start(self, trainer: Trainer, pl_module: GenerativeModel) -> None:
        self.progress.seconds += pl_module.progress.seconds  # what the starting values took; 0 for a resumed run
        self.progress.examples += pl_module.progress.examples
        self._is_fitted = not pl_module.learns_by_steps
        pl_module.progress = self.progress
        trainer.datamodule.start_batch = self.progress.batches

    def on_train_start(self, trainer: Trainer, pl_module: GenerativeModel) -> None:
        self._resumed_at = time.monotonic() - self.progress.seconds
        device = trainer.strategy.root_device
        self.hardware = {
            "device": self._also("device", device_name(device, trainer.world_size)),
            "precision": self._also("precision", str(trainer.precision)),
            "peak_memory_bytes": max(peak_memory_bytes(device), self.hardware.get("peak_memory_bytes", 0)),
        }
        if (code := this_code()) not in self.code:
            self.code.append(code)

    def _also(self, key: str, now: str) -> str:
        """Add to what earlier starts of the run used."""
        before = self.hardware.get(key)
        if before is None:
            return now
        return before if before.split(", then ")[-1] == now else f"{before}, then {now}"

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: GenerativeModel, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        progress = self.progress
        before = int(progress.fraction * self.validations)
        progress.batches += 1
        progress.seconds = time.monotonic() - self._resumed_at
        if self._is_fitted:
            progress.fraction = 1.0
        else:
            progress.examples += self.batch_size
            progress.fraction = min(1.0, max(self._fraction_of_examples(), self._fraction_of_minutes(trainer)))
        due = int(progress.fraction * self.validations) > before
        # Lightning validates after every val_check_batch-th batch: after this one or after none.
        trainer.val_check_batch = 1 if due else NEVER
        trainer.should_stop = trainer.should_stop or self.spent

    def _fraction_of_examples(self) -> float:
        return self.progress.examples / self.examples if self.examples else 0.0

    def _fraction_of_minutes(self, trainer: Trainer) -> float:
        if not self.minutes:
            return 0.0
        if trainer.world_size > 1:  # all ranks must stop at the same batch
            seconds = torch.tensor(self.progress.seconds, dtype=torch.float64, device=trainer.strategy.root_device)
            self.progress.seconds = float(trainer.strategy.reduce(seconds, reduce_op="max"))
        return self.progress.seconds / (60 * self.minutes)

    def on_validation_start(self, trainer: Trainer, pl_module: GenerativeModel) -> None:
        self._paused_at = time.monotonic()
        self._note_peak(trainer.strategy.root_device)

    def on_validation_end(self, trainer: Trainer, pl_module: GenerativeModel) -> None:
        _forget_peak(trainer.strategy.root_device)  # batches of samples grow with what memory is free
        if self._paused_at is not None:
            self._resumed_at += time.monotonic() - self._paused_at

    @contextmanager
    def paused(self, trainer: Trainer) -> Iterator[None]:
        """Do between two steps what is no training, and counts as none: neither its time nor a GPU's memory."""
        began, device = time.monotonic(), trainer.strategy.root_device
        self._note_peak(device)
        yield
        _forget_peak(device)
        self._resumed_at += time.monotonic() - began

    def _note_peak(self, device: torch.device) -> None:
        self.hardware["peak_memory_bytes"] = max(peak_memory_bytes(device), self.hardware["peak_memory_bytes"])

    def validation_due(self, trainer: Trainer) -> bool:
        """Whether a validation follows the batch that just ended."""
        return trainer.val_check_batch == 1 or trainer.should_stop

    def on_save_checkpoint(self, trainer: Trainer, pl_module: GenerativeModel, checkpoint: dict[str, Any]) -> None:
        self._note_peak(trainer.strategy.root_device)
        checkpoint["genlab"] = {
            "progress": dict(vars(self.progress)),
            "hardware": self.hardware,
            "stopped_by": self.stopped_by if self.spent else "not finished",
            "code": [code.as_dict() for code in self.code],
        }

    def on_load_checkpoint(self, trainer: Trainer, pl_module: GenerativeModel, checkpoint: dict[str, Any]) -> None:
        self.progress = Progress(**checkpoint["genlab"]["progress"])
        self.hardware = checkpoint["genlab"]["hardware"]
        self.code = list(codes_of(checkpoint["genlab"].get("code")))


def _forget_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
