"""What scores are computed from: the model and its data, and what several scores share, computed once."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from genlab.core.batch import Batch
from genlab.core.noise import ExampleNoise
from genlab.core.randomness import Stream, stream_seed
from genlab.core.timetable import Timetable
from genlab.measure.batches import BatchSizes
from genlab.measure.case import Instruments
from genlab.models.base import GenerativeModel

__all__ = ["Evidence", "Examples", "bits", "log_probs"]

Made = TypeVar("Made")


@dataclass(frozen=True)
class Examples:
    """A set of examples that are scored.

    Attributes:
        name: Tells it from the other sets.
        batch: On the CPU, in the data's own values; its labels are not read.
        number: Of the set: no two sets share noise.
    """

    name: str
    batch: Batch
    number: int = 0

    def __len__(self) -> int:
        return len(self.batch.x)

    def noise(self, seed: int) -> int:
        """Return the seed of the set's noise."""
        return stream_seed(Stream.LIKELIHOOD, seed, 2, self.number)


@dataclass(frozen=True)
class Evidence:
    """What scores are computed from.

    Attributes:
        model: In eval mode.
        training: Some of its training examples, by which scores are set.
        all_training: All of them.
        examples: The most examples that are scored of a set.
        instruments: The features by which samples of such data are judged.
        background: A second model of such data; None: there is none.
        draws: Noise draws of an example, where its likelihood is a bound that uses them.
        seed: Of all noise.
        timetable: Is told how far it is.
    """

    model: GenerativeModel
    training: Examples
    all_training: Batch
    examples: int
    instruments: Instruments = field(default_factory=lambda: Instruments(None))
    background: GenerativeModel | None = None
    draws: int = 1
    seed: int = 0
    timetable: Timetable = field(default_factory=Timetable)
    _kept: dict[Hashable, Any] = field(default_factory=dict)

    def once(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """Return what ``make`` gives, computed the first time that this key is asked for."""
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]

    def copy(self) -> Evidence:
        """Return the same, with what was computed so far; what it computes from here on is its own, and its time."""
        return replace(self, timetable=Timetable(), _kept=dict(self._kept))


@torch.no_grad()
def log_probs(model: GenerativeModel, examples: Examples, evidence: Evidence) -> Tensor:
    """Return the log-probabilities ``[N]``, nats, float64: exactly those of the model's ``log_prob``.

    A class-conditional model is not told the label, which an unknown example has not: its p(x) is the mean of p(x|y)
    over all labels.
    """
    labels = range(model.num_classes) if model.conditional else [None]

    def of_batch(start: int, size: int) -> Tensor:
        batch = examples.batch.rows(slice(start, start + size)).to(model.device)
        found = []
        for label in labels:
            y = None if label is None else torch.full((size,), label, device=model.device)
            noise = ExampleNoise(examples.noise(evidence.seed), start, model.device)
            given = {"mask": batch.mask, "num_draws": evidence.draws, "generator": noise}
            found.append(model.log_prob(batch.x, y, **given).cpu().double())
        evidence.timetable.advance(size)
        return torch.stack(found).logsumexp(0) - math.log(len(found))

    each = BatchSizes(None, model.device).each
    return evidence.once((id(model), examples.name), lambda: torch.cat(list(each(len(examples), of_batch))))


def bits(nats: Tensor) -> Tensor:
    """Return nats as bits."""
    return nats / math.log(2)
