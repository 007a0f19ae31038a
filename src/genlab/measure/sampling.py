"""Samples of a protocol, and what they cost."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import torch
from torch import Tensor

from genlab.core.contract import Samples
from genlab.core.randomness import Stream, generator
from genlab.core.timetable import Timetable
from genlab.measure.protocol import EvaluationProtocol
from genlab.measure.reads import ParameterReads

__all__ = ["Drawn", "describe_sampling", "draw_samples"]


class Drawn(NamedTuple):
    """The samples of a protocol.

    Attributes:
        samples: ``[N, *spec.shape]``, on the CPU.
        labels: ``[N]``, int64, on the CPU: the classes that they were drawn for, or None where none were asked for.
        ms_per_sample: Milliseconds that one cost.
        parameters: How many of the model's parameters they need.
    """

    samples: Tensor
    labels: Tensor | None
    ms_per_sample: float
    parameters: int


@torch.no_grad()
def draw_samples(model: Samples, protocol: EvaluationProtocol, timetable: Timetable | None = None) -> Drawn:
    """Draw the protocol's samples, with their labels where the protocol needs them and the model takes them.

    Args:
        model: In eval mode.
        protocol: How many samples, in which batches.
        timetable: Is told how far it is.
    """
    timetable = timetable or Timetable()
    with timetable.phase("samples", protocol.num_samples, counts=True):
        return _draw(model, protocol, timetable)


def _draw(model: Samples, protocol: EvaluationProtocol, timetable: Timetable) -> Drawn:
    samples: list[Tensor] = []
    labels: list[Tensor] = []
    labelled = protocol.classification_accuracy and model.conditional
    with ParameterReads(model.parameters()) as reads:  # which slows it down; it warms up and is not timed
        model.sample(1, generator=generator(Stream.SAMPLES, protocol.seed, device=model.device))
    started = time.perf_counter()
    for start in range(0, protocol.num_samples, protocol.batch_size):
        count = min(protocol.batch_size, protocol.num_samples - start)
        noise = generator(Stream.SAMPLES, protocol.seed, start, device=model.device)
        y = None
        if labelled:
            y = torch.randint(model.spec.num_classes or 1, (count,), generator=noise, device=model.device)
            labels.append(y.cpu())
        samples.append(model.sample(count, y, generator=noise).cpu())
        timetable.advance(count)
    milliseconds = 1000 * (time.perf_counter() - started)
    of_each = torch.cat(labels) if labels else None
    return Drawn(torch.cat(samples), of_each, milliseconds / protocol.num_samples, reads.count)


def describe_sampling(model: Samples, protocol: EvaluationProtocol, ms_per_sample: float) -> dict[str, Any]:
    """Return the ``sampling`` section of a result."""
    batch_size = min(protocol.batch_size, protocol.num_samples)
    return {"nfe": model.nfe, "ms_per_sample": ms_per_sample, "batch_size": batch_size} | model.sampling_settings
