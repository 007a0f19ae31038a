"""From a config to its parts: data, model, callbacks, trainer."""

from __future__ import annotations

import torch

from genlab.command.schemas import TrainedConfig
from genlab.core.randomness import Stream, stream_seed
from genlab.data.base import GenlabDataModule
from genlab.models.base import GenerativeModel

__all__ = ["build_datamodule", "build_model"]


def build_datamodule(config: TrainedConfig) -> GenlabDataModule:
    """Make the data module of a config; no file is read yet."""
    return config.data.make()


def build_model(config: TrainedConfig) -> GenerativeModel:
    """Make the model of a config for the config's data, its starting weights drawn from the seed.

    Raises:
        GenlabError: If the family cannot take the data.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(Stream.WEIGHTS, config.seed))
        return config.model.make(spec=build_datamodule(config).spec)
