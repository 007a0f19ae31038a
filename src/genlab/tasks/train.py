"""Train a model, evaluate it, draw its samples, leave one result."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch.distributed
import yaml
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers import Logger

from genlab.atomic import write_atomic
from genlab.checkpoints import load_checkpoint, resume_checkpoint
from genlab.data.base import GenlabDataModule
from genlab.data.batch import Batch
from genlab.errors import GenlabError, Interrupted
from genlab.evaluation import EvaluationProtocol
from genlab.locks import RunLock
from genlab.loggers.csv_logger import CsvLogger
from genlab.loggers.protocols import ClosesRun, LogsPicture, LogsResult, redact
from genlab.models.base import GenerativeModel
from genlab.randomness import Stream, generator, stream_seed
from genlab.results import read_result, result_path
from genlab.runs import RunDir, code_version, run_id
from genlab.tasks.build import build_callbacks, build_datamodule, build_model, build_trainer, resolve_precision
from genlab.tasks.command import command_line
from genlab.tasks.config import check_config, instantiate
from genlab.tasks.console import log_to, show_result
from genlab.tasks.evaluate import evaluate_run

__all__ = ["run"]

_log = logging.getLogger("genlab")


def run(config: DictConfig) -> dict[str, Any] | None:
    """Train and evaluate what a config describes; go on where an earlier start of the same run ended.

    Args:
        config: The composed config.

    Returns:
        The result and, as ``run_dir``, the run's folder, or None in a process that only helped to train.

    Raises:
        GenlabError: For everything that the user can mend.
        Interrupted: After a signal; the checkpoint is saved.
    """
    check_config(config)
    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    datamodule = build_datamodule(plain)
    identity = run_id(plain, plain["seed"])
    place = RunDir.locate(
        plain["paths"]["logs"], datamodule.spec.name, plain["model"]["name"], identity, plain["rerun"]
    )
    protocol: EvaluationProtocol = instantiate(plain["evaluation"])
    for key, name in (("model.name", plain["model"]["name"]), ("evaluation.name", protocol.name)):
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
            raise GenlabError(f"{key} is '{name}', expected letters, digits, '.', '_' and '-': it names files.")
    if result := _finished(place, protocol):
        show_result(result, place, "This run is finished; rerun=true trains afresh beside it.")
        return {**result, "run_dir": str(place.path)}
    # Before anything is written: the pair may not fit.
    resolve_precision(plain["trainer"])
    model = build_model(plain)
    with ExitStack() as stack:
        if _is_first_process():
            place.create()
            stack.enter_context(RunLock(place.lock))
            stack.enter_context(log_to(place.log))
            write_atomic(place.config, yaml.safe_dump(redact(plain), sort_keys=False))
        loggers = stack.enter_context(_open_loggers(plain, place))
        datamodule.prepare_data()
        _fit(plain, place, model, datamodule, loggers)
        if not _is_first_process():
            return None
        result = evaluate_run(place, plain, protocol, command_line("train.py"))
        _show_on_dashboards(loggers, result, place)
    show_result(result, place)
    return {**result, "run_dir": str(place.path)}


def _is_first_process() -> bool:
    """Whether this is the process that the user started, and not one that Lightning started to help it."""
    return int(os.environ.get("LOCAL_RANK", 0)) == 0 and int(os.environ.get("NODE_RANK", 0)) == 0


def _finished(place: RunDir, protocol: EvaluationProtocol) -> dict[str, Any] | None:
    path = result_path(place, protocol.describe())
    return read_result(path) if path.exists() else None


@contextmanager
def _open_loggers(config: dict[str, Any], place: RunDir) -> Iterator[list[Logger]]:
    """Make ``metrics.csv`` and the chosen dashboard, and close them whatever happens."""
    dashboard = instantiate(
        config["logger"], run_dir=place.path, run_id=place.id, config=redact(config), code_version=code_version()
    )
    loggers: list[Logger] = [CsvLogger(place), *(dashboard if isinstance(dashboard, list) else [dashboard])]
    status = "failed"
    try:
        yield loggers
        status = "finished"
    except (Interrupted, KeyboardInterrupt):
        status = "interrupted"
        raise
    finally:
        for logger in loggers:
            if isinstance(logger, ClosesRun):
                logger.close(status)


def _show_on_dashboards(loggers: list[Logger], result: dict[str, Any], place: RunDir) -> None:
    picture = place.samples / f"{result['protocol']['name']}.png"
    for logger in loggers:
        if isinstance(logger, LogsPicture) and picture.exists():
            logger.log_picture("samples/final", picture, result["training"]["examples_seen"])
        if isinstance(logger, LogsResult):
            logger.log_result(result)


def _fit(
    config: dict[str, Any], place: RunDir, model: GenerativeModel, datamodule: GenlabDataModule, loggers: list[Logger]
) -> None:
    """Train until the budget is spent, from the last checkpoint if there is one."""
    # The first process has checked the file, and named it last, before it starts any other.
    if _is_first_process() and (usable := resume_checkpoint(place)) is not None:
        os.replace(usable, place.last_checkpoint)
    checkpoint = place.last_checkpoint if place.last_checkpoint.exists() else None
    if checkpoint is None:
        if _is_first_process():
            loggers[0].metrics.truncate(-1)  # rows of a start that was killed before its first checkpoint
        _initialize(model, datamodule, config["seed"])
    else:
        progress = load_checkpoint(checkpoint, mmap=True)["genlab"]["progress"]
        if progress["fraction"] >= 1:
            return
        _log.info("Going on after %s examples (%s).", f"{progress['examples']:,}", checkpoint)
        if _is_first_process():
            loggers[0].metrics.truncate(progress["examples"])
    trainer = build_trainer(config, place, build_callbacks(config, place), loggers)
    try:
        trainer.fit(model, datamodule=datamodule, ckpt_path=checkpoint, weights_only=True)
    except SystemExit as error:  # what Lightning makes of a second Ctrl-C
        raise KeyboardInterrupt from error
    if torch.distributed.is_initialized():
        # What follows runs in the first process alone, and must not wait for the others.
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def _initialize(model: GenerativeModel, datamodule: GenlabDataModule, seed: int) -> None:
    data, began = datamodule.tensors("train"), time.monotonic()
    rows = torch.randperm(len(data.x), generator=generator(Stream.WEIGHTS, seed, 1))[: model.initial_examples]
    torch.manual_seed(stream_seed(Stream.WEIGHTS, seed, 2))
    model.initialize(Batch(data.x[rows], None if data.y is None else data.y[rows]))
    # A mixture is fitted here for the most part: what it takes is training, and counts as such.
    model.progress.seconds = time.monotonic() - began
