"""How far a run is, told to the sweep that started it."""

from __future__ import annotations

import time
from typing import Any

from pytorch_lightning import Trainer

from genlab.core.batch import Batch
from genlab.models.base import GenerativeModel
from genlab.processes.job_reports import JobReport
from genlab.training.callbacks.base import Callback

__all__ = ["ReportProgress"]

SECONDS_BETWEEN_REPORTS = 1.0


class ReportProgress(Callback):
    """Report the fraction of the budget spent about once a second, and each validation's figures with it.

    Args:
        report: Where the sweep looks.
    """

    def __init__(self, report: JobReport) -> None:
        self.report = report
        self._reported_at = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: GenerativeModel) -> None:
        self._report(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: GenerativeModel, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        if time.monotonic() - self._reported_at >= SECONDS_BETWEEN_REPORTS:
            self._report(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: GenerativeModel) -> None:
        figures = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val/")}
        self._report(trainer, pl_module, figures)

    def _report(self, trainer: Trainer, pl_module: GenerativeModel, figures: dict[str, float] | None = None) -> None:
        self._reported_at = time.monotonic()
        if trainer.is_global_zero:
            progress = pl_module.progress
            self.report.progress(progress.fraction, progress.examples, figures)
