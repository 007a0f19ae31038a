"""Noise that any step can draw again."""

from __future__ import annotations

import torch
from pytorch_lightning import Trainer

from genlab.core.batch import Batch
from genlab.core.randomness import Stream, stream_seed
from genlab.models.base import GenerativeModel
from genlab.training.callbacks.base import Callback

__all__ = ["CounterNoise"]


class CounterNoise(Callback):
    """Seed the global generators before each step from (seed, rank, step).

    So a resumed run draws what it would have drawn, with no generator state in the checkpoint, and each
    rank draws noise of its own.

    Args:
        seed: The run's seed.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: Trainer, pl_module: GenerativeModel, batch: Batch, batch_idx: int) -> None:
        seed = stream_seed(Stream.NOISE, self.seed, trainer.global_rank, pl_module.progress.batches)
        # torch.manual_seed would also queue a seed, with a stack trace, for every kind of device that is not in use.
        torch.default_generator.manual_seed(seed)
        device = trainer.strategy.root_device
        if device.type != "cpu":
            torch.get_device_module(device).manual_seed(seed)
