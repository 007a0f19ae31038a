"""From a config to its parts: data, model, callbacks, trainer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from genlab.command.config import instantiate
from genlab.core.randomness import Stream, stream_seed
from genlab.data.base import GenlabDataModule
from genlab.models.base import GenerativeModel

__all__ = ["build_datamodule", "build_model"]


def build_datamodule(config: Mapping[str, Any]) -> GenlabDataModule:
    """Make the data module of a config; no file is read yet."""
    return instantiate(config["data"])


def build_model(config: Mapping[str, Any]) -> GenerativeModel:
    """Make the model of a config for the config's data, its starting weights drawn from the seed.

    Raises:
        GenlabError: If the family cannot take the data.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(Stream.WEIGHTS, config["seed"]))
        return instantiate(config["model"], spec=build_datamodule(config).spec)
