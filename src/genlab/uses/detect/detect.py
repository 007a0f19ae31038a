"""Detect: score examples of a model's own data and of another set, and measure how well that tells them apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from genlab.core.batch import Batch
from genlab.core.errors import GenlabError, nearest
from genlab.core.hardware import full_float32
from genlab.core.spec import DataSpec
from genlab.modalities import modality_of
from genlab.uses.detect.evidence import Evidence, Examples
from genlab.uses.detect.scores import SCORES
from genlab.uses.detect.separation import Separation, separate

__all__ = ["FLIPS", "Detection", "Found", "check_alike", "choose_scores", "detect", "flipped"]

FLIPS = {"horizontal_flip": -1, "vertical_flip": -2}
"""Axes that turn a set's own pictures into another set."""


@dataclass(frozen=True)
class Found:
    """What one score found.

    Attributes:
        own: Scores ``[N]`` of examples of one's own data, float64; high is unusual.
        other: Scores ``[M]`` of the other set.
        separation: How well they tell the two apart.
        settings: What the score rests on, by name.
    """

    own: Tensor
    other: Tensor
    separation: Separation
    settings: dict[str, Any]


@dataclass(frozen=True)
class Detection:
    """What all scores found.

    Attributes:
        found: By name of the score.
        missing: Why there is no score, a clause, by its name.
    """

    found: dict[str, Found]
    missing: dict[str, str]


def choose_scores(evidence: Evidence, wanted: Sequence[str] | None = None) -> tuple[list[str], dict[str, str]]:
    """Return the scores that a model and its data have, and why it lacks others.

    Args:
        evidence: The model and its data.
        wanted: Names of scores that must be there; None: all that can.

    Raises:
        GenlabError: If a score that is wanted is unknown or missing, or there is none.
    """
    for name in wanted or ():
        if name not in SCORES:
            raise GenlabError(f"scores has '{name}', expected some of {', '.join(SCORES)}.{nearest(name, SCORES)}")
    reasons = {name: score.lacks(evidence) for name, score in SCORES.items() if not wanted or name in wanted}
    missing = {name: reason for name, reason in reasons.items() if reason is not None}
    model = evidence.model
    if wanted and missing:
        name, reason = next(iter(missing.items()))
        raise GenlabError(f"This {model.name} has no score {name}: {reason}.")
    there = [name for name in reasons if name not in missing]
    if not there:
        said = "; no ".join(f"{name}: {reason}" for name, reason in missing.items())
        raise GenlabError(f"This {model.name} has no score of an example. No {said}.")
    return there, missing


def detect(own: Batch, other: Batch, evidence: Evidence, wanted: Sequence[str] | None = None) -> Detection:
    """Score examples of one's own data and of another set.

    No score is told anything by the other set: what is fitted is fitted to training examples of the model's own data.

    Args:
        own: Examples that the model was not trained on, on the CPU.
        other: Examples of the same shape and levels.
        evidence: The model and its data.
        wanted: Names of the scores; None: all that the model and its data have.

    Raises:
        GenlabError: If a score that is wanted is unknown or missing, there is none, or the sets are not of the data.
    """
    names, missing = choose_scores(evidence, wanted)
    codec = modality_of(evidence.model.spec).codec(evidence.model.spec)
    for batch in (own, other):
        codec.check(batch.x)
    sets = Examples("own", own, 0), Examples("other", other, 1)
    found = {}
    for name in names:
        score = SCORES[name]
        total = sum(map(len, sets)) + (len(evidence.training) if score.is_fitted else 0)
        with torch.no_grad(), full_float32(), evidence.timetable.phase(name, total, counts=True):
            values = [score.of(examples, evidence) for examples in sets]
            settings = dict(score.settings(evidence))
        if any(part.isnan().any() for part in values):
            missing[name] = "it is not a number for some examples"
            continue
        separation = separate(*(part.numpy() for part in values))
        found[name] = Found(values[0], values[1], separation, settings)
    return Detection(found, missing)


def flipped(examples: Batch, flip: str, spec: DataSpec) -> Batch:
    """Return pictures mirrored left to right or upside down.

    Args:
        examples: Pictures ``[N, C, H, W]``.
        flip: A key of :data:`FLIPS`.
        spec: What they are.

    Raises:
        GenlabError: If the data is no pictures.
    """
    if len(spec.shape) != 3:
        raise GenlabError(
            f"against is {flip}, which mirrors pictures, but {spec.name} is {spec.modality}. Give another data set."
        )
    return examples._replace(x=examples.x.flip(FLIPS[flip]))


def check_alike(own: DataSpec, other: DataSpec, key: str = "against") -> None:
    """Refuse a data set whose examples are not of the same kind, shape and levels.

    Raises:
        GenlabError: In a line that names both.
    """
    kinds = [_kind(spec) for spec in (own, other)]
    if kinds[0] != kinds[1] or _symbols(own) != _symbols(other):
        raise GenlabError(
            f"{key} is {other.name}, {kinds[1]}, expected data like {own.name}, {kinds[0]}: a model scores only "
            "examples of the shape and levels that it was made for."
        )


def _symbols(spec: DataSpec) -> object:
    """Return what numbers of symbols and categories mean."""
    return spec.alphabet, [(field.name, field.levels, field.categories) for field in spec.fields]


def _kind(spec: DataSpec) -> str:
    levels = "continuous" if spec.levels is None else f"{spec.levels} levels"
    # Columns of other names are other data, and symbols of another alphabet other symbols.
    symbols = "" if spec.alphabet is None else f", {len(spec.alphabet)} symbols of its own"
    fields = f", columns {', '.join(field.name for field in spec.fields)}"[:200] if spec.fields else ""
    rate = "" if spec.sampling_rate_hz is None else f", {spec.sampling_rate_hz:,} Hz"
    return f"{spec.modality} of shape {list(spec.shape)}, {levels}{rate}{symbols}{fields}"
