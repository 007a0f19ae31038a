"""What runs found unusual, as tables: for each pair of data sets the runs, and what their scores tell apart."""

from __future__ import annotations

import functools
import math
import textwrap
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Le
from pydantic import BaseModel, ConfigDict, ValidationError

from genlab.comparison.reading import Skipped
from genlab.comparison.visible import visible

__all__ = ["FIGURES", "AnomalyReport", "AnomalyTable", "read_reports", "tables_of", "to_lines", "to_text"]

Share = Annotated[float, Ge(0), Le(1)]
FigureName = Literal["auroc", "average_precision", "fpr_at_95"]

FIGURES: dict[FigureName, tuple[str, bool]] = {
    "auroc": ("AUROC", True),
    "average_precision": ("average precision", True),
    "fpr_at_95": ("FPR at 95 % TPR", False),
}
"""What a table may show: what it is called, and whether more is better."""

BASELINE = "neighbour"
"""The score that knows nothing of the model."""
BEYOND_CHANCE = 2.0
"""Standard errors of a difference, beyond which it is none of chance."""
MOST_BYTES = 8_000_000

LEGEND = (
    "± is the standard error over examples; where it is 0 the sets do not overlap. 0.5 is chance for AUROC. "
    f"* better than the score {BASELINE}, which knows nothing of the model, by more than {BEYOND_CHANCE:g} standard "
    "errors. † told by a model of the other set."
)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class ScoreFigures(_Part):
    """What one score found; see :class:`genlab.uses.detect.separation.Separation`."""

    auroc: Share
    auroc_se: Share
    average_precision: Share
    average_precision_se: Share
    fpr_at_95: Share
    fpr_at_95_se: Share

    def of(self, figure: FigureName) -> tuple[float, float]:
        """Return a figure and its standard error."""
        return getattr(self, figure), getattr(self, f"{figure}_se")


class _Model(_Part):
    name: str
    variant: str


class _Data(_Part):
    name: str


class _Settings(_Part):
    split: str
    n: int
    checkpoint: str


class AnomalyReport(_Part):
    """A JSON file that ``detect`` left, as far as tables show it."""

    use: Literal["detect"]
    run: str
    model: _Model
    data: _Data
    settings: _Settings
    other: str
    own_examples: Annotated[int, Ge(1)]
    other_examples: Annotated[int, Ge(1)]
    scores: dict[str, ScoreFigures]
    missing: dict[str, str]
    told_by_the_other_set: tuple[str, ...] = ()


@dataclass(frozen=True)
class AnomalyTable:
    """One pair of data sets, in one direction.

    Attributes:
        title: Both sets, and how many examples of each.
        heading: Names of the columns.
        rows: Of text, as long as the heading.
        notes: Why cells are empty.
    """

    title: str
    heading: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]


def read_reports(folders: Iterable[Path | str]) -> tuple[list[AnomalyReport], list[Skipped]]:
    """Read what ``detect`` left below folders, in the order of paths, and say what could not be read.

    Args:
        folders: Folders, or files themselves.
    """
    found, skipped = [], []
    for path in _files(folders, skipped):
        try:
            if path.stat().st_size > MOST_BYTES:
                continue  # no report has as much
            content = path.read_bytes()
            if b'"use": "detect"' in content[:200]:
                found.append(AnomalyReport.model_validate_json(content))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"])) or "it"
            skipped.append(Skipped(visible(str(path)), visible(f"{where}: {first['msg']}"[:200])))
        except OSError as error:
            skipped.append(Skipped(visible(str(path)), error.strerror or type(error).__name__))
    return found, skipped


def _files(folders: Iterable[Path | str], skipped: list[Skipped]) -> Iterator[Path]:
    for folder in map(Path, folders):
        try:
            if folder.is_file():
                yield folder
            elif folder.is_dir():
                yield from sorted(path for path in folder.rglob("*.json") if path.is_file())
            else:
                skipped.append(Skipped(visible(str(folder)), "there is no such file or folder"))
        except OSError as error:
            skipped.append(Skipped(visible(str(folder)), error.strerror or type(error).__name__))


def tables_of(reports: Sequence[AnomalyReport], figure: FigureName = "auroc") -> list[AnomalyTable]:
    """Return a table for each pair of data sets in each direction, both directions of a pair one after the other.

    Rows of one table are of the same examples: what is of another split or number stands in another.

    Args:
        reports: As they were read.
        figure: What stands in the cells.
    """
    groups: dict[tuple[object, ...], list[AnomalyReport]] = defaultdict(list)
    for report in reports:
        pair = sorted((report.data.name, report.other))
        counts = (report.own_examples, report.other_examples)
        groups[(*pair, report.data.name, report.settings.split, counts)].append(report)
    return [_table(groups[key], figure) for key in sorted(groups)]


def _table(reports: Sequence[AnomalyReport], figure: FigureName) -> AnomalyTable:
    first = reports[0]
    names = list(dict.fromkeys(name for report in reports for name in report.scores))
    # The baseline first: it is what the others are held against.
    names.sort(key=lambda name: name != BASELINE)
    counts = f"{first.own_examples:,} and {first.other_examples:,} examples"
    title = f"{FIGURES[figure][0]}, {first.data.name} against {first.other}, {first.settings.split}, {counts}"
    rows = [(*_named(report), *(_cell(report, name, figure) for name in names)) for report in reports]
    reasons: dict[tuple[str, str], list[str]] = defaultdict(list)
    for report in reports:
        for name, reason in report.missing.items():
            if name in names:
                reasons[name, reason].append(report.model.name)
    notes = [f"No {name} of {', '.join(dict.fromkeys(models))}: {why}." for (name, why), models in reasons.items()]
    shown = tuple(tuple(map(visible, row)) for row in rows)
    heading = ("model", "run", *(f"{name}{' (baseline)' if name == BASELINE else ''}" for name in names))
    return AnomalyTable(visible(title), tuple(map(visible, heading)), shown, tuple(map(visible, notes)))


def _named(report: AnomalyReport) -> tuple[str, str]:
    model = f"{report.model.name} ({report.model.variant})" if report.model.variant else report.model.name
    return model, report.run + (" last" if report.settings.checkpoint == "last" else "")


def _cell(report: AnomalyReport, name: str, figure: FigureName) -> str:
    if name not in report.scores:
        return "-"
    value, error = report.scores[name].of(figure)
    mark = "†" if name in report.told_by_the_other_set else ""
    if name != BASELINE and BASELINE in report.scores:
        usual, its_error = report.scores[BASELINE].of(figure)
        gain = value - usual if FIGURES[figure][1] else usual - value
        # Both are of the same examples, and so vary together: the error of the difference is rather smaller than this.
        mark = "*" + mark if gain > BEYOND_CHANCE * math.hypot(error, its_error) else mark
    return f"{value:.3f} ± {error:.3f}{mark}"


def to_text(tables: Sequence[AnomalyTable]) -> str:
    """Return tables as Markdown."""
    return "\n".join([*map(_markdown, tables), LEGEND]) + "\n"


def to_lines(tables: Sequence[AnomalyTable], width: int) -> str:
    """Return tables as aligned columns; those that a line has no room for stand below.

    Args:
        tables: As they were made.
        width: Characters of a line. A column that is wider stands alone.
    """
    fill = functools.partial(textwrap.fill, width=width, break_long_words=False, break_on_hyphens=False)
    return "\n".join([*(_aligned(table, width, fill) for table in tables), fill(LEGEND)]) + "\n"


def _aligned(table: AnomalyTable, width: int, fill: Callable[[str], str]) -> str:
    columns = list(zip(table.heading, *table.rows, strict=True))
    lines = [fill(table.title), ""]
    if _width(columns) > width:  # names and ids once, then ids alone beside as many scores as there is room for
        lines += [*_rows([columns[1], columns[0]]), ""]
        columns = columns[1:]
    shown = columns[:1]
    for column in columns[1:]:
        if len(shown) > 1 and _width([*shown, column]) > width:
            lines += [*_rows(shown), ""]
            shown = columns[:1]
        shown.append(column)
    lines += [*_rows(shown), "", *map(fill, table.notes)]
    return "\n".join([*lines, *([""] if table.notes else [])])


def _width(columns: Sequence[Sequence[str]]) -> int:
    return sum(max(map(len, column)) + 2 for column in columns) - 2


def _rows(columns: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in columns]
    return ["  ".join(map(str.ljust, line, widths)).rstrip() for line in zip(*columns, strict=True)]


_SPECIAL = str.maketrans({character: f"\\{character}" for character in "\\`*_[]<>|~#"})


def _markdown(table: AnomalyTable) -> str:
    lines = [table.heading, ("---",) * len(table.heading), *table.rows]
    rows = [f"| {' | '.join(cell if cell == '---' else cell.translate(_SPECIAL) for cell in line)} |" for line in lines]
    notes = [line for note in table.notes for line in ("", note.translate(_SPECIAL))]
    return "\n".join([f"## {table.title.translate(_SPECIAL)}", "", *rows, *notes, ""])
