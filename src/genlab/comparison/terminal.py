"""The comparison in a terminal. Numbers are never wrapped or cut: what finds no room stands in a second table below."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from genlab.comparison.cells import (
    LEGEND,
    arrow,
    cell,
    heading,
    notes,
    ordered_by,
    shared_device,
    skipped_line,
    subtitle,
    title,
)
from genlab.comparison.columns import Column
from genlab.comparison.published import PUBLISHED_LEGEND, Beside, beside
from genlab.comparison.ranking import Comparison, Group, Row
from genlab.comparison.references import FLOOR
from genlab.processes.pipes import drop_unread

__all__ = ["print_comparison"]

MODEL_WIDTH = 22
PIPE_WIDTH = 120
"""Columns of text where the output is no terminal, which would have a width of its own."""

SKIPPED_SHOWN = 10


def print_comparison(comparison: Comparison, console: Console | None = None) -> None:
    """Print one table for each group, what the marks mean, and what was skipped.

    Args:
        comparison: What to print.
        console: Where to; standard output by default.
    """
    if console is None:
        console = _standard_output()
    for group in comparison.groups:
        _print_group(group, console)
    if comparison.groups:
        console.print(f"\n[dim]{_mark(console) or 'Bold'}: {escape(LEGEND)}[/dim]")
    if line := skipped_line(comparison):
        console.print(f"\n{escape(line)}")
    for skipped in comparison.skipped[:SKIPPED_SHOWN]:
        console.print(f"  {escape(skipped.path)}: {escape(skipped.reason)}", soft_wrap=True)
    if len(comparison.skipped) > SKIPPED_SHOWN:
        console.print(f"  and {len(comparison.skipped) - SKIPPED_SHOWN} more.")


class _Console(Console):
    """A console that falls silent when its reader leaves, as ``| head`` does, where rich's own ends the program."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        drop_unread()


def _standard_output() -> Console:
    # What an encoding such as Latin-1 lacks is shown by its number.
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    console = _Console(highlight=False, emoji=False)
    return console if console.is_terminal else _Console(highlight=False, emoji=False, width=PIPE_WIDTH)


def _print_group(group: Group, console: Console) -> None:
    devices = _devices(group)
    console.print(f"\n[bold]{escape(title(group))}[/bold]  [dim]{escape(subtitle(group))}[/dim]")
    table = functools.partial(_table, group, list(map(_model, group.rows)), devices, console)
    first, left_out = _with_room(group.columns, table, console)
    console.print(table(first))
    if first and left_out:
        table = functools.partial(_table, group, _short_names(group), {}, console)
        second, left_out = _with_room(left_out, table, console)
        if second:
            console.print(f"\n[dim]The same rows: {escape(', '.join(column.heading for column in second))}.[/dim]")
            console.print(table(second))
    remarks = [ordered_by(group)]
    if (device := shared_device(group)) is not None:
        remarks.append(f"All on {device}.")
    remarks += [f"{letter}: {device}." for device, letter in devices.items()]
    if left_out:
        names = ", ".join(column.heading for column in left_out)
        remarks.append(f"No room for {names}: a wider terminal or out=<folder> has all.")
    console.print(f"[dim]{escape(' '.join(remarks))}[/dim]")
    for note in notes(group):
        console.print(escape(note))
    if lines := beside(group):
        console.print(f"\n[dim]{escape(PUBLISHED_LEGEND)}[/dim]")
        console.print(_published(lines))


def _with_room(
    columns: Sequence[Column], table: Callable[[Sequence[Column]], Table], console: Console
) -> tuple[list[Column], list[Column]]:
    """Return the columns that a table has room for, the most important ones, and the others."""

    def width(some: Sequence[Column]) -> int:
        return Measurement.get(console, console.options.update(max_width=10_000), table(some)).maximum

    room = console.width - (alone := width([]))
    chosen = []
    for column in sorted(columns, key=lambda column: -column.priority):
        room -= width([column]) - alone
        if room < 0:
            break
        chosen.append(column)
    return [column for column in columns if column in chosen], [column for column in columns if column not in chosen]


def _devices(group: Group) -> dict[str, str]:
    """Give each device a letter, where there is more than one: their names are long."""
    names = list(dict.fromkeys(row.device for row in group.rows if row.reference != FLOOR))
    return {} if len(names) < 2 else {name: _letters(index) for index, name in enumerate(names)}


def _letters(index: int) -> str:
    return chr(ord("A") + index) if index < 26 else f"#{index + 1}"


def _mark(console: Console) -> str:
    """What marks the best beside bold: nothing, or a star where the output shows no styles, as a pipe."""
    return "*" if console.color_system is None else ""


def _table(
    group: Group, names: Sequence[str], devices: dict[str, str], console: Console, columns: Sequence[Column]
) -> Table:
    mark, arrows = _mark(console), _shows_arrows(console)
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold", pad_edge=False)
    table.add_column("model", max_width=MODEL_WIDTH, vertical="top", overflow="fold")
    for column in columns:
        left = column.basis == "likelihood"
        table.add_column(_heading(group, column, arrows), justify="left" if left else "right", no_wrap=True)
    if devices:
        table.add_column("de-\nvice", no_wrap=True)
    for name, row in zip(names, group.rows, strict=True):
        letter = [devices.get(row.device, "")] if devices else []
        table.add_row(name, *(_cell(row, column, mark) for column in columns), *letter)
    return table


def _heading(group: Group, column: Column, arrows: bool) -> str:
    """The short heading with its arrow: in a line of its own below a name of one line, else behind the last line."""
    text, better = heading(group, column, short=True), arrow(column) if arrows else ""
    return text + (" " if "\n" in text else "\n") + better if better else text


def _shows_arrows(console: Console) -> bool:
    try:
        return bool("↑↓".encode(console.encoding))
    except (UnicodeEncodeError, LookupError):
        return False


def _published(lines: list[Beside]) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold", pad_edge=False)
    table.add_column("method", overflow="fold")
    for name in ("published", "ours"):
        table.add_column(name, no_wrap=True)
    table.add_column("source", overflow="fold")
    for line in lines:
        pairs = (
            (line.method, line.statistic), (line.published, line.kind), (line.ours, line.kind_of_ours),
            (line.source, line.measured_on),
        )  # fmt: skip
        table.add_row(*(f"{escape(words)}\n[dim]{escape(remark)}[/dim]".rstrip() for words, remark in pairs))
    return table


def _short_names(group: Group) -> list[str]:
    """Return the models alone, where these tell the rows apart."""
    models = [row.model for row in group.rows]
    return list(map(escape, models)) if len(set(models)) == len(models) else list(map(_model, group.rows))


def _model(row: Row) -> str:
    seeds = f" [dim]{len(row.runs)} seeds[/dim]" if len(row.runs) > 1 else ""
    reference = "" if row.reference == row.model else row.reference  # as the floor, which is called so
    lines = [
        escape(row.model) + (f" [italic]{reference}[/italic]" if reference else "") + seeds,
        f"[dim]{escape(row.first.variant)}[/dim]" if row.first.variant else "",
        f"[dim]{escape(row.note)}[/dim]" if row.note else "",
    ]
    return "\n".join(filter(None, lines))


def _cell(row: Row, column: Column, mark: str) -> str:
    words = cell(row, column)
    value = words.value
    if words.best:
        value = f"[bold green]{value}[/bold green]"
        # On the side where it moves no digit out of its column.
        value = f"{value}{mark}" if column.basis == "likelihood" else f"{mark}{value}"
    if words.remark:
        spread = f" [dim]±{words.spread}[/dim]" if words.spread else ""
        # A kind, and whether labels were given, each in a line: together they would be wider than any number.
        remarks = "\n".join(words.remark.split(", "))
        return f"{value}{spread}\n[dim]{escape(remarks)}[/dim]"
    return f"{value}\n[dim]±{words.spread}[/dim]" if words.spread else value
