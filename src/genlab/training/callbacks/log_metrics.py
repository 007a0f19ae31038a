"""Metrics to the loggers, against examples seen."""

from __future__ import annotations

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
    those, and over all devices. The x-axis of every logger is the number of training examples seen. A checkpoint keeps
    the row that is not full yet, so that a run that goes on from there writes what it would have written.

    Args:
        every: Batches between two rows.
    """

    def __init__(self, every: int) -> None:
        self.every = every
        self.latest: dict[str, float] = {}
        self._sums: dict[str, Tensor] = {}
        self._counts: Counter[str] = Counter()
        self._since: tuple[float, int] | None = None

    def on_train_start(self, trainer: Trainer, pl_module: GenerativeModel) -> None:
        self._sums = {name: total.to(trainer.strategy.root_device) for name, total in self._sums.items()}
        if self._since is None:
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
        means["train/examples_per_second"] = self._speed(pl_module)
        if trainer.optimizers:
            means["train/lr"] = float(trainer.optimizers[0].param_groups[0]["lr"])
        if pl_module.grad_norm is not None:
            means["train/grad_norm"] = float(pl_module.grad_norm)
        self._log(trainer, pl_module, means)
        self._sums, self._counts = {}, Counter()
        self._restart_clock(pl_module)

    def _means(self, trainer: Trainer) -> dict[str, float]:
        """Means over the batches since the last row, each of all devices."""
        means = {name: total / self._counts[name] for name, total in self._sums.items()}
        return {f"train/{name}": float(mean) for name, mean in _over_devices(means, trainer).items()}

    def _speed(self, pl_module: GenerativeModel) -> float:
        """Examples per second since the last row, by the clock of the training, which validations stop."""
        since_seconds, since_examples = self._since or (0.0, 0)
        progress = pl_module.progress
        return (progress.examples - since_examples) / max(progress.seconds - since_seconds, 1e-9)

    def on_validation_end(self, trainer: Trainer, pl_module: GenerativeModel) -> None:
        figures = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val/")}
        self._log(trainer, pl_module, figures)

    def _log(self, trainer: Trainer, pl_module: GenerativeModel, figures: dict[str, float]) -> None:
        self.latest |= figures
        for logger in trainer.loggers:
            logger.log_metrics(figures, step=pl_module.progress.examples)

    def _restart_clock(self, pl_module: GenerativeModel) -> None:
        self._since = (pl_module.progress.seconds, pl_module.progress.examples)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: GenerativeModel, checkpoint: dict[str, Any]) -> None:
        # Only the first process's is written: it holds what all have summed, and all go on from that.
        sums = _over_devices(self._sums, trainer)
        checkpoint["unfinished_row"] = {"sums": sums, "counts": dict(self._counts), "since": self._since}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: GenerativeModel, checkpoint: dict[str, Any]) -> None:
        row = checkpoint.get("unfinished_row")
        if row is not None:  # checkpoints of earlier versions have none
            self._sums, self._counts, self._since = dict(row["sums"]), Counter(row["counts"]), row["since"]


def _over_devices(values: dict[str, Tensor], trainer: Trainer) -> dict[str, Tensor]:
    """Means over all devices."""
    if trainer.world_size == 1 or not values:
        return values
    together = trainer.strategy.reduce(torch.stack([value.float() for value in values.values()]))
    return dict(zip(values, together, strict=True))
