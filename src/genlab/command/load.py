"""The way back from a run to its model."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from genlab.command.build import build_model, check_same_symbols
from genlab.command.config import read_trained, with_model_settings
from genlab.command.schemas import TrainedConfig
from genlab.core.errors import GenlabError, nearest
from genlab.core.plugins import load_plugins
from genlab.core.spec import DataSpec
from genlab.models.base import GenerativeModel
from genlab.runs.code import codes_of, other_code
from genlab.runs.finding import find_run
from genlab.runs.folder import RunDir
from genlab.runs.weights import open_weights

__all__ = ["find_checkpoint", "load_run", "open_run", "set_weights"]

_log = logging.getLogger("genlab")


def load_run(
    path_or_id: Path | str,
    checkpoint: str = "best",
    device: str | torch.device = "cpu",
    logs: Path | str = "logs",
    sampling: Mapping[str, Any] | None = None,
) -> GenerativeModel:
    """Load the model of a run, frozen and in eval mode, ready to ``sample`` and ``log_prob``.

    The weights are the averaged ones where the run kept an average (EMA).

    Args:
        path_or_id: As for `find_run`, the folder of an export or ``hf://user/name`` too; the path of a checkpoint file
            loads that checkpoint.
        checkpoint: ``"best"``, which validation chose, or ``"last"``.
        device: Where the model goes.
        logs: Root under which ids are looked for.
        sampling: Settings of how samples are drawn that differ from those of the training, by name; those that the
            family has are its `sampling_options`.

    Raises:
        GenlabError: If the run or the checkpoint is missing or damaged, or does not fit the run's configuration; or if
            the family has no such setting.
    """
    load_plugins()
    run = find_run(path_or_id, logs)
    return open_run(run, find_checkpoint(run, path_or_id, checkpoint), device, sampling)


def open_run(
    run: RunDir,
    path: Path,
    device: str | torch.device = "cpu",
    sampling: Mapping[str, Any] | None = None,
    spec: DataSpec | None = None,
) -> GenerativeModel:
    """Load the model of a run that was found; see `load_run`.

    Args:
        run: The run.
        path: Its checkpoint, from `find_checkpoint`.
        device: Where the model goes.
        sampling: Settings of how samples are drawn.
        spec: As of `build_model`.
    """
    # The weights are read first: a damaged file should not have to wait for a model to be built.
    read = open_weights(run, path)
    config = read_trained(run)
    if sampling:
        config = with_model_settings(config, _sampling_keys(config, sampling))
    model = build_model(config, spec)
    check_same_symbols(run, model.spec)
    set_weights(model, read, path, run)
    record = read.get("genlab")
    if change := other_code(codes_of(record.get("code") if isinstance(record, Mapping) else None)):
        _log.warning("%s was trained by %s.", run.given, change)
    return model.to(device).eval().requires_grad_(False)


def _sampling_keys(config: TrainedConfig, sampling: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings of sampling by their dotted keys in the model's config."""
    known = {key.rpartition(".")[2]: key for key in getattr(config.model.target, "sampling_options", ())}
    for name in sampling:
        if name not in known:
            has = f"It has {', '.join(known)}." if known else "It has none."
            raise GenlabError(
                f"sampling.{name} is no setting by which {config.model.name} draws samples. {has}{nearest(name, known)}"
            )
    return {known[name]: value for name, value in sampling.items()}


def find_checkpoint(run: RunDir, path_or_id: Path | str, checkpoint: str) -> Path:
    """Return the checkpoint that is meant; arguments as of `load_run`.

    Raises:
        GenlabError: If it is missing.
    """
    choices = {"best": run.best_checkpoint, "last": run.last_checkpoint}
    if checkpoint not in choices:
        raise GenlabError(f"checkpoint is '{checkpoint}', expected 'best' or 'last'.{nearest(checkpoint, choices)}")
    path = Path(path_or_id) if Path(path_or_id).suffix == RunDir.ENDING else choices[checkpoint]
    if not path.is_file():
        there = ", ".join(name for name, file in choices.items() if file.is_file()) or "none"
        raise GenlabError(f"The run {run.given} has no checkpoint {path.name}; it has: {there}.")
    return path


def set_weights(model: GenerativeModel, checkpoint: Mapping[str, Any], path: Path, run: RunDir) -> None:
    """Give a model of a run's config the weights of a checkpoint.

    Raises:
        GenlabError: If they do not fit; ``path`` says where they are from.
    """
    try:
        model.load_state_dict(checkpoint.get("state_dict", {}))
    except (RuntimeError, TypeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise GenlabError(f"{path} does not fit the model that {run.config} describes: {reason}") from error
