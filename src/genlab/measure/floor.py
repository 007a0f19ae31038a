"""The floor of a table: what the quality figures are when real data takes the place of samples."""

from __future__ import annotations

import hashlib
import json

import torch

from genlab.core.randomness import Stream, generator
from genlab.data.base import GenlabDataModule
from genlab.measure.case import Instruments
from genlab.measure.measuring import reference_of
from genlab.measure.protocol import EvaluationProtocol
from genlab.measure.quality import MIN_SAMPLES, measure_quality
from genlab.measure.result import DataInfo, ModelInfo, Training
from genlab.measure.results import new_result, result_path, write_result
from genlab.runs.folder import RunDir

__all__ = ["write_floor"]


def write_floor(
    place: RunDir,
    datamodule: GenlabDataModule,
    data: DataInfo,
    protocol: EvaluationProtocol,
    command: str,
    instruments: Instruments,
    extractor_sha256: str | None,
) -> None:
    """Write the floor beside a run, once for all that it depends on: ``runs/<data>/floor/floor-<hash>``.

    As many training examples as the protocol draws samples are compared with the test split, as if a model that was
    trained on the others had drawn them. No model can be expected to do better with so many samples.

    Args:
        place: The run whose protocol it is; nothing is written where it does not lie under ``runs``.
        datamodule: The data.
        data: The ``data`` section of the run's result.
        protocol: The protocol.
        command: The command that was given.
        instruments: What samples are judged with, as for the run itself.
        extractor_sha256: Checksum of the extractor that the run's figures rest on; None without one.
    """
    if place.path.absolute().parts[-4:-3] != ("runs",):
        return
    train = datamodule.tensors("train")
    identity = _identity(data.name, protocol, len(train.x), extractor_sha256)
    floor = RunDir(place.path.parent.parent / "floor" / f"floor-{identity[:12]}")
    if result_path(floor, protocol).exists():
        return
    order = torch.randperm(len(train.x), generator=generator(Stream.SAMPLES, protocol.seed))
    count = min(protocol.num_samples, len(train.x) - MIN_SAMPLES)
    rows = order[:count]
    quality = measure_quality(train.rows(rows), reference_of(datamodule, protocol.split), instruments, rows=rows)
    if quality.figures is None:
        return
    result = new_result(
        run_id=floor.id,
        config_hash=identity,
        command=command,
        model=ModelInfo(name="floor", family="floor", variant=f"{count:,} training examples", parameters=0),
        data=data,
        seed=protocol.seed,
        training=_NOTHING,
        likelihood=None,
        likelihood_last=None,
        quality=quality.figures,
        sampling=None,
        protocol=protocol.describe(),
        reference=None,
        missing=dict.fromkeys(_UNKNOWN, "real data, not a model") | quality.missing(),
    )
    floor.create()
    write_result(floor, result)


def _identity(data: str, protocol: EvaluationProtocol, training_examples: int, extractor_sha256: str | None) -> str:
    # Without the last two a floor would outlive a change of data.train_size or of the shipped extractor.
    parts = [f"floor of {data}", protocol.hash, training_examples, extractor_sha256]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


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
    "reference",
    *(f"training.{name}" for name, value in _NOTHING if value is None and name in _NOTHING),
)
