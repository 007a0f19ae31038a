"""From a config to its parts: data and model, of sizes that this machine can hold."""

from __future__ import annotations

from dataclasses import fields

import torch

from genlab.command.schemas import ExportedConfig, TrainedConfig
from genlab.comparison.visible import visible
from genlab.core.errors import GenlabError, shown
from genlab.core.memory import BuildWithinMemory, check_examples_fit
from genlab.core.randomness import Stream, stream_seed
from genlab.core.spec import DataSpec
from genlab.data.base import GenlabDataModule
from genlab.measure.protocol import EvaluationProtocol
from genlab.modalities import modality_of
from genlab.models.base import GenerativeModel
from genlab.runs.folder import RunDir

__all__ = ["build_datamodule", "build_model", "check_protocol_fits", "check_same_data", "check_same_symbols"]


def build_datamodule(config: TrainedConfig) -> GenlabDataModule:
    """Make the data module of a config; no file is read yet.

    Raises:
        GenlabError: If a batch of it exceeds the machine's memory, or it is not what an export was trained on.
    """
    datamodule: GenlabDataModule = config.data.make()
    if isinstance(config, ExportedConfig) and datamodule.spec != config.spec:
        raise GenlabError(_other_data(datamodule.spec, config.spec))
    check_examples_fit("data.batch_size", datamodule.batch_size, datamodule.spec.num_dims)
    return datamodule


def _other_data(found: DataSpec, expected: DataSpec) -> str:
    differs = next(field.name for field in fields(found) if getattr(found, field.name) != getattr(expected, field.name))
    what = f"{differs} is {getattr(found, differs)!r}, not {getattr(expected, differs)!r}"
    return f"The data is not what the export was trained on: {visible(what)[:300]}. Put that data there."


def check_same_data(place: RunDir, spec: DataSpec) -> None:
    """Refuse data of one's own that has changed since a run was trained on it: its splits are others.

    Args:
        place: The run.
        spec: What the data of its config is now.

    Raises:
        GenlabError: If it is not called what the run's folder says, which holds a part of the data's checksum.
    """
    if (name := _changed_from(place, spec)) is not None:
        raise GenlabError(
            f"{shown(place.path)} was trained on {name}, but what its config names is {spec.name} now: of its test "
            "examples some may have been trained on. Put that data back, or train on this."
        )


def check_same_symbols(place: RunDir, spec: DataSpec) -> None:
    """Refuse data of one's own that has changed since a run was trained on it, if it alone says what samples mean.

    Args:
        place: The run.
        spec: What the data of its config is now.

    Raises:
        GenlabError: If it is called otherwise than the run's folder says, and has an alphabet or categories.
    """
    has_symbols = spec.alphabet is not None or any(field.categories for field in spec.fields)
    if has_symbols and (name := _changed_from(place, spec)) is not None:
        raise GenlabError(
            f"{shown(place.path)} was trained on {name}, but what its config names is {spec.name} now, whose symbols "
            "or categories may be others. Put that data back, or use an export of the run, which has its own."
        )


def _changed_from(place: RunDir, spec: DataSpec) -> str | None:
    """Return the name of the data that a run was trained on, if its config names other data now."""
    runs, name = (*place.path.absolute().parts[-4:-2], "", "")[:2]
    return name if place.spec is None and runs == "runs" and name != spec.name else None


def check_protocol_fits(protocol: EvaluationProtocol, spec: DataSpec) -> None:
    """Refuse a protocol whose samples exceed the machine's memory."""
    value_bytes = modality_of(spec).dtype(spec).itemsize
    check_examples_fit("evaluation.num_samples", protocol.num_samples, spec.num_dims, "samples", value_bytes)


def build_model(config: TrainedConfig, spec: DataSpec | None = None) -> GenerativeModel:
    """Make the model of a config for the config's data, its starting weights drawn from the seed.

    Args:
        config: The config.
        spec: What one example is, where that is known: to find it out may take reading a file. None: it is found out.

    Raises:
        GenlabError: If the family cannot take the data, or the model exceeds the machine's memory.
    """
    if spec is None:
        spec = config.spec if isinstance(config, ExportedConfig) else build_datamodule(config).spec
    with torch.random.fork_rng(devices=[]), BuildWithinMemory("The model"):
        torch.manual_seed(stream_seed(Stream.WEIGHTS, config.seed))
        return config.model.make(spec=spec)
