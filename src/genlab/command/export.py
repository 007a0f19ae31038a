"""Export a run: to a folder, or to the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from omegaconf import DictConfig

from genlab.command.build import build_datamodule
from genlab.command.config import check_config, read_trained
from genlab.command.exported import without_folders
from genlab.command.load import find_checkpoint, open_run
from genlab.command.schemas import ExportConfig, TrainedConfig
from genlab.core.errors import GenlabError, shown
from genlab.core.hardware import choose_device
from genlab.core.words import counted
from genlab.models.base import GenerativeModel
from genlab.runs.addresses import Address, is_address
from genlab.runs.checkpoints import load_checkpoint, training_record
from genlab.runs.code import codes_of, this_code
from genlab.runs.exports import NETWORK, Export, ExportDir, open_export
from genlab.runs.finding import find_run
from genlab.runs.folder import RunDir
from genlab.runs.identity import config_hash
from genlab.runs.pushing import look, push
from genlab.runs.scratch import scratch_folder
from genlab.training.callbacks.saving import was_chosen
from genlab.uses.card import THIS_FOLDER
from genlab.uses.export import (
    Shared,
    check_target,
    copy_export,
    put,
    results_of,
    shared_config,
    write_card,
    write_files,
    write_samples,
)
from genlab.uses.network import require_network, write_network

__all__ = ["run"]


def run(config: DictConfig) -> str:
    """Export ``config.run`` to ``config.to``, a folder or ``hf://user/name``, and say where it is.

    An export is copied as it is, with its card, whoever edited that.

    Args:
        config: The composed config.

    Returns:
        What loads it: the folder, or the address of the commit.
    """
    settings = check_config(config, ExportConfig)
    if settings.run.endswith(RunDir.ENDING):
        raise GenlabError(f"run is {settings.run}, a checkpoint. Give its run's folder, and checkpoint=best or last.")
    address = Address.parse(settings.to) if is_address(settings.to) else None
    target = Path(settings.to).expanduser()
    if address is None:
        check_target(target, settings.overwrite)
    place = find_run(settings.run, settings.paths.logs)
    trained = None if isinstance(place, ExportDir) else _read(place)
    if trained is None:
        _check_copied(settings)
    there = None if address is None else look(address, settings.overwrite)
    with scratch_folder(target.absolute().parent, ".export-") if address is None else TemporaryDirectory() as scratch:
        folder = Path(scratch) / "export"
        folder.mkdir()
        export = _copy(place, folder, settings) if trained is None else _build(place, trained, folder, settings)
        size = sum(info.bytes for info in export.files.values())
        if address is None or there is None:
            put(folder, export, target)
        else:
            address = push(folder, export, address, there, settings.private)
    where = str(address or target)
    print(f"Exported {counted(len(export.files), 'file')}, {size / 1e6:,.1f} MB, of run {export.run_id}: {where}")
    if there is not None and there.commit is None and settings.private:
        print("It is private: only its owner can load it. Its page on the Hub, or private=false at first, shares it.")
    print(f'Load it by genlab.load_run("{where}"), or run={where}.')
    return where


def _check_copied(settings: ExportConfig) -> None:
    """Refuse settings that a copy does not heed."""
    if given := [key for key in ("licence", "data_licence", "network") if getattr(settings, key)]:
        raise GenlabError(
            f"{given[0]} is given, but {shown(settings.run)} is an export, which is copied as it is. "
            "Export the run with it, or edit the card."
        )


def _copy(place: ExportDir, folder: Path, settings: ExportConfig) -> Export:
    checkpoint = find_checkpoint(place, settings.run, settings.checkpoint)
    open_run(place, checkpoint)  # what nobody can load, or would run code, is not passed on
    return copy_export(place, folder, settings.to if is_address(settings.to) else THIS_FOLDER)


def _read(place: RunDir) -> TrainedConfig:
    trained = read_trained(place)
    if trained.model.target.comes_trained:
        raise GenlabError(
            f"{place.given} is of model={trained.model.name}, which comes trained: the run holds none of its weights. "
            f"Share the original, model.path={shown(trained.plain['model'].get('path'))}."
        )
    return trained


def _build(place: RunDir, trained: TrainedConfig, folder: Path, settings: ExportConfig) -> Export:
    checkpoint = find_checkpoint(place, settings.run, settings.checkpoint)
    datamodule = build_datamodule(trained)
    model = open_run(place, checkpoint, choose_device(settings.device), spec=datamodule.spec)
    if settings.network:
        require_network(model)  # before the work
    read = load_checkpoint(checkpoint, mmap=True)
    last = load_checkpoint(find_checkpoint(place, settings.run, "last"), mmap=True)
    licence = settings.data_licence or getattr(datamodule, "licence", None)
    about = {
        "run_id": place.id,
        "config_hash": config_hash(trained.plain),
        "model": model.name,
        "checkpoint": settings.checkpoint,
        "chosen_by": model.monitor if settings.checkpoint == "best" and was_chosen(read) else None,
        "progress": training_record(read, checkpoint)["progress"],
        "training": _training(training_record(last, place.last_checkpoint)),
        "data": model.spec,
        "licence": settings.licence,
        "data_licence": licence,
        "code": this_code().as_dict(),
    }
    results = results_of(place, settings.checkpoint)
    state = model.state_dict()
    shared = Shared(shared_config(without_folders(trained.plain)), state, results, about)
    export = write_files(folder, shared)
    # Samples and card are of what others will load.
    loaded = _load_again(folder, settings, state)
    program = write_network(folder / NETWORK, loaded.cpu()) if settings.network else None
    loaded.to(model.device)
    export = write_samples(folder, export, loaded, loaded.variant)
    where = settings.to if is_address(settings.to) else THIS_FOLDER
    write_card(folder, export, loaded, results, where, program)
    return export


def _training(record: dict[str, Any]) -> dict[str, Any]:
    hardware = {key: record["hardware"].get(key) for key in ("device", "precision", "peak_memory_bytes")}
    codes = tuple(code.as_dict() for code in codes_of(record.get("code")))
    return {
        "progress": record["progress"], "hardware": hardware, "stopped_by": record["stopped_by"], "code": codes
    }  # fmt: skip


def _load_again(folder: Path, settings: ExportConfig, state: dict[str, torch.Tensor]) -> GenerativeModel:
    exported = open_export(folder, settings.paths.logs)
    model = open_run(exported, exported.best_checkpoint, choose_device(settings.device))
    loaded = model.state_dict()
    if state.keys() != loaded.keys() or any(not torch.equal(state[name], loaded[name]) for name in state):
        raise RuntimeError("what was exported loads as other weights.")
    return model
