"""Train a model, evaluate it, draw its samples, leave one result."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

import torch
import yaml
from omegaconf import DictConfig
from pytorch_lightning import Trainer
from pytorch_lightning.loggers import Logger

from genlab.command.build import build_datamodule, build_model, check_protocol_fits
from genlab.command.command_line import command_line
from genlab.command.config import check_config, with_model_settings
from genlab.command.console import log_to, quiet, show_result
from genlab.command.evaluate import evaluate_run
from genlab.command.finished import finished_remark
from genlab.command.load import set_weights
from genlab.command.pictures import pictures, written_samples
from genlab.command.schemas import TrainConfig
from genlab.core.errors import GenlabError, Interrupted
from genlab.core.finite import NonFiniteError
from genlab.core.randomness import Stream, generator, stream_seed
from genlab.core.secrets import redact
from genlab.core.timetable import Timetable
from genlab.data.base import GenlabDataModule
from genlab.loggers.csv_logger import CsvLogger
from genlab.loggers.protocols import ClosesRun, LogsFiles, LogsPicture, LogsResult
from genlab.measure.finished_run import FinishedRun
from genlab.measure.protocol import EvaluationProtocol
from genlab.measure.result import Result
from genlab.measure.results import read_result, result_path
from genlab.measure.sliding import check_stride
from genlab.models.base import GenerativeModel
from genlab.processes.display import Display
from genlab.processes.ranks import is_first_process, others_wait
from genlab.runs.atomic import write_atomic
from genlab.runs.checkpoints import AtomicCheckpointIO, load_checkpoint, resume_checkpoint, training_record
from genlab.runs.code import code_version, codes_of, other_code, this_code
from genlab.runs.folder import RunDir, check_name, check_place, read_config
from genlab.runs.identity import run_id
from genlab.runs.locks import RunLock
from genlab.runs.metrics_csv import MetricsCsv
from genlab.training.process_group import (
    Start,
    check_devices,
    leave_together,
    meet,
    on_this_process_alone,
    stop_helpers,
)
from genlab.training.trainer import build_callbacks, build_trainer

__all__ = ["run"]

_log = logging.getLogger("genlab")


def run(config: DictConfig) -> FinishedRun | None:
    """Train and evaluate what a config describes; go on where an earlier start of the same run ended.

    Where several processes train the run, the first decides, writes and reports, and the others only help.

    Args:
        config: The composed config.

    Returns:
        The run and its result, or None in a process that only helped to train.

    Raises:
        GenlabError: For everything that the user can mend.
        Interrupted: After a signal; the checkpoint is saved.
    """
    if is_first_process():
        return _lead(_TrainingJob.of(config))
    with quiet():
        _help(config)
    return None


class _TrainingJob(NamedTuple):
    """A config, and what it names."""

    config: TrainConfig
    place: RunDir
    datamodule: GenlabDataModule
    protocol: EvaluationProtocol

    @classmethod
    def of(cls, config: DictConfig) -> _TrainingJob:
        settings = check_config(config)
        check_name("model.name", settings.model.name)
        datamodule, name = build_datamodule(settings), settings.model.name
        identity = run_id(settings.plain, settings.seed)
        place = RunDir.locate(settings.paths.logs, datamodule.spec.name, name, identity, settings.rerun)
        protocol: EvaluationProtocol = settings.evaluation.make()
        check_protocol_fits(protocol, datamodule.spec)
        return cls(settings, place, datamodule, protocol)

    def settled(self) -> _TrainingJob:
        """Return the job of what a branch of the Hub, or what else moves on, was when the run began, or is now."""
        node, before = self.config.model, {}
        if self.place.config.is_file():
            with contextlib.suppress(GenlabError):  # it is damaged, and written anew
                before = read_config(self.place).get("model")
        settle = getattr(node.target, "settled", lambda settings, before: {})
        changes = settle(node.plain, before if isinstance(before, Mapping) else {})
        return self._replace(config=with_model_settings(self.config, changes)) if changes else self

    def model(self) -> GenerativeModel:
        model = build_model(self.config, self.datamodule.spec)
        check_stride(self.protocol.stride, model.spec, self.datamodule.is_one_sequence, model)
        model.configure_optimizers()  # the optimizer's own word on its settings, before anything is written
        return model

    def trainer(self, model: GenerativeModel, loggers: list[Logger], display: Display) -> Trainer:
        batch_size = self.config.data.batch_size
        callbacks = build_callbacks(self.config, self.place, model.name, batch_size, display, self.protocol)
        trainer = self.config.trainer
        return build_trainer(trainer, trainer.make, self.place, model, callbacks, loggers)


def _lead(job: _TrainingJob) -> FinishedRun:
    """Be the first process: decide what there is to do, train, and evaluate alone."""
    waited_for = others_wait(job.config.trainer.num_nodes)
    result = None if waited_for else _finished(job.place, job.protocol)
    display = Display(Timetable())
    with ExitStack() as stack:
        if result is None:
            job = job.settled()
            # Before anything is written: the pair may not fit, and a dashboard's settings neither.
            model, loggers, error, start = job.model(), _make_loggers(job), None, Start(train=False)
            try:
                if waited_for:  # only now, because what goes wrong has to be told
                    result = _finished(job.place, job.protocol)
                if result is None:
                    start = _begin(job, model, stack)
            except Exception as raised:
                if not waited_for:
                    raise
                error = raised
            if start.train or waited_for:
                trainer = job.trainer(model, loggers, display)
                check_devices(trainer, job.config.data.batch_size)
                meet(trainer, start)
                if not start.train:
                    leave_together()
            if error is not None:
                raise error
        remark = "" if result is None else finished_remark(result)
        if result is None:
            stack.enter_context(_closed(loggers))
            with display:
                if start.train and model.comes_trained:
                    _keep(job.place, model)
                elif start.train:
                    _fit(trainer, model, job.datamodule, start)
                result = evaluate_run(
                    job.place,
                    job.config,
                    job.protocol,
                    command_line("train.py"),
                    timetable=display.timetable,
                    datamodule=job.datamodule,
                )
            _show_on_dashboards(loggers, result, job.place)
    show_result(result, job.place, remark)
    return FinishedRun(job.place, result)


def _help(config: DictConfig) -> None:
    """Be another process: train along, and leave to the first the rest, and all errors but those of this one alone."""
    try:
        job = _TrainingJob.of(config).settled()
        model = job.model()
    except GenlabError:
        return
    with on_this_process_alone():
        trainer = job.trainer(model, _make_loggers(job), Display(Timetable()))
        try:
            check_devices(trainer, job.config.data.batch_size)
        except GenlabError:
            return
        start = meet(trainer, None)
        if not start.train:
            leave_together()
            return
        if start.weights is not None:
            model.load_state_dict(start.weights)
        with contextlib.suppress(Interrupted, KeyboardInterrupt, NonFiniteError):
            _fit(trainer, model, job.datamodule, start)


def _begin(job: _TrainingJob, model: GenerativeModel, stack: ExitStack) -> Start:
    """Take hold of the run for as long as the stack, and find out where its training begins."""
    place = job.place.create()
    for picture in pictures(place, job.protocol):
        check_place(picture)
    stack.enter_context(RunLock(place.lock))
    stack.enter_context(log_to(place.log))
    write_atomic(place.config, yaml.safe_dump(redact(job.config.plain), sort_keys=False))
    job.datamodule.prepare_data()
    metrics = MetricsCsv(place.metrics)
    if (usable := resume_checkpoint(place)) is None:
        metrics.truncate(-1)  # rows of a start that was killed before its first checkpoint
        _initialize(model, job.datamodule, job.config.seed)
        return Start(train=True, weights=dict(model.state_dict()))
    os.replace(usable, place.last_checkpoint)
    checkpoint = load_checkpoint(place.last_checkpoint, mmap=True)
    record = training_record(checkpoint, place.last_checkpoint)
    if change := other_code(codes_of(record.get("code"))):
        afresh = f"without {place.path} it is trained" if job.config.rerun else "rerun=true trains"
        _log.warning("This run was trained by %s; %s afresh.", change, afresh)
    progress = record["progress"]
    if progress["fraction"] >= 1:
        return Start(train=False)
    set_weights(model, checkpoint, place.last_checkpoint, place)  # the trainer would show a traceback
    _log.info("Going on after %s examples (%s).", f"{progress['examples']:,}", place.last_checkpoint)
    metrics.truncate(progress["examples"])
    return Start(train=True, checkpoint=place.last_checkpoint)


def _finished(place: RunDir, protocol: EvaluationProtocol) -> Result | None:
    path = result_path(place, protocol)
    return read_result(path) if path.exists() else None


def _make_loggers(job: _TrainingJob) -> list[Logger]:
    """Make ``metrics.csv`` and the chosen dashboard; only the first process's write."""
    config, place = job.config, job.place
    dashboard = config.logger.make(
        run_dir=place.path, run_id=place.id, config=redact(config.plain), code_version=code_version()
    )
    return [CsvLogger(place), *(dashboard if isinstance(dashboard, list) else [dashboard])]


@contextmanager
def _closed(loggers: list[Logger]) -> Iterator[None]:
    """Close the loggers whatever happens."""
    status = "failed"
    try:
        yield
        status = "finished"
    except (Interrupted, KeyboardInterrupt):
        status = "interrupted"
        raise
    finally:
        for logger in loggers:
            if isinstance(logger, ClosesRun):
                logger.close(status)


def _show_on_dashboards(loggers: list[Logger], result: Result, place: RunDir) -> None:
    drawn = pictures(place, result.protocol)
    picture = drawn.samples
    for logger in loggers:
        if isinstance(logger, LogsPicture) and picture.exists():
            logger.log_picture("samples/final", picture, result.training.examples_seen)
        if isinstance(logger, LogsPicture) and drawn.reconstructions.exists():
            logger.log_picture("reconstructions/final", drawn.reconstructions, result.training.examples_seen)
        if isinstance(logger, LogsFiles) and (files := written_samples(picture)):
            logger.log_files("samples/final", files, result.training.examples_seen)
        if isinstance(logger, LogsResult):
            logger.log_result(result)


def _fit(trainer: Trainer, model: GenerativeModel, datamodule: GenlabDataModule, start: Start) -> None:
    """Train until the budget is spent, from the last checkpoint if there is one."""
    try:
        trainer.fit(model, datamodule=datamodule, ckpt_path=start.checkpoint, weights_only=True)
    except NonFiniteError:  # in all processes at once
        leave_together()
        raise
    except Interrupted as stopped:
        # A signal that came before the first step is this process's alone: the others wait for it somewhere else.
        leave_together() if stopped.together else stop_helpers(trainer)
        raise
    except SystemExit as error:  # what Lightning makes of a second Ctrl-C
        raise KeyboardInterrupt from error
    except BaseException:
        stop_helpers(trainer)
        raise
    leave_together()


def _keep(place: RunDir, model: GenerativeModel) -> None:
    """Leave a model that comes trained where one that was trained here would be."""
    record = {
        "progress": {"examples": 0, "batches": 0, "seconds": 0.0, "fraction": 1.0},
        "hardware": {},
        "stopped_by": "comes trained",
        "code": [this_code().as_dict()],
    }
    for path in (place.best_checkpoint, place.last_checkpoint):
        AtomicCheckpointIO().save_checkpoint({"state_dict": dict(model.state_dict()), "genlab": record}, path)


def _initialize(model: GenerativeModel, datamodule: GenlabDataModule, seed: int) -> None:
    data, began = datamodule.tensors("train"), time.monotonic()
    rows = torch.randperm(len(data.x), generator=generator(Stream.WEIGHTS, seed, 1))[: model.initial_examples]
    torch.manual_seed(stream_seed(Stream.WEIGHTS, seed, 2))
    first = data.rows(rows)
    model.check(first)
    model.initialize(first)
    # A mixture is fitted here for the most part: what it takes is training, and counts as such.
    model.progress.seconds = time.monotonic() - began
    if not model.learns_by_steps:
        model.progress.examples = len(first.x)
