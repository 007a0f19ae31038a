"""Published likelihoods, in a table of their own beside ours.

They are never ranked with ours: their models were trained otherwise, often on another sample of the data. A figure is
listed only if it is of the same data set and split, with the paper's table that it is from. Its note says what it was
measured on where that differs from ours.
"""

from __future__ import annotations

import functools
import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import NamedTuple

from genlab.comparison.cells import cell
from genlab.comparison.columns import LIKELIHOOD, likelihood_unit
from genlab.comparison.ranking import Group, Row
from genlab.measure.result import is_estimate

__all__ = ["PUBLISHED_LEGEND", "Beside", "Published", "beside", "published", "published_text"]

PUBLISHED_LEGEND = (
    "Published likelihoods are of other trainings, as their papers have them, and are not ranked with ours."
)

_PLACES = {"bits/dim": 4, "nats": 2}


@dataclass(frozen=True, slots=True)
class Published:
    """A likelihood from a paper.

    Attributes:
        data: The data set.
        family: Our family that is most like the paper's model.
        method: What the paper calls it.
        value: The negative log-likelihood on the test split, with the paper's own digits.
        unit: ``"bits/dim"``, or ``"nats"`` per example.
        kind: ``"exact"``, ``"bound"`` (never too low) or ``"estimate"`` (may be too low or too high).
        source: Paper and table.
        note: What it was measured on and how.
    """

    data: str
    family: str
    method: str
    value: str
    unit: str
    kind: str
    source: str
    note: str


@functools.cache
def published() -> tuple[Published, ...]:
    """Return all published figures of ``published.json``."""
    text = resources.files("genlab.comparison").joinpath("published.json").read_text(encoding="utf-8")
    return tuple(Published(**entry) for entry in json.loads(text))


class Beside(NamedTuple):
    """One line of the table: a published figure, and ours.

    Attributes:
        method: What the paper calls it.
        published: Value and unit.
        kind: Of the published figure.
        ours: Model and value, in the paper's unit, of our best row of that family; empty where none has a likelihood.
        kind_of_ours: Its kind, with the remarks of our table.
        source: Paper and table.
        measured_on: What the published figure was measured on and how.
    """

    method: str
    published: str
    kind: str
    ours: str
    kind_of_ours: str
    source: str
    measured_on: str

    @classmethod
    def headings(cls) -> tuple[str, ...]:
        """Return what stands above each."""
        return tuple(field.replace("_", " ") for field in cls._fields)


def beside(group: Group) -> list[Beside]:
    """Return the published figures of the group's data and families, each beside our best row of the same family.

    Empty where no figure is known, and for any split but the test split.
    """
    rows: dict[str, list[Row]] = defaultdict(list)
    for row in group.rows:
        rows[row.first.family].append(row)
    return [
        Beside(
            entry.method,
            f"{entry.value} {entry.unit}",
            entry.kind,
            *_ours(group, rows[name], entry.unit),
            entry.source,
            entry.note,
        )
        for name, entries in _by_family(group).items()
        if name in rows
        for entry in entries
    ]


def published_text(group: Group, row: Row) -> str:
    """Return the published figures of a row's data and family with their sources, in one line; may be empty."""
    return "; ".join(
        f"{entry.method} {entry.value} {entry.unit} ({entry.kind}; {entry.source}; {entry.note})"
        for entry in _by_family(group).get(row.first.family, ())
    )


def _by_family(group: Group) -> Mapping[str, Sequence[Published]]:
    is_test = group.data.split.split(" ")[0] == "test"  # further words say how the split was made
    return _of_data(group.data.name) if is_test else {}


@functools.cache
def _of_data(name: str) -> Mapping[str, Sequence[Published]]:
    found: dict[str, list[Published]] = defaultdict(list)
    for entry in published():
        if entry.data == name:
            found[entry.family].append(entry)
    return dict(found)


def _ours(group: Group, rows: Sequence[Row], unit: str) -> tuple[str, str]:
    """Return model with value, and kind, of our best row: of p(x), by `_preference`."""
    rows = [row for row in rows if LIKELIHOOD.key in row.figures and row.first.of == "p(x)"]
    if not rows:
        return "", ""
    row = min(rows, key=_preference)
    figure, scale, places = row.figures[LIKELIHOOD.key], _scale(group, unit), _PLACES[unit]
    spread = "" if figure.spread is None else f" ± {figure.spread * scale:.{places}f}"
    return f"{row.model} {figure.mean * scale:.{places}f}{spread}", cell(row, LIKELIHOOD).remark


def _preference(row: Row) -> tuple[bool, int, float]:
    """Exact values and bounds before estimates, then more examples before fewer, then the lowest."""
    return is_estimate(row.first.kind), -(row.first.likelihood_examples or 0), row.figures[LIKELIHOOD.key].mean


def _scale(group: Group, unit: str) -> float:
    """Return the factor that turns a likelihood of the group into a unit."""
    ours = likelihood_unit(group.data.levels or None)
    if ours == unit:
        return 1.0
    nats_per_bit_per_dim = math.prod(group.data.shape) * math.log(2)
    return nats_per_bit_per_dim if unit == "nats" else 1 / nats_per_bit_per_dim
