"""The floor of a table: what the quality figures are when real data takes the place of samples."""

from __future__ import annotations

import contextlib
import hashlib
import json
from typing import Any

import torch
from torch import Tensor

from genlab.core.errors import GenlabError
from genlab.core.randomness import Stream, generator, some_of
from genlab.core.timetable import Timetable
from genlab.core.words import counted
from genlab.data.base import GenlabDataModule
from genlab.measure.case import Instruments
from genlab.measure.measuring import reference_of
from genlab.measure.protocol import EvaluationProtocol
from genlab.measure.quality import MIN_SAMPLES, Quality, count_pairs, measure_quality
from genlab.measure.result_sections import DataInfo, ModelInfo, ReferenceInfo, Training
from genlab.measure.results import new_result, read_result, result_path, write_result
from genlab.modalities import modality_of
from genlab.runs.folder import RunDir

__all__ = ["PICTURE_SAMPLES", "lacks_floor", "write_floor"]

PICTURE_SAMPLES = 64
"""Samples in a picture of a kind of data that shows them one by one."""


def write_floor(
    place: RunDir,
    datamodule: GenlabDataModule,
    data: DataInfo,
    protocol: EvaluationProtocol,
    command: str,
    instruments: Instruments,
    timetable: Timetable | None = None,
) -> None:
    """Write the floor beside a run, once for all that it depends on: ``runs/<data>/floor/floor-<hash>``.

    As many training examples as the protocol draws samples are compared with the test split, as if a model that was
    trained on the others had drawn them. No model can be expected to do better with so many samples. A picture shows
    some of them as samples are shown.

    Args:
        place: The run whose protocol it is; nothing is written where it does not lie under ``runs``.
        datamodule: The data.
        data: The ``data`` section of the run's result.
        protocol: The protocol.
        command: The command that was given.
        instruments: What samples are judged with, as for the run itself.
        timetable: Is told how far it is.
    """
    if not _has_floor(place):
        return
    train = datamodule.tensors("train")
    floor, identity = _locate(place, datamodule, protocol, instruments)
    order = torch.randperm(len(train.x), generator=generator(Stream.SAMPLES, protocol.seed))
    count = min(protocol.num_samples, len(train.x) - MIN_SAMPLES)
    rows = order[:count]
    if not result_path(floor, protocol).exists():
        reference = reference_of(datamodule, protocol.split)
        with (timetable or Timetable()).phase("floor", count_pairs(count, reference), like="figures"):
            quality = measure_quality(train.rows(rows), reference, instruments, rows=rows)
        if quality.figures is None:
            return
        result = new_result(
            run_id=floor.id,
            config_hash=identity,
            command=command,
            data=data,
            seed=protocol.seed,
            protocol=protocol.describe(),
            **_sections(quality, count, datamodule.true_entropy()),
        )
        floor.create()
        write_result(floor, result)
    _draw(floor, datamodule, protocol, rows, command)


def _sections(quality: Quality, count: int, entropy: float | None) -> dict[str, Any]:
    """The sections of a result that say what a model, its training and its figures are, where there is no model."""
    # Tables tell distributions of one name apart by the entropy: without it the floor would stand in a table alone.
    unknown = {} if entropy is not None else {"reference.true_entropy_nats": "the distribution is not known"}
    return {
        "model": ModelInfo(
            name="floor",
            family="floor",
            variant=counted(count, "training example"),
            parameters=0,
            parameters_to_sample=0,
        ),
        "training": _NOTHING,
        "likelihood": None,
        "likelihood_last": None,
        "quality": quality.figures,
        "sampling": None,
        "reference": ReferenceInfo(true_entropy_nats=entropy),
        "missing": dict.fromkeys(_UNKNOWN, "real data, not a model") | unknown | quality.missing(),
    }


def _draw(place: RunDir, data: GenlabDataModule, protocol: EvaluationProtocol, rows: Tensor, command: str) -> None:
    """Draw real data as the samples of models are drawn, once: what to compare these with."""
    path = place.samples / f"{protocol.name}.png"
    if path.exists():
        return
    spec, modality = data.spec, modality_of(data.spec)
    count = modality.shown(PICTURE_SAMPLES)
    real = some_of(data.tensors(protocol.split).x, count)
    shown, labels, *_ = data.tensors("train").rows(rows[:count])
    modality.write(shown, spec, path.with_suffix(""), labels)
    modality.preview(shown, spec, path, f"training examples of {spec.name}, {place.id}: {command}", real)


def lacks_floor(
    place: RunDir, datamodule: GenlabDataModule, protocol: EvaluationProtocol, instruments: Instruments
) -> bool:
    """Whether `write_floor` has anything to measure for a run."""
    floor, _ = _locate(place, datamodule, protocol, instruments)
    return _has_floor(place) and not result_path(floor, protocol).exists()


def _has_floor(place: RunDir) -> bool:
    return place.path.absolute().parts[-4:-3] == ("runs",)


def _locate(
    place: RunDir, datamodule: GenlabDataModule, protocol: EvaluationProtocol, instruments: Instruments
) -> tuple[RunDir, str]:
    extractor = instruments.extractor
    sha256 = None if extractor is None else extractor.sha256
    spec = datamodule.spec
    # Without the last two a floor would outlive a change of data.train_size or of the shipped extractor.
    parts = [f"floor of {spec.name}", protocol.hash, len(datamodule.tensors("train").x), sha256]
    found, identity = _place(place, parts)
    # Settings of data may change these and no name; a table has rows that agree in them.
    examples = [datamodule.split_name(protocol.split, protocol.stride), list(spec.shape), spec.levels]
    with contextlib.suppress(GenlabError):
        data = read_result(result_path(found, protocol)).data
        if [data.split, list(data.shape), data.levels] != examples:
            return _place(place, [*parts, *examples])
    return found, identity


def _place(place: RunDir, parts: list[Any]) -> tuple[RunDir, str]:
    identity = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    return RunDir(place.path.parent.parent / "floor" / f"floor-{identity[:12]}"), identity


_NOTHING = Training(
    examples_seen=0,
    optimizer_steps=0,
    wall_seconds=None,
    device="none",
    precision="none",
    peak_memory_bytes=None,
    examples_per_second=None,
    stopped_by="nothing is trained",
    checkpoint="none",
)
_UNKNOWN = (
    "likelihood",
    "likelihood_last",
    "sampling",
    *(f"training.{name}" for name, value in _NOTHING if value is None and name in _NOTHING),
)
