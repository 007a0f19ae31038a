"""Evaluate a trained run under a protocol."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from genlab.command.build import build_datamodule, build_model
from genlab.command.command_line import command_line
from genlab.command.config import check_config, read_trained
from genlab.command.console import show_result
from genlab.command.schemas import EvaluateConfig, TrainedConfig
from genlab.core.batch import Batch
from genlab.core.errors import GenlabError
from genlab.core.hardware import choose_device, device_name
from genlab.data.base import GenlabDataModule
from genlab.measure.evaluation import Drawn, draw_samples, evaluate_likelihood, evaluate_sampling
from genlab.measure.features.cache import FeatureCache
from genlab.measure.features.inception import load_inception
from genlab.measure.floor import write_floor
from genlab.measure.protocol import EvaluationProtocol
from genlab.measure.quality import Quality, QualityOptions, evaluate_quality
from genlab.measure.results import new_result, result_path, write_result
from genlab.modalities.pictures import samples_in_a_picture, save_pairs, save_samples
from genlab.models.base import GenerativeModel
from genlab.runs.checkpoints import CheckpointError, load_checkpoint
from genlab.runs.folder import RunDir, find_run
from genlab.runs.identity import config_hash

__all__ = ["evaluate_run", "run"]

PICTURE_SAMPLES = 64

_log = logging.getLogger("genlab")


def run(config: DictConfig) -> dict[str, Any]:
    """Evaluate the run that ``config.run`` names under ``config.evaluation``, and write and show the result.

    Args:
        config: The composed config.

    Returns:
        The result and, as ``run_dir``, the run's folder.
    """
    settings = check_config(config, EvaluateConfig)
    if settings.run.endswith(".ckpt"):
        raise GenlabError(f"run is {settings.run}, a checkpoint. Give its run's folder, and checkpoint=best or last.")
    place = find_run(settings.run, settings.paths.logs)
    trained = read_trained(place)
    protocol: EvaluationProtocol = settings.evaluation.make()
    result = evaluate_run(
        place,
        trained,
        protocol,
        command_line("scripts/evaluate.py"),
        settings.checkpoint,
        choose_device(settings.device),
    )
    show_result(result, place)
    return {**result, "run_dir": str(place.path)}


def evaluate_run(
    place: RunDir,
    config: TrainedConfig,
    protocol: EvaluationProtocol,
    command: str,
    checkpoint: str = "best",
    device: torch.device | None = None,
) -> dict[str, Any]:
    """Measure a run's best checkpoint and beside it the last one, by what chose the best, and write the result.

    Args:
        place: The run.
        config: What it was trained with.
        protocol: What is measured, and how.
        command: The command line that makes this result again.
        checkpoint: The checkpoint that the figures are of: ``"best"``, which validation chose, or ``"last"``.
        device: Where the figures are computed; by default a GPU where there is one.

    Raises:
        GenlabError: If the run has no finished training.
    """
    result_path(place, protocol.describe(), checkpoint)  # before the work, not after it
    last, chosen, checkpoint = _open_checkpoints(place, checkpoint)
    datamodule = build_datamodule(config)
    model = build_model(config).to(device or choose_device("auto")).eval().requires_grad_(False)
    model.load_state_dict(chosen["state_dict"])
    data = datamodule.tensors(protocol.split)
    likelihood = evaluate_likelihood(model, data, protocol)
    drawn = draw_samples(model, protocol)
    # Before other samples are drawn: an adaptive sampler counts what all of them cost.
    sampling = evaluate_sampling(model, protocol, drawn.ms_per_sample) | {"device": device_name(model.device)}
    options = _quality_options(datamodule, protocol, model.device)

    def compare(drawn: Drawn) -> Quality:
        training = datamodule.tensors("train")
        return evaluate_quality(drawn.samples, data, training, protocol.split, model.spec, options, drawn.labels)

    quality = quality_last = compare(drawn)
    stem = protocol.name if checkpoint == "best" else f"{protocol.name}.last"  # as in the results' names
    title = f"{model.name} on {model.spec.name}, run {place.id}: {command}"
    _draw_pictures(place.samples / stem, title, drawn, quality, data, datamodule)
    likelihood_last = likelihood
    if last["genlab"]["progress"] != chosen["genlab"]["progress"]:
        model.load_state_dict(last["state_dict"])
        likelihood_last = evaluate_likelihood(model, data, protocol)
        if model.chosen_by_samples:  # of others the likelihood says what the choice was worth, at no cost of samples
            quality_last = compare(draw_samples(model, protocol))
    result = new_result(
        run_id=place.id,
        config_hash=config_hash(config.plain),
        command=command,
        model=_describe_model(model),
        data=_describe_data(datamodule, protocol),
        seed=config.seed,
        training=_describe_training(last, checkpoint),
        likelihood=likelihood,
        likelihood_last=likelihood_last,
        quality=quality.figures,
        sampling=sampling,
        protocol=protocol.describe(),
        reference={"true_entropy_nats": datamodule.true_entropy()},
    )
    result["missing"] = _reasons(result) | quality.missing()
    if model.chosen_by_samples:
        result["quality_last"] = quality_last.figures
        result["missing"] |= quality_last.missing("quality_last")
    write_result(place, result)
    if quality.figures is not None:
        extractor = quality.figures["extractor_sha256"]
        write_floor(place, datamodule, result["data"], protocol, command, options, extractor)
    return result


def _draw_pictures(
    stem: Path, title: str, drawn: Drawn, quality: Quality, test: Batch, datamodule: GenlabDataModule
) -> None:
    spec, samples = datamodule.spec, drawn.samples
    shown = samples[: samples_in_a_picture(spec, PICTURE_SAMPLES)]
    save_samples(shown, spec, stem.with_name(f"{stem.name}.png"), title, test.x[: len(shown)])
    if quality.pairs is not None:
        near, nearest = samples[quality.pairs[0]], datamodule.tensors("train").x[quality.pairs[1]]
        save_pairs(near, nearest, spec, stem.with_name(f"{stem.name}_neighbours.png"), title)


def _quality_options(
    datamodule: GenlabDataModule, protocol: EvaluationProtocol, device: torch.device
) -> QualityOptions:
    # Data that does not come in files is small, and need not have a folder.
    folder = datamodule.root / "genlab_cache" if datamodule.archives else None
    weights = protocol.inception_weights
    return QualityOptions(
        FeatureCache(folder),
        None if weights is None else load_inception(weights, device),
        protocol.classification_accuracy,
    )


def _open_checkpoints(place: RunDir, checkpoint: str) -> tuple[dict[str, Any], dict[str, Any], str]:
    """Read the last checkpoint, for what the training was, and the one to measure; return which that is."""
    if not place.last_checkpoint.exists():
        raise GenlabError(f"{place.path} has no checkpoint yet. Train it first.")
    last = load_checkpoint(place.last_checkpoint, mmap=True)
    if last["genlab"]["progress"]["fraction"] < 1:
        raise GenlabError(f"{place.path} is not trained to the end. Give its command again first.")
    if checkpoint == "last":
        return last, last, "last"
    try:
        return last, load_checkpoint(place.best_checkpoint, mmap=True), "best"
    except CheckpointError as error:
        _log.warning("%s The figures are of the last checkpoint.", error)
        return last, last, "last"


def _describe_model(model: GenerativeModel) -> dict[str, Any]:
    parameters = sum(p.numel() for p in model.parameters())
    return {"name": model.name, "family": model.family, "variant": model.variant, "parameters": parameters}


def _describe_data(datamodule: GenlabDataModule, protocol: EvaluationProtocol) -> dict[str, Any]:
    spec = datamodule.spec
    return {
        "name": spec.name,
        "split": datamodule.split_name(protocol.split),
        "modality": spec.modality,
        "shape": list(spec.shape),
        "levels": spec.levels,
        "num_classes": spec.num_classes,
    }


def _describe_training(last: dict[str, Any], checkpoint: str) -> dict[str, Any]:
    progress, hardware = last["genlab"]["progress"], last["genlab"]["hardware"]
    return {
        "examples_seen": progress["examples"],
        # Not Lightning's global_step, which counts the steps of several optimizers together.
        "optimizer_steps": progress["batches"],
        "wall_seconds": progress["seconds"],
        "device": hardware["device"],
        "precision": hardware["precision"],
        "peak_memory_bytes": hardware["peak_memory_bytes"],
        "examples_per_second": progress["examples"] / progress["seconds"],
        "stopped_by": last["genlab"]["stopped_by"],
        "checkpoint": checkpoint,
    }


def _reasons(result: dict[str, Any]) -> dict[str, str]:
    """Say of each figure that is null why it is."""
    reasons = {}
    for section in ("likelihood", "likelihood_last"):
        if result[section] is None:
            reasons[section] = f"the {result['model']['family']} family has no likelihood"
            continue
        for part in (section, *([f"{section}.one_draw"] if "one_draw" in result[section] else [])):
            if result["data"]["levels"] is None:
                for figure in ("bits_per_dim", "bits_per_dim_se"):
                    reasons[f"{part}.{figure}"] = "the data is continuous: nats depend on its units"
    if result["reference"]["true_entropy_nats"] is None:
        reasons["reference.true_entropy_nats"] = "the distribution of the data is not known"
    return reasons
