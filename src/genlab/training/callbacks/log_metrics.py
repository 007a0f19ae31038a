"""Metrics to the loggers, against examples seen."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import torch
from pytorch_lightning import Trainer
from torch import Tensor

from genlab.core.batch import Batch
from genlab.models.base import GenerativeModel
from genlab.training.callbacks.base import Callback

__all__ = ["LogMetrics"]


class LogMetrics(Callback):
    """Log the mean of each part of the loss every so many batches, and the validation metrics.

    A part that only some batches have, such as the loss of a network that is not trained by each, is averaged over
    those, and over all devices. The x-axis of every logger is the number of training examples seen.

    Args:
        every: Batches between two rows.
    """

    def __init__(self, every: int) -> None:
        self.every = every
        self.latest: dict[str, float] = {}
        self._sums: dict[str, Tensor] = {}
        self._counts: Counter[str] = Counter()
        self._since = (0.0, 0)

    def on_train_start(self, trainer: Trainer, pl_module: GenerativeModel) -> None:
        self._restart_clock(pl_module)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: GenerativeModel, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        for name, value in outputs.items():
            value = value.detach()
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._counts.update(outputs.keys())
        if pl_module.progress.batches % self.every and not trainer.should_stop:
            return
        pl_module.guard.settle()  # no row of numbers that are not finite
        means = self._means(trainer)
        seconds, examples = time.monotonic() - self._since[0], pl_module.progress.examples - self._since[1]
        means["train/examples_per_second"] = examples / max(seconds, 1e-9)
        means["train/lr"] = float(trainer.optimizers[0].param_groups[0]["lr"])
        if pl_module.grad_norm is not None:
            means["train/grad_norm"] = float(pl_module.grad_norm)
        self._log(trainer, pl_module, means)
        self._sums, self._counts = {}, Counter()
        self._restart_clock(pl_module)

    def _means(self, trainer: Trainer) -> dict[str, float]:
        """Means over the batches since the last row, each of all devices."""
        means = {name: total / self._counts[name] for name, total in self._sums.items()}
        if trainer.world_size > 1:
            together = trainer.strategy.reduce(torch.stack([mean.float() for mean in means.values()]))
            means = dict(zip(means, together, strict=True))
        return {f"train/{name}": float(mean) for name, mean in means.items()}

    def on_validation_end(self, trainer: Trainer, pl_module: GenerativeModel) -> None:
        figures = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val/")}
        self._log(trainer, pl_module, figures)
        self._restart_clock(pl_module)

    def _log(self, trainer: Trainer, pl_module: GenerativeModel, figures: dict[str, float]) -> None:
        self.latest |= figures
        for logger in trainer.loggers:
            logger.log_metrics(figures, step=pl_module.progress.examples)

    def _restart_clock(self, pl_module: GenerativeModel) -> None:
        self._since = (time.monotonic(), pl_module.progress.examples)
