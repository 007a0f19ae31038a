"""Samples of a protocol, and what they cost."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import torch
from torch import Tensor

from genlab.core.contract import Samples
from genlab.core.noise import ExampleNoise
from genlab.core.randomness import Stream, stream_seed
from genlab.core.timetable import Timetable
from genlab.measure.batches import BatchSizes
from genlab.measure.labels import LabelSource
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
        labels_drawn: How the labels were drawn, see :class:`~genlab.measure.labels.LabelSource`.
    """

    samples: Tensor
    labels: Tensor | None
    ms_per_sample: float
    batch_size: int
    parameters: int
    labels_drawn: str | None = None


@torch.no_grad()
def draw_samples(
    model: Samples,
    protocol: EvaluationProtocol,
    timetable: Timetable | None = None,
    training_labels: Tensor | None = None,
) -> Drawn:
    """Draw the protocol's samples, of a class-conditional model with the labels that they were drawn for.

    Args:
        model: In eval mode.
        protocol: How many samples.
        timetable: Is told how far it is.
        training_labels: ``[N]``, int64; labels are drawn as frequent as these, or uniformly where they are not known.
    """
    timetable = timetable or Timetable()
    with timetable.phase("samples", protocol.num_samples, counts=True):
        return _draw(model, protocol, LabelSource(model, training_labels), timetable)


def _draw(model: Samples, protocol: EvaluationProtocol, source: LabelSource, timetable: Timetable) -> Drawn:
    base, device = stream_seed(Stream.SAMPLES, protocol.seed), model.device

    def draw(start: int, size: int) -> tuple[Tensor, Tensor | None]:
        noise = ExampleNoise(base, start, device)
        y = source.draw(size, noise)
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
    y = torch.cat(labels) if labels else None
    return Drawn(torch.cat(samples), y, milliseconds, largest, reads.count, source.kind)


def describe_sampling(model: Samples, drawn: Drawn) -> dict[str, Any]:
    """Return the ``sampling`` section of a result."""
    cost = {"nfe": model.nfe, "ms_per_sample": drawn.ms_per_sample, "batch_size": drawn.batch_size}
    labels = {} if drawn.labels_drawn is None else {"labels": drawn.labels_drawn}
    return cost | labels | model.sampling_settings
