"""Evaluate the samples of anybody's program under a protocol, as those of a run."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf

from genlab.command.build import build_datamodule, check_protocol_fits
from genlab.command.command_line import command_line
from genlab.command.config import check_config
from genlab.command.console import show_result
from genlab.command.evaluate import describe_data
from genlab.command.pictures import draw_pictures, pictures
from genlab.command.schemas import EvaluateSamplesConfig
from genlab.core.batch import Batch
from genlab.core.hardware import choose_device
from genlab.core.randomness import Stream, generator
from genlab.core.timetable import Timetable
from genlab.core.words import counted
from genlab.data.base import GenlabDataModule
from genlab.measure.finished_run import FinishedRun
from genlab.measure.floor import write_floor
from genlab.measure.measuring import Measured, choose_instruments, measure, reference_of
from genlab.measure.protocol import EvaluationProtocol
from genlab.measure.result import Result
from genlab.measure.result_sections import ModelInfo, ReferenceInfo, Training
from genlab.measure.results import new_result, result_path, write_result
from genlab.processes.display import Display
from genlab.runs.folder import RunDir, check_folder, check_name, check_place
from genlab.uses.foreign import read_samples

__all__ = ["run"]


def run(config: DictConfig) -> FinishedRun:
    """Measure the samples in ``config.samples`` against ``config.data`` as a run's are, and write and show the result.

    Of more than ``evaluation.num_samples`` as many are measured, drawn by chance but always the same: files are often
    in the order of labels. The result stands among those of runs, marked as foreign.

    Args:
        config: The composed config; the budget that the data brings is one of trainings.

    Returns:
        Where the result stands, and the result.
    """
    config = OmegaConf.masked_copy(config, [key for key in config if key != "budget"])
    settings = check_config(config, EvaluateSamplesConfig)
    check_name("name", settings.name)
    protocol: EvaluationProtocol = settings.evaluation.make()
    datamodule = build_datamodule(settings)
    check_protocol_fits(protocol, datamodule.spec)
    samples = read_samples(Path(settings.samples), datamodule.spec)
    if len(samples.x) > protocol.num_samples:
        order = torch.randperm(len(samples.x), generator=generator(Stream.SAMPLES, protocol.seed))
        samples = samples.rows(order[: protocol.num_samples])
    identity = _identity(samples, settings.trained_on)
    place = RunDir.locate(settings.paths.logs, datamodule.spec.name, settings.name, f"foreign-{identity[:12]}")
    command, timetable = command_line("scripts/evaluate.py"), Timetable()
    for path in (result_path(place, protocol), *pictures(place, protocol)):
        check_folder(path.parent)
        check_place(path)
    reference = reference_of(datamodule, protocol.split)
    with Display(timetable):
        instruments = choose_instruments(datamodule, protocol, choose_device(settings.device))
        measured = measure(samples, reference, instruments, protocol, timetable)
        result = _result(settings, datamodule, protocol, measured, place, identity, command)
        title = f"{settings.name}, foreign samples of {datamodule.spec.name}, {place.id}: {command}"
        draw_pictures(pictures(place, protocol), title, measured, reference)
        write_result(place, result)
        if measured.quality.figures is not None:
            write_floor(place, datamodule, result.data, protocol, command, instruments, timetable)
    few = f"{settings.samples} holds fewer samples than the protocol's {protocol.num_samples:,}: compare with care."
    show_result(result, place, few if len(samples.x) < protocol.num_samples else "")
    return FinishedRun(place, result)


def _result(
    settings: EvaluateSamplesConfig,
    datamodule: GenlabDataModule,
    protocol: EvaluationProtocol,
    measured: Measured,
    place: RunDir,
    identity: str,
    command: str,
) -> Result:
    trained_on = settings.trained_on or "not declared"
    training = Training.elsewhere()
    return new_result(
        run_id=place.id,
        config_hash=identity,
        command=command,
        model=ModelInfo(
            name=settings.name,
            family="foreign",
            variant=f"{counted(len(measured.samples.x), 'foreign sample')}, trained on: {trained_on}",
            parameters=None,
            parameters_to_sample=None,
        ),
        data=describe_data(datamodule, protocol),
        seed=protocol.seed,
        training=training,
        likelihood=None,
        likelihood_last=None,
        quality=measured.quality.figures,
        sampling=None,
        protocol=protocol.describe(),
        reference=ReferenceInfo(true_entropy_nats=datamodule.true_entropy()),
        missing={
            **dict.fromkeys(("likelihood", "likelihood_last"), "foreign samples have none"),
            **dict.fromkeys(
                ("sampling", "model.parameters", "model.parameters_to_sample", *training.unknown()), "not declared"
            ),
            **({"reference.true_entropy_nats": "not known"} if datamodule.true_entropy() is None else {}),
            **measured.quality.missing(),
        },
    )


def _identity(samples: Batch, trained_on: str | None) -> str:
    """Return what tells these samples from others."""
    x = samples.x
    digest = hashlib.sha256(f"{list(x.shape)} {x.dtype} {trained_on}\n".encode())
    digest.update(x.contiguous().numpy().tobytes())
    if samples.y is not None:
        digest.update(samples.y.contiguous().numpy().tobytes())
    return digest.hexdigest()
