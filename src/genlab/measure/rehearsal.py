"""What an evaluation has to do, and how long that will take: foretold from a little of each part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from genlab.core.batch import Batch
from genlab.core.contract import Evaluable
from genlab.core.noise import ExampleNoise
from genlab.core.randomness import Stream, stream_seed
from genlab.core.timetable import Phase, Timetable
from genlab.measure.batches import BatchSizes
from genlab.measure.case import Case, Instruments, Reference
from genlab.measure.likelihood import count_examples, measure_likelihood
from genlab.measure.protocol import EvaluationProtocol
from genlab.measure.quality import MIN_SAMPLES, count_pairs, measure_quality

__all__ = ["plan_evaluation", "rehearse"]

_FEATURED, _LOOKED_AT = 500, 8
"""Examples whose features are computed, and images that Inception sees, to find out how long that takes."""
_GROWTH = 8
"""How many times larger each part of a batch is than the one before."""
_TOO_LONG = 10.0
"""Seconds of a part that is not tried twice: while it lasts, no request to stop is heard."""


def plan_evaluation(
    model: Evaluable,
    reference: Reference,
    instruments: Instruments,
    protocol: EvaluationProtocol,
    twice: bool,
    floor: bool,
) -> list[Phase]:
    """Return the phases of an evaluation, in their order.

    Args:
        model: What is evaluated.
        reference: What its samples are compared with.
        instruments: What they are judged with.
        protocol: How many examples, draws and samples.
        twice: Whether another checkpoint is measured beside the one that the figures are of.
        floor: Whether the floor is measured.
    """
    samples = protocol.num_samples
    likelihood = [Phase("likelihood", count_examples(model, reference.examples, protocol))] * model.has_likelihood
    judged = samples >= MIN_SAMPLES and instruments.extractor is not None
    pairs = [Phase("figures", count_pairs(samples, reference))] * judged
    seen = [samples, *(len(x) for x in _not_kept(reference, instruments))] if judged and _computes(instruments) else []
    first = [*likelihood, Phase("samples", samples), *(Phase("features", count) for count in seen), *pairs]
    first += _asked_for(model, reference, instruments, samples) * judged
    again = [*likelihood]
    if model.chosen_by_samples:
        again += [Phase("samples", samples), *(Phase("features", count) for count in seen[:1]), *pairs]
    last = [Phase("floor", count_pairs(samples, reference), like="figures")] * (floor and judged)
    return [replace(phase) for phase in (*first, *(again if twice else []), *last)]


def _computes(instruments: Instruments) -> bool:
    return instruments.extractor is not None and instruments.extractor.sha256 is not None


def _not_kept(reference: Reference, instruments: Instruments) -> list[torch.Tensor]:
    """The sets of real examples whose features no earlier evaluation has left in the cache."""
    sets = [(reference.examples.x, reference.split)]
    if reference.training is not None:
        sets.append((reference.training.x, "train"))
    assert instruments.extractor is not None
    sha256, spec = instruments.extractor.sha256 or "", reference.spec
    return [x for x, split in sets if not instruments.cache.has(spec.name, split, sha256, x, spec.levels or 0)]


def _asked_for(model: Evaluable, reference: Reference, instruments: Instruments, samples: int) -> list[Phase]:
    """What only some protocols ask for; how long networks take that are trained for it nobody knows before."""
    case = Case(Batch(reference.examples.x[:1], torch.zeros(1) if model.conditional else None), reference, instruments)
    phases = []
    if instruments.inception is not None and case.lacks("inception") is None:
        x, spec, sha256 = reference.examples.x, reference.spec, instruments.inception.sha256
        kept = instruments.cache.has(spec.name, reference.split, sha256, x, spec.levels or 0)
        phases += [Phase("Inception", len(x))] * (not kept) + [Phase("Inception", samples)]
    phases += [Phase("classifiers", 2)] * (case.lacks("accuracy") is None)
    return phases + [Phase("recurrent networks", 4)] * (case.lacks("series scores") is None)


@torch.no_grad()
def rehearse(
    model: Evaluable,
    reference: Reference,
    instruments: Instruments,
    protocol: EvaluationProtocol,
    timetable: Timetable,
    limit: float,
) -> None:
    """Foretell how long the phases of an evaluation take, from ever larger parts of a batch until they take too long.

    Args:
        model: In eval mode.
        reference: What its samples will be compared with.
        instruments: What they will be judged with.
        protocol: How many examples, draws and samples.
        timetable: Is told; its clock is used.
        limit: Seconds after which a part is large enough.
    """
    largest = BatchSizes(protocol.batch_size, model.device).foreseen
    if model.has_likelihood:
        count = count_examples(model, reference.examples, protocol)

        def score(n: int) -> None:
            measure_likelihood(model, _first(reference.examples, n), protocol)

        timetable.foretell("likelihood", count, _seconds(score, count, largest, timetable.clock, limit))

    base = stream_seed(Stream.SAMPLES, protocol.seed)

    def draw(n: int) -> None:
        model.sample(n, generator=ExampleNoise(base, device=model.device)).cpu()

    count = protocol.num_samples
    timetable.foretell("samples", count, _seconds(draw, count, largest, timetable.clock, limit))
    judged = instruments.extractor is not None and reference.training is not None and count >= MIN_SAMPLES
    if judged and "figures" not in timetable.known():  # the same for every model
        _rehearse_quality(reference, instruments, timetable)


def _seconds(
    work: Callable[[int], object], count: int, batch_size: int, clock: Callable[[], float], limit: float
) -> float:
    """Foretell the seconds of ``work`` on so many examples, in batches."""
    largest = min(batch_size, count)
    size = min(2, largest)
    taken = _time(work, size, clock)
    if taken < _TOO_LONG:
        taken = _time(work, size, clock)  # without what only a first call does
    slope = taken / size
    while size < largest and (taken < limit or size < _GROWTH):
        before, size = (size, taken), min(_GROWTH * size, largest)
        taken = _time(work, size, clock)
        if (
            limit < taken < _TOO_LONG
        ):  # it may have been the machine: no more is foretold than what it does without a pause
            taken = min(taken, _time(work, size, clock))
        # What a batch takes is a constant and so much for each example.
        slope = min(max(0.0, (taken - before[1]) / (size - before[0])), taken / size)
    batch = taken + slope * (largest - size)
    return batch * count / largest


def _time(work: Callable[[int], object], size: int, clock: Callable[[], float]) -> float:
    began = clock()
    work(size)
    return clock() - began


def _rehearse_quality(reference: Reference, instruments: Instruments, timetable: Timetable) -> None:
    """Take training examples for samples, as the floor does: what figures take does not depend on what they are of."""
    extractor, training = instruments.extractor, reference.training
    assert extractor is not None
    assert training is not None
    some = training.x[:_FEATURED]
    extractor(some[:8])
    if _computes(instruments):
        timetable.foretell("features", len(some), _time(lambda n: extractor(some[:n]), len(some), timetable.clock))
    inception, levels = instruments.inception, reference.spec.levels or 0
    if inception is not None and Case(Batch(some), reference, instruments).lacks("inception") is None:
        inception(some[:2], levels)
        seconds = _time(lambda n: inception(some[:n], levels), _LOOKED_AT, timetable.clock)
        timetable.foretell("Inception", _LOOKED_AT, seconds)
    alone = Instruments(extractor, device=instruments.device)
    taken: list[tuple[int, float]] = []
    for samples in (min(200, len(training.x) // 5), min(400, len(training.x) // 3)):
        part = Reference(
            reference.spec, _first(reference.examples, 3 * samples), reference.split, _first(training, 3 * samples)
        )

        def judge(n: int, part: Reference = part) -> None:
            measure_quality(_first(training, n), part, alone, rows=torch.arange(n))

        if samples >= MIN_SAMPLES:
            judge(samples)  # computes the features
            taken.append((count_pairs(samples, part), _time(judge, samples, timetable.clock)))
    if taken:
        pairs, seconds = taken[-1]
        if len(taken) > 1 and pairs > taken[0][0]:
            pairs, seconds = pairs - taken[0][0], max(0.0, seconds - taken[0][1])
        timetable.foretell("figures", pairs, seconds)


def _first(batch: Batch, count: int) -> Batch:
    return batch.rows(slice(count))
