"""Runs as ranked rows: one group for each data set and protocol, one row for each configuration over its seeds.

This module decides which figures compete to be marked best:

- FID and its relatives: those on the same features and numbers of examples.
- Milliseconds: those on the same device, with the same batch size.
- Exact likelihoods and bounds (``elbo``, ``iwae-K``, ``dequantized-K``, ``vlb``): with each other. A bound on the
  negative log-likelihood is never below the exact value, so the lowest of these figures is proven to be reached.
- Estimates (``ode``, and of discrete data ``dequantized-ode``): only with each other, since one may be too low.
- Likelihoods of p(x|y): never with p(x), since the model was told the label.
- Likelihoods of different numbers of examples: never with each other. A costly likelihood is measured on few examples,
  and which examples these are can change it by more than models differ.

The floor and foreign samples compete with nobody; see :data:`genlab.comparison.references.UNRANKED`.

Of those that compete, the best is marked with those behind it, down to the first that differs from it beyond chance;
none is marked where that is all of them. Chance is judged by :func:`genlab.comparison.chance.differ` from the
deviations over seeds, for one seed from the figure's own standard error, which knows nothing of how trainings differ.
Figures that print alike count as equal, and so do those at or beyond the ideal. What stands behind a figure that
differs is never marked: that its seeds deviate so much that it might be better is no merit.
"""

from __future__ import annotations

import functools
import math
import shlex
from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from genlab.comparison.chance import Figure, differ
from genlab.comparison.columns import LIKELIHOOD, ONE_DRAW, Column, columns, leading_columns
from genlab.comparison.reading import DataKey, RunResult, Skipped
from genlab.comparison.references import FLOOR, REFERENCES, UNRANKED, reference_of
from genlab.measure.result_sections import is_estimate
from genlab.runs.identity import IGNORED_KEYS

__all__ = ["Comparison", "Figure", "Group", "Row", "comparable_set", "compare"]


@dataclass
class Row:
    """The runs of one configuration, over its seeds.

    Attributes:
        runs: One for each seed, by rising seed.
        figures: Known figures by column key.
        note: What tells the row from others of the same model and variant; may be empty.
        few_examples: Number of examples that its likelihood is of, if that is not the whole split; else None.
        reference: ``"floor"``, ``"baseline"`` or empty.
        best: Keys of the columns in which the row is best of those it competes with, or not beyond chance worse.
    """

    runs: tuple[RunResult, ...]
    figures: dict[str, Figure]
    note: str = ""
    few_examples: int | None = None
    reference: str = ""
    best: set[str] = field(default_factory=set)

    @property
    def first(self) -> RunResult:
        """The run of the lowest seed: model, variant, kind and command stand in it for all."""
        return self.runs[0]

    @property
    def model(self) -> str:
        """The model's name."""
        return self.first.model

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds, rising."""
        return tuple(run.seed for run in self.runs)

    @property
    def device(self) -> str:
        """Where the runs were trained."""
        return "; ".join(dict.fromkeys(run.device for run in self.runs))

    @property
    def sampling_device(self) -> str:
        """Where the samples were drawn, which need not be where the runs were trained."""
        return "; ".join(dict.fromkeys(run.sampling_device for run in self.runs))

    def kind(self, column: Column) -> str | None:
        """Return which kind of likelihood a column's figure is; None where the column is none of likelihoods."""
        return {LIKELIHOOD.key: self.first.kind, ONE_DRAW.key: self.first.one_draw_kind}.get(column.key)


@dataclass(frozen=True)
class Group:
    """Rows that may be ranked together: of one data set under one protocol.

    Attributes:
        data: The data set.
        protocol: Name and hash.
        rows: References first, then by rising FID, rows without one after them by rising likelihood.
    """

    data: DataKey
    protocol: tuple[str, str]
    rows: tuple[Row, ...]

    @functools.cached_property
    def columns(self) -> tuple[Column, ...]:
        """The columns in which any row has a figure; the floor's count only where it stands alone."""
        alone = all(row.reference == FLOOR for row in self.rows)
        return tuple(
            column
            for column in columns()
            if any(column.key in row.figures and (alone or row.reference != FLOOR) for row in self.rows)
        )


@dataclass(frozen=True)
class Comparison:
    """All groups, and what did not enter them.

    Attributes:
        groups: By data set and protocol.
        skipped: Files that are no results.
        superseded: Number of results left out because a newer one has the same configuration and seed.
    """

    groups: tuple[Group, ...]
    skipped: tuple[Skipped, ...] = ()
    superseded: int = 0


def compare(runs: Iterable[RunResult], skipped: Sequence[Skipped] = ()) -> Comparison:
    """Group, aggregate and rank results.

    Runs that share configuration and checkpoint, by `genlab.runs.identity.config_hash`, which leaves the seed out,
    become one row. A rerun leaves several results of the same seed: only the newest of them counts.

    Args:
        runs: In any order.
        skipped: Carried into the comparison.
    """
    groups: dict[Hashable, dict[Hashable, dict[int, RunResult]]] = defaultdict(lambda: defaultdict(dict))
    superseded = 0
    for run in runs:
        seeds = groups[run.data, run.protocol][_row_key(run)]
        other = seeds.get(run.seed)
        superseded += other is not None
        if other is None or (run.created, run.path or "") > (other.created, other.path or ""):
            seeds[run.seed] = run
    made = []
    for (data, protocol), rows in groups.items():
        ordered = sorted((_row(tuple(seeds[seed] for seed in sorted(seeds))) for seeds in rows.values()), key=_order)
        _add_notes(ordered)
        _tell_few_examples(ordered)
        _mark_best(ordered)
        made.append(Group(data, protocol, tuple(ordered)))
    made.sort(key=lambda group: (group.data, group.protocol))
    return Comparison(tuple(made), tuple(skipped), superseded)


def _row_key(run: RunResult) -> Hashable:
    # Seeds with different kinds of likelihood, or different features, are different rows: a mean would mean nothing.
    likelihood = run.kind, run.of, run.likelihood_how, run.likelihood_examples, run.one_draw_kind
    # Of foreign samples the hash is that of what was drawn: two programs that drew the same are still two.
    return run.config_hash, run.model, run.checkpoint, *likelihood, run.features


def _row(runs: tuple[RunResult, ...]) -> Row:
    figures = {}
    for column in columns():
        having = _averaged(runs, column)
        if having:
            figures[column.key] = _aggregate(
                [run.figures[column.key] for run in having], having[0].errors.get(column.key)
            )
    return Row(runs, figures, reference=reference_of(runs[0].family))


def _averaged(runs: Sequence[RunResult], column: Column) -> list[RunResult]:
    """Return the runs whose figures of a column make one mean: those that have it, of a cost those on one device."""
    having = [run for run in runs if column.key in run.figures]
    if column.basis != "hardware":
        return having
    return [run for run in having if run.sampling_device == having[0].sampling_device]


def _aggregate(values: Sequence[float], error: float | None) -> Figure:
    count = len(values)
    if count == 1:
        return Figure(values[0], None, 1, error)
    mean = math.fsum(values) / count
    return Figure(mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (count - 1)), count)


def _order(row: Row) -> tuple[object, ...]:
    quality, likelihood = leading_columns()
    return (
        [*REFERENCES.values(), ""].index(row.reference),
        _rank(row, quality),
        _likelihood_set(row.first, row.first.kind),
        _rank(row, likelihood),
        row.first.model,
        row.first.variant,
        row.first.config_hash,
        row.first.checkpoint,
    )


def _rank(row: Row, column: Column) -> float:
    """Smaller for better figures, infinite for unknown ones."""
    if (figure := row.figures.get(column.key)) is None:
        return math.inf
    mean = _judged(figure, column).mean
    return -mean if column.better == "higher" else mean


def _judged(figure: Figure, column: Column) -> Figure:
    """Return a figure as it is ranked: what lies beyond the ideal is no better than that."""
    if column.ideal is None:
        return figure
    bound = min if column.better == "higher" else max
    return replace(figure, mean=bound(figure.mean, column.ideal))


def _likelihood_set(run: RunResult, kind: str | None) -> tuple[bool, int, bool, int]:
    """Return what likelihoods must share to compete. Sorted, it gives the order in which tables show them."""
    told = (run.classes or 1) if run.of == "p(x|y)" else 0  # a label of sixty tells more than one of ten
    return kind is None, told, is_estimate(kind), -(run.likelihood_examples or 0)


def comparable_set(row: Row, column: Column) -> Hashable:
    """Return what a row must share with another for their figures of a column to compete."""
    if column.basis == "likelihood":
        return _likelihood_set(row.first, row.kind(column))
    if column.basis == "features":
        return row.first.features
    if column.basis == "hardware":
        runs = _averaged(row.runs, column)
        return runs[0].sampling_device, frozenset(run.sampling_batch for run in runs)
    return None


def _mark_best(rows: Sequence[Row]) -> None:
    for column in columns():
        if column.better is None:
            continue
        sets: dict[Hashable, list[Row]] = defaultdict(list)
        for row in rows:
            if column.key in row.figures and row.reference not in UNRANKED:
                sets[comparable_set(row, column)].append(row)
        for rivals in sets.values():
            equals = _equal_to_best(rivals, column)
            if len(equals) < len(rivals):
                for row in equals:
                    row.best.add(column.key)


def _equal_to_best(rivals: list[Row], column: Column) -> list[Row]:
    """Return the best of rivals and those behind it, down to the first that differs from it beyond chance."""
    ordered = sorted(rivals, key=lambda row: _rank(row, column))
    figures = [_judged(row.figures[column.key], column) for row in ordered]
    best = figures[0]
    for place, figure in enumerate(figures):
        # The first of these decides for most, and takes no time.
        if figure.mean != best.mean and differ(best, figure) and column.write(figure.mean) != column.write(best.mean):
            return ordered[:place]
    return ordered


def _tell_few_examples(rows: Sequence[Row]) -> None:
    counts = [row.first.likelihood_examples or 0 for row in rows]
    # Quality is measured on the whole split even where the likelihood is not, so its count may be the larger one.
    most = max([*counts, *(row.first.features[2] or 0 for row in rows if row.first.features is not None)])
    for row, count in zip(rows, counts, strict=True):
        row.few_examples = count if 0 < count < most else None


def _add_notes(rows: Sequence[Row]) -> None:
    """Give rows of the same model and variant notes that differ: the settings of their commands, else their hashes."""
    twins: dict[Hashable, list[Row]] = defaultdict(list)
    for row in rows:
        twins[row.first.model, row.first.variant].append(row)
    for alike in twins.values():
        settings = [_settings(row.first.command) for row in alike]
        common = set(settings[0]).intersection(*settings)
        notes = [" ".join(word for word in words if word not in common) for words in settings]
        notes = [" · ".join(filter(None, (note, _checkpoint(row)))) for note, row in zip(notes, alike, strict=True)]
        if len(set(notes)) < len(notes):
            notes = [
                " · ".join(filter(None, (note, f"config {row.first.config_hash[:8]}")))
                for note, row in zip(notes, alike, strict=True)
            ]
        for row, note in zip(alike, notes, strict=True):
            row.note = note


def _checkpoint(row: Row) -> str:
    return "" if row.first.checkpoint in ("best", "none") else f"{row.first.checkpoint} checkpoint"


def _settings(command: str) -> list[str]:
    """Return the overrides of a command that may change what is trained."""
    ignored = {*IGNORED_KEYS, "run", "checkpoint", "device"}
    return [word for word, key in _overrides(command) if not _is_of(key, ignored)]


def chosen_words(command: str, groups: Sequence[str]) -> list[str]:
    """Return the overrides of a command that choose an option of these config groups or a key in them."""
    return [word for word, key in _overrides(command) if _is_of(key, groups)]


def config_folders(command: str) -> list[str]:
    """Return the flags of a command that say where configs lie."""
    return [word for word in _words(command) if word.startswith(("--config-dir=", "--config-path="))]


def _overrides(command: str) -> list[tuple[str, str]]:
    """Return the words of a command that are overrides, with their keys."""
    words = [word for word in _words(command) if "=" in word and not word.startswith("--")]
    return [(word, word.partition("=")[0].lstrip("+~")) for word in words]


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError:
        return command.split()


def _is_of(key: str, groups: Collection[str]) -> bool:
    return key in groups or any(key.startswith(f"{group}.") for group in groups)
