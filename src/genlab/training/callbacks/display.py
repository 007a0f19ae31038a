"""What the user sees while a run trains."""

from __future__ import annotations

import sys
import time
from typing import Any

from pytorch_lightning import Trainer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from genlab.core.batch import Batch
from genlab.measure.figures import validated
from genlab.models.base import GenerativeModel
from genlab.training.callbacks.base import Callback
from genlab.training.callbacks.budget import Budget
from genlab.training.callbacks.log_metrics import LogMetrics

__all__ = ["ProgressDisplay"]

SECONDS_BETWEEN_LINES = 30.0
SECONDS_BETWEEN_FRAMES = 0.25


class ProgressDisplay(Callback):
    """A progress bar over the budget on a terminal, a line now and then elsewhere.

    Shows the fraction of the budget spent, examples per second, the time left, the latest loss and what validation
    has measured of the headlines.

    Args:
        budget: Knows what is spent.
        metrics: Knows the latest figures.
    """

    def __init__(self, budget: Budget, metrics: LogMetrics) -> None:
        self.budget = budget
        self.metrics = metrics
        self._console = Console(stderr=True)
        self._bar: Progress | None = None
        self._shown_at = 0.0
        self._start = (0.0, 0, 0.0)

    def on_train_start(self, trainer: Trainer, pl_module: GenerativeModel) -> None:
        progress = self.budget.progress
        self._start = (progress.fraction, progress.examples, progress.seconds)
        self._shown_at = time.monotonic()
        if trainer.is_global_zero and self._console.is_terminal:
            columns = (TextColumn("{task.percentage:>3.0f}%"), BarColumn(), TextColumn("{task.description}"))
            self._bar = Progress(*columns, console=self._console, auto_refresh=False)
            self._bar.add_task("starting", total=1.0)
            self._bar.start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: GenerativeModel, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        pause = SECONDS_BETWEEN_FRAMES if self._bar else SECONDS_BETWEEN_LINES
        now = time.monotonic()
        if now - self._shown_at < pause and not trainer.should_stop:
            return
        self._shown_at = now
        self._show(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: GenerativeModel) -> None:
        self._show(trainer)
        self._shown_at = time.monotonic()

    def _show(self, trainer: Trainer) -> None:
        if not trainer.is_global_zero:
            return
        fraction = self.budget.progress.fraction
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=fraction, description=self._describe(), refresh=True)
        else:
            print(f"{100 * fraction:3.0f}%  {self._describe()}", file=sys.stderr, flush=True)

    def _describe(self) -> str:
        progress, latest = self.budget.progress, self.metrics.latest
        fraction, examples, seconds = (
            progress.fraction - self._start[0],
            progress.examples - self._start[1],
            progress.seconds - self._start[2],
        )
        left = seconds * (1 - progress.fraction) / fraction if fraction > 0 else 0.0
        parts = [
            f"{progress.examples:,} examples",
            f"{examples / max(seconds, 1e-9):,.0f}/s",
            f"{int(left) // 60}:{int(left) % 60:02d} left",
        ]
        headlines = ((f"val/{figure.key}", f"val {figure.label}") for figure in validated(headlines_only=True))
        for name, label in (("train/loss", "loss"), *headlines):
            if name in latest:
                parts.append(f"{label} {latest[name]:.3f}")
        return "  ".join(parts)

    def on_train_end(self, trainer: Trainer, pl_module: GenerativeModel) -> None:
        self._close()

    def on_exception(self, trainer: Trainer, pl_module: GenerativeModel, exception: BaseException) -> None:
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
