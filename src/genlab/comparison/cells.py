"""The text of cells, headings and notes: the same in every format, which only adds its own markup."""

from __future__ import annotations

import math
import shlex
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from genlab.comparison.columns import Column, columns, leading_columns
from genlab.comparison.ranking import Comparison, Group, Row, chosen_words, config_folders
from genlab.comparison.references import BASELINE, FLOOR, baseline_family
from genlab.core.words import counted
from genlab.measure.figures import of_kind

__all__ = [
    "BEST_LEGEND",
    "LEGEND",
    "SPREAD_LEGEND",
    "Cell",
    "arrow",
    "cell",
    "heading",
    "likelihood_notes",
    "listed",
    "notes",
    "ordered_by",
    "shared_device",
    "skipped_line",
    "subtitle",
    "title",
    "when_and_where",
]

SPREAD_LEGEND = (
    "± is the standard deviation over seeds; in rows of one seed the figure's own standard error, where it is known."
)

BEST_LEGEND = (
    "the best of those that can be compared, with all behind it down to the first that differs from it beyond chance; "
    "nothing where that is all of them. Chance is judged by Welch's test at 95 %; figures without ± differ where they "
    "print differently."
)

LEGEND = (
    f"{BEST_LEGEND} {SPREAD_LEGEND} Compared are: exact likelihoods and bounds with each other; estimates by ode "
    "(dequantized-ode of discrete data, the estimate of a bound), p(x|y), and likelihoods of fewer examples each only "
    "with their own kind; quality on the same features and numbers of examples; milliseconds on the same device. The "
    "floor, training data in the place of samples, is not ranked, nor are foreign samples, of which only their author "
    "knows what they were trained on and what they cost."
)
"""What the marks mean; stands behind what the best looks like and a colon."""

T = TypeVar("T")

MOST_NAMED = 5
"""Models or versions that a note names; one more where that is all of them."""

FEW_OF_A_CLASS = 30
"""Real examples of a class below which a share of them is rough."""


@dataclass(frozen=True)
class Cell:
    """The words of one cell.

    Attributes:
        value: The mean; empty where the figure is not known.
        spread: The standard deviation over seeds; of one seed the figure's own standard error; empty if not known.
        remark: The kind of a likelihood; its number of examples, if these are not the whole split; the number of seeds
            that have the figure, if not all do. May be empty.
        best: Whether it is best of the figures that it competes with, or equal to that but for chance.
    """

    value: str = ""
    spread: str = ""
    remark: str = ""
    best: bool = False

    @property
    def text(self) -> str:
        """Value and spread, as ``"1.0772 ± 0.0026"``."""
        return f"{self.value} ± {self.spread}" if self.spread else self.value


def cell(row: Row, column: Column) -> Cell:
    """Return what stands in a row's cell."""
    figure = row.figures.get(column.key)
    if figure is None:
        return Cell()
    value = column.write(figure.mean, None)
    spread = ""
    # A count that is the same for all seeds is shown without "± 0".
    if figure.spread is not None and not (column.basis is None and figure.spread == 0):
        _, _, decimals = value.partition(".")
        # As many decimal places as the mean has; a count such as 1.31M has a unit of its own and none are forced.
        spread = column.write(figure.spread, len(decimals) if decimals.isdigit() or not decimals else None)
    remarks = [row.kind(column) or ""]
    if remarks[0] and row.first.of == "p(x|y)":
        remarks.append("p(x|y)")
    if remarks[0] and row.few_examples is not None:
        remarks.append(counted(row.few_examples, "example"))
    if figure.count < len(row.runs):
        remarks.append(f"{figure.count} of {len(row.runs)} seeds")
    return Cell(value, spread, ", ".join(filter(None, remarks)), column.key in row.best)


def heading(group: Group, column: Column, short: bool = False) -> str:
    """Return what stands above a column, the likelihood with its unit."""
    text = column.short if short else column.heading
    if column.basis != "likelihood":
        return text
    unit = group.data.unit
    return f"{text}\n{unit}" if short else f"{text} ({unit})"


def arrow(column: Column) -> str:
    """Return which values of a column are better: ``"↑"`` higher ones, ``"↓"`` lower ones; empty where neither is."""
    return {"higher": "↑", "lower": "↓"}.get(column.better or "", "")


def title(group: Group) -> str:
    """Return a group's name, e.g. ``"mnist, standard"``."""
    return f"{group.data.name}, {group.protocol[0]}"


def subtitle(group: Group) -> str:
    """Return what a group's figures are of: split, protocol's hash, true entropy where it is known."""
    split, bracket, rest = group.data.split.partition(" (")  # as "test (10 % of each class)"
    parts = [f"{split} split{bracket}{rest}", f"protocol {group.protocol[0]} ({group.protocol[1]})"]
    if group.data.entropy:
        parts.append(f"true entropy {group.data.entropy} nats")
    return ", ".join(parts)


def ordered_by(group: Group) -> str:
    """Say in which order the rows stand."""
    shown = [column for column in leading_columns() if column in group.columns]
    keys = [f"{'falling' if column.better == 'higher' else 'rising'} {column.heading}" for column in shown]
    return f"Rows by {', then '.join(keys)}; references first." if keys else "References first."


def notes(group: Group) -> list[str]:
    """Return what a reader must know beside the figures.

    Which are missing and why, how likelihoods were computed, that there is no baseline, what figures warn of, that
    classes have few examples, that rows come from different code.
    """
    found = likelihood_notes(group)
    if not any(row.reference == BASELINE for row in group.rows):
        command = _baseline_command(group)
        found.append(f"No baseline: {command} adds it." if command else "No baseline.")
    for run in (run for row in group.rows for run in row.runs):
        found += [f"{run.model}, run {run.run_id}: {warning}." for warning in run.warnings]
    return [*_missing(group), *found, *_few_of_a_class(group), *_other_code(group)]


def _missing(group: Group) -> list[str]:
    """Say why cells are empty: a line for each reason. That the floor has no likelihood needs none."""
    priority = {column.heading: column.priority for column in columns()}
    models: dict[tuple[str, str], list[str]] = defaultdict(list)
    for run in (run for row in group.rows if row.reference != FLOOR for run in row.runs):
        lacking: dict[str, list[str]] = defaultdict(list)
        for what, reason in run.missing:
            lacking[reason].append(what)
        for reason, whats in lacking.items():
            # The main ones first, as in a narrow table; a whole section, which has no column, before them.
            ordered = sorted(whats, key=lambda what: -priority.get(what, math.inf))
            models[listed(ordered), reason].append(run.model)
    return [f"No {what} of {listed(names)}: {reason}." for (what, reason), names in models.items()]


def _few_of_a_class(group: Group) -> list[str]:
    """Say of how few real examples the figures of classes are; nothing where a class has enough of them."""
    figures = [figure for figure in of_kind("list") if "classes" in figure.needs]
    counts = {
        (figure.label, run.features[2], len(run.lists[figure.key]))
        for figure in figures
        for run in (run for row in group.rows for run in row.runs)
        if figure.key in run.lists and run.features is not None and run.features[2] is not None
    }
    return [
        f"{label.capitalize()}, in the HTML report, is of few examples: {real:,} in {classes} classes, "
        f"{real / classes:.0f} each on average."
        for label, real, classes in sorted(counts)
        if real < FEW_OF_A_CLASS * classes
    ]


def _other_code(group: Group) -> list[str]:
    """Say in a line that rows come from different versions of the code, and which; nothing where it is one."""
    codes: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    versions: dict[tuple[str, ...], str] = {}
    for run in (run for row in group.rows for run in row.runs):
        code = run.code or (run.code_version,)
        codes[run.model].add(code)
        versions.setdefault(code, run.code_version)
    if len(versions) < 2:
        return []
    models: dict[frozenset[tuple[str, ...]], list[str]] = defaultdict(list)
    for model, its_codes in codes.items():
        models[frozenset(its_codes)].append(model)
    shown = _some(list(models))
    lines = [
        f"{listed(models[its_codes])} {_by([name for code, name in versions.items() if code in its_codes])}"
        for its_codes in shown
    ]
    if len(shown) < len(models):
        unnamed = len(versions.keys() - frozenset().union(*shown))
        lines.append(counted(unnamed, "other version") if unnamed else "others by several of these")
    return [f"Rows come from different code: {'; '.join(lines)}."]


def _by(versions: Sequence[str]) -> str:
    return f"by {versions[0]}" if len(versions) == 1 else ", ".join(f"partly by {version}" for version in versions)


def _some(names: Sequence[T]) -> Sequence[T]:
    """Return as many as a note names, all where one alone would be left out."""
    return names if len(names) <= MOST_NAMED + 1 else names[:MOST_NAMED]


def listed(names: Sequence[str]) -> str:
    """Return names in a sentence, each once."""
    once = list(dict.fromkeys(names))
    shown = _some(once)
    more = [f"{len(once) - len(shown)} more"] if len(shown) < len(once) else []
    *first, last = [*shown, *more]
    return f"{', '.join(first)} and {last}" if first else last


def likelihood_notes(group: Group) -> list[str]:
    """Say of each estimate and bound of a kind of its own how it was computed, and of which models it is."""
    models: dict[tuple[str, str], list[str]] = {}
    for run in (run for row in group.rows for run in row.runs if run.kind and run.likelihood_how):
        models.setdefault((run.kind or "", run.likelihood_how), []).append(run.model)
    return [f"{kind} of {', '.join(dict.fromkeys(names))}: {how}." for (kind, how), names in models.items()]


def _baseline_command(group: Group) -> str | None:
    """Return the command that adds a baseline, None where none is sure to work.

    It has the words of a row's own command that choose the data and the protocol: the name of a data set is not always
    that of its config. Data whose samples nothing judges is not laid out as the baseline takes it.
    """
    if not any(row.first.features for row in group.rows):
        return None
    for row in group.rows:
        words = chosen_words(row.first.command, ("data", "evaluation", "hydra.searchpath"))
        if any(word.startswith("data=") for word in words):
            program = ["python", "train.py", *config_folders(row.first.command)]
            return shlex.join([*program, f"model={baseline_family()}", *words])
    return None


def shared_device(group: Group) -> str | None:
    """Return the device if all rows have the same, so that it needs no column; else None."""
    devices = {row.device for row in group.rows if row.reference != FLOOR}  # nothing is trained for the floor
    return devices.pop() if len(devices) == 1 else None


def when_and_where(group: Group) -> str:
    """Say when a group's results were made, by which versions of Python and torch, and where all runs were trained."""
    runs = [run for row in group.rows for run in row.runs]
    days = sorted({run.created[:10] for run in runs})
    parts = [f"Results of {' to '.join(dict.fromkeys((days[0], days[-1])))}"]
    parts += sorted({run.software for run in runs} - {""})
    if (device := shared_device(group)) is not None:
        parts.append(f"trained on {device}")
    return "; ".join(parts) + "."


def skipped_line(comparison: Comparison) -> str:
    """Say in a line how much was left out; empty if nothing was."""
    parts = []
    if comparison.skipped:
        count = len(comparison.skipped)
        parts.append(f"{counted(count, 'file is', 'files are')} skipped")
    if comparison.superseded:
        count = comparison.superseded
        parts.append(f"{counted(count, 'older result')} of a run that has a newer one left out")
    return "; ".join(parts) + "." if parts else ""
