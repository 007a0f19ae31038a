"""Evaluate a trained run under a protocol."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from omegaconf import DictConfig

from genlab.command.build import build_datamodule, build_model, check_protocol_fits, check_same_data
from genlab.command.command_line import command_line
from genlab.command.config import check_config, read_trained
from genlab.command.console import show_result
from genlab.command.load import find_checkpoint, set_weights
from genlab.command.pictures import draw_pictures, draw_reconstructions, pictures
from genlab.command.schemas import EvaluateConfig, TrainedConfig
from genlab.core.batch import Batch
from genlab.core.errors import GenlabError
from genlab.core.hardware import choose_device
from genlab.core.timetable import Timetable
from genlab.data.base import GenlabDataModule
from genlab.measure.case import Instruments, Reference
from genlab.measure.figures import of_section
from genlab.measure.finished_run import FinishedRun
from genlab.measure.floor import lacks_floor, write_floor
from genlab.measure.likelihood import measure_likelihood
from genlab.measure.measuring import Measured, choose_instruments, measure, reference_of
from genlab.measure.protocol import EvaluationProtocol
from genlab.measure.quality import Quality, measure_quality
from genlab.measure.rehearsal import plan_evaluation
from genlab.measure.result import Result
from genlab.measure.result_sections import CodeInfo, DataInfo, ModelInfo, ReferenceInfo, Training
from genlab.measure.results import new_result, result_path, write_result
from genlab.measure.sampling import draw_samples
from genlab.measure.sliding import check_stride
from genlab.modalities import modality_of
from genlab.models.base import GenerativeModel
from genlab.processes.display import Display
from genlab.runs.checkpoints import CheckpointError, load_checkpoint, training_record
from genlab.runs.code import codes_of, other_code
from genlab.runs.exports import ExportDir
from genlab.runs.finding import find_run
from genlab.runs.folder import RunDir, check_folder, check_place
from genlab.runs.identity import config_hash
from genlab.runs.weights import open_weights
from genlab.training.callbacks.saving import was_chosen

__all__ = ["describe_data", "evaluate_run", "run"]

_log = logging.getLogger("genlab")

_LAST = ("likelihood_last", "quality_last")
_ALONE = "the export holds the best checkpoint alone"


def run(config: DictConfig) -> FinishedRun:
    """Evaluate the run that ``config.run`` names under ``config.evaluation``, and write and show the result.

    Args:
        config: The composed config.

    Returns:
        The run and its result.
    """
    settings = check_config(config, EvaluateConfig)
    if settings.run.endswith(".ckpt"):
        raise GenlabError(f"run is {settings.run}, a checkpoint. Give its run's folder, and checkpoint=best or last.")
    place = find_run(settings.run, settings.paths.logs)
    trained = read_trained(place)
    protocol: EvaluationProtocol = settings.evaluation.make()
    device, timetable = choose_device(settings.device), Timetable()
    command = command_line("scripts/evaluate.py", place.given if isinstance(place, ExportDir) else None)
    with Display(timetable):
        result = evaluate_run(place, trained, protocol, command, settings.checkpoint, device, timetable)
    change = other_code(result.trained_by)
    show_result(result, place, f"Its weights were trained by {change}." if change else "")
    return FinishedRun(place, result)


def evaluate_run(
    place: RunDir,
    config: TrainedConfig,
    protocol: EvaluationProtocol,
    command: str,
    asked: str = "best",
    device: torch.device | None = None,
    timetable: Timetable | None = None,
    datamodule: GenlabDataModule | None = None,
) -> Result:
    """Measure a run's best checkpoint and beside it the last one, by what chose the best, and write the result.

    Args:
        place: The run.
        config: What it was trained with.
        protocol: What is measured, and how.
        command: The command line that makes this result again.
        asked: The checkpoint that the figures shall be of: ``"best"``, which validation chose, or ``"last"``.
        device: Where the figures are computed; by default a GPU where there is one.
        timetable: Is told how far it is.
        datamodule: The data of the config, where it was read before.

    Raises:
        GenlabError: If the run has no finished training.
    """
    if isinstance(place, ExportDir) and place.export.checkpoint == "last":
        asked = "last"
    _check_places(place, protocol, asked)  # before the work, not after it
    timetable = timetable or Timetable()
    opened = _open(place, config, protocol, asked, device or choose_device("auto"), datamodule)
    model, datamodule = opened.model, opened.datamodule
    reference = reference_of(datamodule, protocol.split)
    instruments = choose_instruments(datamodule, protocol, model.device)
    floor = lacks_floor(place, datamodule, protocol, instruments)
    timetable.plan(plan_evaluation(model, reference, instruments, protocol, opened.checkpoints.are_two, floor))
    measured = measure(model, reference, instruments, protocol, timetable)
    _draw(opened, measured, reference, command)
    last = _measure_last(opened, measured, reference, instruments, timetable)
    described = describe_data(datamodule, protocol)
    result = new_result(
        run_id=place.id,
        config_hash=place.export.config_hash if isinstance(place, ExportDir) else config_hash(config.plain),
        command=command,
        data=described,
        seed=config.seed,
        protocol=protocol.describe(),
        **_sections(opened, asked, measured, last),
    )
    write_result(place, result, opened.checkpoints.name)
    if measured.quality.figures is not None:
        write_floor(place, datamodule, described, protocol, command, instruments, timetable)
    return result


def _check_places(place: RunDir, protocol: EvaluationProtocol, asked: str) -> None:
    for path in (result_path(place, protocol, asked), *pictures(place, protocol, asked)):
        check_folder(path.parent)
        check_place(path)


class _Checkpoints(NamedTuple):
    """The last checkpoint, for what the training was, the one to measure, and which that is, ``best`` or ``last``."""

    last: dict[str, Any]
    chosen: dict[str, Any]
    name: str

    @property
    def are_two(self) -> bool:
        """Whether the last one is of another moment than the one to measure."""
        return self.last["genlab"]["progress"] != self.chosen["genlab"]["progress"]

    @property
    def lack_the_last(self) -> bool:
        """Whether an export leaves out the weights of a last one that would be measured too."""
        return self.are_two and "state_dict" not in self.last


class _Opened(NamedTuple):
    """A run whose model has the weights to measure, and under which protocol."""

    place: RunDir
    protocol: EvaluationProtocol
    datamodule: GenlabDataModule
    model: GenerativeModel
    checkpoints: _Checkpoints


def _open(
    place: RunDir,
    config: TrainedConfig,
    protocol: EvaluationProtocol,
    asked: str,
    device: torch.device,
    datamodule: GenlabDataModule | None,
) -> _Opened:
    checkpoints = _open_checkpoints(place, asked)
    datamodule = datamodule or build_datamodule(config)
    check_same_data(place, datamodule.spec)
    check_protocol_fits(protocol, datamodule.spec)
    model = build_model(config, datamodule.spec).to(device).eval().requires_grad_(False)
    check_stride(protocol.stride, datamodule.spec, datamodule.is_one_sequence, model)
    path = place.best_checkpoint if checkpoints.name == "best" else place.last_checkpoint
    set_weights(model, checkpoints.chosen, path, place)
    return _Opened(place, protocol, datamodule, model, checkpoints)


def _draw(opened: _Opened, measured: Measured, reference: Reference, command: str) -> None:
    model = opened.model
    title = f"{model.name} on {model.spec.name}, run {opened.place.id}: {command}"
    paths = pictures(opened.place, opened.protocol, opened.checkpoints.name)
    draw_pictures(paths, title, measured, reference)
    draw_reconstructions(model, paths, title, reference, measured.sampling)


class _Last(NamedTuple):
    """What is known of the last checkpoint's likelihood and of its samples."""

    likelihood: dict[str, Any] | None
    quality: Quality | None


def _measure_last(
    opened: _Opened, measured: Measured, reference: Reference, instruments: Instruments, timetable: Timetable
) -> _Last:
    """Measure the last checkpoint by what chose the best, unless it is the one that was measured."""
    place, protocol, _, model, checkpoints = opened
    if checkpoints.lack_the_last:
        return _Last(None, None)
    if not checkpoints.are_two:
        return _Last(measured.likelihood, measured.quality)
    set_weights(model, checkpoints.last, place.last_checkpoint, place)
    likelihood = measure_likelihood(model, reference.examples, protocol, timetable)
    if not model.chosen_by_samples:  # the likelihood says what the choice was worth, at no cost of samples
        return _Last(likelihood, measured.quality)
    drawn = draw_samples(model, protocol, timetable, reference.training_labels)
    samples = Batch(drawn.samples, drawn.labels)
    return _Last(likelihood, measure_quality(samples, reference, instruments, timetable=timetable))


def _sections(opened: _Opened, asked: str, measured: Measured, last: _Last) -> dict[str, Any]:
    """Return the sections of a result that say what was found, and why some of it is null."""
    model, checkpoints = opened.model, opened.checkpoints
    known = ReferenceInfo(true_entropy_nats=opened.datamodule.true_entropy())
    chosen_by = None if checkpoints.chosen is checkpoints.last else model.monitor
    why_unknown = "others have trained it" if model.comes_trained else _why_not_chosen(model, asked, checkpoints.name)
    training = Training.elsewhere() if model.comes_trained else _describe_training(checkpoints.last, chosen_by)
    missing = {
        **_reasons(model, {"likelihood": measured.likelihood, "likelihood_last": last.likelihood}, known),
        **measured.quality.missing(),
        **(last.quality.missing("quality_last") if model.chosen_by_samples and last.quality else {}),
        **dict.fromkeys(training.unknown(), why_unknown),
        **(dict.fromkeys(_LAST if model.chosen_by_samples else _LAST[:1], _ALONE) if checkpoints.lack_the_last else {}),
    }
    return {
        "model": _describe_model(model, measured.parameters),
        "training": training,
        "likelihood": measured.likelihood,
        "likelihood_last": last.likelihood,
        "quality": measured.quality.figures,
        "sampling": measured.sampling,
        "reference": known,
        "missing": missing,
        **({"quality_last": last.quality and last.quality.figures} if model.chosen_by_samples else {}),
    }


def _open_checkpoints(place: RunDir, checkpoint: str) -> _Checkpoints:
    """Read the last checkpoint, for what the training was, and the one to measure."""
    if isinstance(place, ExportDir):
        return _open_export(place, checkpoint)
    if not place.last_checkpoint.exists():
        raise GenlabError(f"{place.path} has no checkpoint yet. Train it first.")
    last = load_checkpoint(place.last_checkpoint, mmap=True)
    if training_record(last, place.last_checkpoint)["progress"]["fraction"] < 1:
        raise GenlabError(f"{place.path} is not trained to the end. Give its command again first.")
    if checkpoint == "last":
        return _Checkpoints(last, last, "last")
    try:
        best = load_checkpoint(place.best_checkpoint, mmap=True)
        training_record(best, place.best_checkpoint)
        # Where nothing chose, the "best" is the newest that was validated: it stands there for the last.
        return _Checkpoints(last, best if was_chosen(best) else last, "best")
    except CheckpointError as error:
        _log.warning("%s The figures are of the last checkpoint.", error)
        return _Checkpoints(last, last, "last")


def _open_export(place: ExportDir, asked: str) -> _Checkpoints:
    """Read the one checkpoint of an export; where it is not the last, of that only the training is known."""
    chosen = open_weights(place, find_checkpoint(place, place.given, asked))
    if asked == "last" or place.export.chosen_by is None:
        return _Checkpoints(chosen, chosen, asked)
    return _Checkpoints({"genlab": place.export.training.model_dump(mode="json")}, chosen, "best")


def _describe_model(model: GenerativeModel, parameters_to_sample: int | None) -> ModelInfo:
    # What no step trains may be in no parameter whose reads could be counted.
    are_counted = model.learns_by_steps or parameters_to_sample
    return ModelInfo(
        name=model.name,
        family=model.family,
        variant=model.variant,
        parameters=model.num_parameters,
        parameters_to_sample=parameters_to_sample if are_counted else model.num_parameters,
    )


def describe_data(datamodule: GenlabDataModule, protocol: EvaluationProtocol) -> DataInfo:
    """Return the ``data`` section of a result."""
    spec = datamodule.spec
    return DataInfo(
        name=spec.name,
        split=datamodule.split_name(protocol.split, protocol.stride),
        modality=spec.modality,
        shape=spec.shape,
        levels=spec.levels,
        num_classes=spec.num_classes,
        unit=modality_of(spec).bits_unit(spec) if spec.is_discrete else "nats",
        **({"columns": tuple(field.name for field in spec.fields)} if spec.fields else {}),
    )


def _why_not_chosen(model: GenerativeModel, asked: str, opened: str) -> str:
    if asked == "last":
        return "it was asked for"
    return f"validation did not measure {model.monitor}" if opened == "best" else "the best cannot be read"


def _describe_training(last: dict[str, Any], chosen_by: str | None) -> Training:
    progress, hardware = last["genlab"]["progress"], last["genlab"]["hardware"]
    return Training(
        examples_seen=progress["examples"],
        # Not Lightning's global_step, which counts the steps of several optimizers together.
        optimizer_steps=progress["batches"],
        wall_seconds=progress["seconds"],
        device=hardware["device"],
        precision=hardware["precision"],
        peak_memory_bytes=hardware["peak_memory_bytes"],
        examples_per_second=progress["examples"] / progress["seconds"],
        stopped_by=last["genlab"]["stopped_by"],
        checkpoint="best" if chosen_by else "last",
        chosen_by=chosen_by,
        code=tuple(CodeInfo(**code.as_dict()) for code in codes_of(last["genlab"].get("code"))),
    )


def _reasons(
    model: GenerativeModel, likelihoods: Mapping[str, Mapping[str, Any] | None], reference: ReferenceInfo
) -> dict[str, str]:
    """Say of each likelihood, by its section, and of the reference why it is null where it is."""
    reasons = {}
    for section, measured in likelihoods.items():
        if measured is None:
            reasons[section] = _why_no_likelihood(model)
            continue
        for part, figures in ((section, measured), (f"{section}.one_draw", measured.get("one_draw") or {})):
            for key in (key for figure in of_section("likelihood") for key in (figure.key, figure.spread)):
                if figures.get(key, 0) is None:
                    reasons[f"{part}.{key}"] = "the data is continuous: nats depend on its units"
    if reference.true_entropy_nats is None:
        reasons["reference.true_entropy_nats"] = "the distribution of the data is not known"
    return reasons


def _why_no_likelihood(model: GenerativeModel) -> str:
    family_has_one = type(model)._log_prob is not GenerativeModel._log_prob
    return (
        f"this {model.name} was made without a likelihood"
        if family_has_one
        else f"the {model.family} family has no likelihood"
    )
