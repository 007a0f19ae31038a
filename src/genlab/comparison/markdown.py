"""The comparison as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from genlab.comparison.cells import LEGEND, Cell, arrow, cell, heading, notes, ordered_by, skipped_line, subtitle, title
from genlab.comparison.columns import Column
from genlab.comparison.published import PUBLISHED_LEGEND, Beside, beside
from genlab.comparison.ranking import Comparison, Group, Row

__all__ = ["to_markdown"]

_SPECIAL = str.maketrans({character: f"\\{character}" for character in "\\`*_[]<>|~#"})


def to_markdown(comparison: Comparison) -> str:
    """Return one table for each group, what the marks mean, and what was skipped."""
    return "\n".join(_lines(comparison)) + "\n"


def _lines(comparison: Comparison) -> Iterator[str]:
    if not comparison.groups:
        yield "No results."
    for group in comparison.groups:
        yield from (f"## {_escape(title(group))}", "", _escape(f"{subtitle(group)}. {ordered_by(group)}"), "")
        yield from _table(group)
        yield ""
        yield from (line for note in notes(group) for line in (_escape(note), ""))
        yield from _published(group)
    if comparison.groups:
        yield f"**Bold**: {_escape(LEGEND)}"
    if line := skipped_line(comparison):
        yield from ("", _escape(line), "")
        yield from (f"- {_escape(item.path)}: {_escape(item.reason)}" for item in comparison.skipped)


def _table(group: Group) -> Iterator[str]:
    columns = group.columns
    yield _line(["model", "variant", "seeds", *(_heading(group, column) for column in columns), "device"])
    yield _line(["---", "---", "---:", *("---:" for _ in columns), "---"])
    for row in group.rows:
        yield _line([*_names(row), *(_cell(cell(row, column)) for column in columns), _escape(row.device)])


def _heading(group: Group, column: Column) -> str:
    return f"{_escape(heading(group, column))} {arrow(column)}".rstrip()


def _published(group: Group) -> Iterator[str]:
    if lines := beside(group):
        yield from (PUBLISHED_LEGEND, "", _line(Beside.headings()), _line(["---"] * len(Beside.headings())))
        yield from (_line([_escape(words) for words in line]) for line in lines)
        yield ""


def _names(row: Row) -> Sequence[str]:
    reference = "" if row.reference == row.model else row.reference  # as the floor, which is called so
    model = _escape(row.model) + (f" (*{reference}*)" if reference else "")
    return model, _escape(" · ".join(filter(None, (row.first.variant, row.note)))), str(len(row.runs))


def _cell(words: Cell) -> str:
    text = f"**{words.text}**" if words.best else words.text
    return f"{text} {_escape(words.remark)}".strip() if words.remark else text


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escape(text: str) -> str:
    return " ".join(text.split()).translate(_SPECIAL)
