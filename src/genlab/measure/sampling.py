"""Samples of a protocol, and what they cost."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import torch
from torch import Tensor

from genlab.core.contract import Samples
from genlab.core.noise import ExampleNoise, integers
from genlab.core.randomness import Stream, stream_seed
from genlab.core.timetable import Timetable
from genlab.measure.batches import BatchSizes
from genlab.measure.protocol import EvaluationProtocol
from genlab.measure.reads import ParameterReads

__all__ = ["Drawn", "describe_sampling", "draw_samples"]


class Drawn(NamedTuple):
    """The samples of a protocol.

    Attributes:
        samples: ``[N, *spec.shape]``, on the CPU.
        labels: ``[N]``, int64, on the CPU: the classes that they were drawn for, or None where the model is given none.
        ms_per_sample: Milliseconds that one cost.
        batch_size: Samples that were drawn at once.
        parameters: How many of the model's parameters they need.
    """

    samples: Tensor
    labels: Tensor | None
    ms_per_sample: float
    batch_size: int
    parameters: int


@torch.no_grad()
def draw_samples(model: Samples, protocol: EvaluationProtocol, timetable: Timetable | None = None) -> Drawn:
    """Draw the protocol's samples, of a class-conditional model with the labels that they were drawn for.

    Args:
        model: In eval mode.
        protocol: How many samples.
        timetable: Is told how far it is.
    """
    timetable = timetable or Timetable()
    with timetable.phase("samples", protocol.num_samples, counts=True):
        return _draw(model, protocol, timetable)


def _draw(model: Samples, protocol: EvaluationProtocol, timetable: Timetable) -> Drawn:
    base, device = stream_seed(Stream.SAMPLES, protocol.seed), model.device

    def draw(start: int, size: int) -> tuple[Tensor, Tensor | None]:
        noise = ExampleNoise(base, start, device)
        y = integers(model.spec.num_classes or 1, size, noise, device) if model.conditional else None
        return model.sample(size, y, generator=noise).cpu(), None if y is None else y.cpu()

    sizes = BatchSizes(protocol.batch_size, device)
    count = min(sizes.warm_up, protocol.num_samples)
    with ParameterReads(model.parameters()) as reads, sizes.learning(count):  # the reads slow it down: it is not timed
        draw(0, count)
    samples: list[Tensor] = []
    labels: list[Tensor] = []
    started = time.perf_counter()
    for drawn, y in sizes.each(protocol.num_samples, draw):
        samples.append(drawn)
        labels += [] if y is None else [y]
        timetable.advance(len(drawn))
    milliseconds = 1000 * (time.perf_counter() - started) / protocol.num_samples
    largest = max(map(len, samples))
    return Drawn(torch.cat(samples), torch.cat(labels) if labels else None, milliseconds, largest, reads.count)


def describe_sampling(model: Samples, drawn: Drawn) -> dict[str, Any]:
    """Return the ``sampling`` section of a result."""
    cost = {"nfe": model.nfe, "ms_per_sample": drawn.ms_per_sample, "batch_size": drawn.batch_size}
    return cost | model.sampling_settings
