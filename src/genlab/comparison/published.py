"""Published figures, in a table of their own beside ours.

They are never ranked with ours: their models were trained otherwise, often on another sample of the data. A figure is
listed only if it is of the same data set and split, with the paper's table that it is from. Each line says what it is:
a bound or exact, of one run, a mean or the lowest of several, and on which pixels it was measured.
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
from genlab.comparison.columns import LIKELIHOOD
from genlab.comparison.ranking import Group, Row
from genlab.core.words import counted
from genlab.measure.result_sections import is_estimate

__all__ = ["PUBLISHED_LEGEND", "Beside", "Published", "beside", "published", "published_text"]

PUBLISHED_LEGEND = (
    "Published figures are of other trainings, as their papers have them, and are not ranked with ours. Unconfirmed: "
    "not found again in a second text."
)

_PLACES = {"bits/dim": 4, "nats": 2, "nats/char": 4}


@dataclass(frozen=True, slots=True)
class Published:
    """A figure from a paper.

    Attributes:
        data: The data set.
        family: Our family that is most like the paper's model.
        method: What the paper calls it.
        figure: Key of our column of the same figure.
        value: On the split, with the paper's own digits; a negative log-likelihood, or what ``unit`` says.
        deviation: Standard deviation over the runs of a mean, with the paper's own digits; may be empty.
        unit: ``"bits/dim"``, ``"nats"`` per example, ``"nats/char"``, or ``"Inception FID"``.
        kind: Of a likelihood ``"exact"``, ``"bound"`` (never too low) or ``"estimate"`` (may be too low or too high);
            else ``"of samples"``.
        statistic: What is reported of how many runs: ``"one run"``, a mean, the lowest of several.
        preprocessing: What became of the pixels first: static binarization (drawn once, for all), dynamic binarization
            (drawn anew at each use), dequantization; of a figure of samples, whose features.
        evaluation: How it was computed, as far as that changes it; may be empty.
        source: Paper and table.
        confirmed: A second text in which the value was found again; empty where none was at hand.
        split: First word of our name of the split that it is of.
    """

    data: str
    family: str
    method: str
    figure: str
    value: str
    deviation: str
    unit: str
    kind: str
    statistic: str
    preprocessing: str
    evaluation: str
    source: str
    confirmed: str
    split: str = "test"

    @property
    def quantity(self) -> str:
        """Value, deviation where it has one, and unit."""
        return f"{self.value} ± {self.deviation} {self.unit}" if self.deviation else f"{self.value} {self.unit}"

    @property
    def measured_on(self) -> str:
        """What it was measured on and how."""
        return "; ".join(filter(None, (self.preprocessing, self.evaluation)))

    @property
    def where(self) -> str:
        """Paper and table, and whether that is all that is known."""
        return self.source if self.confirmed else f"{self.source} (unconfirmed)"


@functools.cache
def published() -> tuple[Published, ...]:
    """Return all published figures of ``published.json``."""
    text = resources.files("genlab.comparison").joinpath("published.json").read_text(encoding="utf-8")
    return tuple(Published(**entry) for entry in json.loads(text))


class Beside(NamedTuple):
    """One line of the table: a published figure, and ours.

    Attributes:
        method: What the paper calls it.
        statistic: What is reported of how many runs.
        published: Value and unit.
        kind: Of the published figure.
        ours: Model and value, in the paper's unit, of our best row of that family; empty where none has the figure.
        kind_of_ours: Its kind, with the remarks of our table.
        source: Paper and table.
        measured_on: What the published figure was measured on and how.
    """

    method: str
    statistic: str
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

    Figures of samples only where a row of the family has the same: beside one in other features they would mislead.
    Empty where no figure of this split is known.
    """
    rows: dict[str, list[Row]] = defaultdict(list)
    for row in group.rows:
        rows[row.first.family].append(row)
    lines = []
    for name, entries in _by_family(group).items():
        for entry in entries if name in rows else ():
            ours, kind = _ours(group, rows[name], entry)
            if ours or entry.figure == LIKELIHOOD.key:
                about = entry.method, entry.statistic, entry.quantity, entry.kind
                lines.append(Beside(*about, ours, kind, entry.where, entry.measured_on))
    return lines


def published_text(group: Group, row: Row) -> str:
    """Return the published figures of a row's data and family with their sources, in one line; may be empty."""
    return "; ".join(
        f"{entry.method} {entry.quantity} ({entry.kind}, {entry.statistic}; {entry.where}; {entry.measured_on})"
        for entry in _by_family(group).get(row.first.family, ())
        if entry.figure in row.figures or entry.figure == LIKELIHOOD.key
    )


def _by_family(group: Group) -> Mapping[str, Sequence[Published]]:
    return _of_data(group.data.name, group.data.split.split(" ")[0])  # further words say how the split was made


@functools.cache
def _of_data(name: str, split: str) -> Mapping[str, Sequence[Published]]:
    found: dict[str, list[Published]] = defaultdict(list)
    for entry in published():
        if (entry.data, entry.split) == (name, split):
            found[entry.family].append(entry)
    return dict(found)


def _ours(group: Group, rows: Sequence[Row], entry: Published) -> tuple[str, str]:
    """Return model with value, and kind, of our best row; of likelihoods of p(x), by `_preference`."""
    if entry.figure != LIKELIHOOD.key:
        return _ours_of_samples(group, rows, entry)
    rows = [row for row in rows if LIKELIHOOD.key in row.figures and row.first.of == "p(x)"]
    if not rows:
        return "", ""
    row = min(rows, key=_preference)
    figure, scale, places = row.figures[LIKELIHOOD.key], _scale(group, entry.unit), _PLACES[entry.unit]
    spread = "" if figure.spread is None else f" ± {figure.spread * scale:.{places}f}"
    return f"{row.model} {figure.mean * scale:.{places}f}{spread}", cell(row, LIKELIHOOD).remark


def _ours_of_samples(group: Group, rows: Sequence[Row], entry: Published) -> tuple[str, str]:
    rows = [row for row in rows if entry.figure in row.figures]
    column = next((column for column in group.columns if column.key == entry.figure), None)
    if not rows or column is None:
        return "", ""
    row = min(rows, key=lambda row: row.figures[entry.figure].mean)
    samples = None if row.first.features is None else row.first.features[3]
    return f"{row.model} {cell(row, column).text}", "" if samples is None else f"of {counted(samples, 'sample')}"


def _preference(row: Row) -> tuple[bool, int, float]:
    """Exact values and bounds before estimates, then more examples before fewer, then the lowest."""
    return is_estimate(row.first.kind), -(row.first.likelihood_examples or 0), row.figures[LIKELIHOOD.key].mean


def _scale(group: Group, unit: str) -> float:
    """Return the factor that turns a likelihood of the group into a unit."""
    ours = group.data.unit
    if ours == unit:
        return 1.0
    if unit.startswith("nats/"):  # for each of what ours is in bits
        return math.log(2)
    nats_per_bit_per_dim = math.prod(group.data.shape) * math.log(2)
    return nats_per_bit_per_dim if unit == "nats" else 1 / nats_per_bit_per_dim
