"""Exponential moving average of the weights."""

from __future__ import annotations

from typing import Any

import torch
from pytorch_lightning import Trainer
from torch import Tensor

from genlab.core.batch import Batch
from genlab.core.sharded import collect, shard_like
from genlab.models.base import GenerativeModel
from genlab.training.callbacks.base import Callback

__all__ = ["EMA"]


class EMA(Callback):
    """Average the weights after every step; validate and evaluate the average.

    In a checkpoint ``state_dict`` holds the average, so that whoever opens it gets the weights to use, and
    ``current_model_state`` the trained ones, as with Lightning's ``WeightAveraging``. That callback updates a
    deep copy of the module tensor by tensor; here one fused operation updates one list.

    Args:
        decay: Weight that the average keeps at each step, in ``[0, 1)``. After n steps it is at most
            (1 + n) / (10 + n), so that the start is soon forgotten.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self._updates = 0
        self._average: dict[str, Tensor] = {}
        self._lists: tuple[list[Tensor], list[Tensor]] = ([], [])

    def on_train_start(self, trainer: Trainer, pl_module: GenerativeModel) -> None:
        trained = {name: p.data for name, p in pl_module.named_parameters()}
        start = self._average or trained
        self._average = {name: shard_like(start[name], p) for name, p in trained.items()}
        self._lists = (list(self._average.values()), list(trained.values()))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: GenerativeModel, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        if not self._average:  # a model without parameters
            return
        decay = min(self.decay, (1 + self._updates) / (10 + self._updates))
        torch._foreach_lerp_(*self._lists, 1 - decay)
        self._updates += 1

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: GenerativeModel) -> None:
        self._swap()

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: GenerativeModel) -> None:
        self._swap()

    def _swap(self) -> None:
        for average, trained in zip(*self._lists, strict=True):
            kept = average.clone()
            average.copy_(trained)
            trained.copy_(kept)

    def state_dict(self) -> dict[str, Any]:
        return {"updates": self._updates}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._updates = state_dict["updates"]

    def on_save_checkpoint(self, trainer: Trainer, pl_module: GenerativeModel, checkpoint: dict[str, Any]) -> None:
        checkpoint["current_model_state"] = checkpoint["state_dict"]
        average = {name: collect(value) for name, value in self._average.items()}
        checkpoint["state_dict"] = {**checkpoint["state_dict"], **average}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: GenerativeModel, checkpoint: dict[str, Any]) -> None:
        names = {name for name, _ in pl_module.named_parameters()}
        self._average = {name: value for name, value in checkpoint["state_dict"].items() if name in names}
        pl_module.load_state_dict(checkpoint["current_model_state"])
