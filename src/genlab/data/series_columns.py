"""Columns of numbers from a CSV file, in the order of time, with clear words for what is no such file."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from genlab.core.errors import GenlabError, nearest, shown
from genlab.runs.atomic import what_is_in_the_way

__all__ = ["Columns", "read_columns"]

TIME_NAMES = ("date", "datetime", "time", "timestamp")
"""What a column is called, in any case, that says when its rows are of, where nobody names one."""
MISSING = ("", "na", "n/a", "nan", "null", "none", "?", ".")
"""What stands, in any case, where a value is missing."""


class Columns:
    """A CSV file with a line of names, read as text, which knows in which line what stands.

    Args:
        path: The file, in UTF-8.

    Raises:
        GenlabError: If it cannot be read, has no names or two of one name, another separator than the comma, or a row
            with more or fewer values.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        rows = list(_rows(path))
        if not rows:
            raise GenlabError(f"{shown(path)} is empty, expected a CSV file with a line of names and rows of numbers.")
        (_, names), *self.rows = rows
        self.names = [name.strip() for name in names]
        if len(names) == 1 and (other := next((sign for sign in ";\t|" if sign in names[0]), None)):
            raise GenlabError(
                f"{shown(path)} has its values separated by '{shown(other)}', expected by commas, and numbers with "
                "decimal points. Save it so."
            )
        if doubled := sorted({name for name in self.names if self.names.count(name) > 1}):
            raise GenlabError(f"{shown(path)} has two columns '{shown(doubled[0])}', expected a name for each.")
        for line, row in self.rows:
            if len(row) != len(self.names):
                raise GenlabError(
                    f"{shown(path)} has {len(row)} values in line {line:,}, expected {len(self.names)}, one for each "
                    "name in its first line."
                )

    def texts(self, name: str, key: str) -> list[str]:
        """Return a column as it stands.

        Raises:
            GenlabError: If there is none of that name; it is told what setting ``key`` named it.
        """
        if name not in self.names:
            names = ", ".join(shown(other) for other in self.names)
            raise GenlabError(f"data.{key} has '{name}', expected columns of {shown(self.path)}: {names}."
                              f"{nearest(name, self.names)}")  # fmt: skip
        place = self.names.index(name)
        return [row[place].strip() for _, row in self.rows]

    def numbers(self, name: str, key: str = "columns") -> np.ndarray:
        """Return a column as numbers, float64 ``[S]``.

        Raises:
            GenlabError: If there is no such column, a value is missing, or it is no finite number.
        """
        texts = self.texts(name, key)
        missing = [place for place, text in enumerate(texts) if text.lower() in MISSING]
        if missing:
            raise GenlabError(
                f"Column '{shown(name)}' of {shown(self.path)} has {len(missing):,} missing values, the first in line "
                f"{self.rows[missing[0]][0]:,}, expected none. Fill them in or remove their rows."
            )
        values = np.empty(len(texts))
        for place, text in enumerate(texts):
            value = _number(text)
            if value is None:
                comma = "Write them with decimal points, and without commas between digits."
                remedy = comma if "," in text else "Name columns of numbers by data.columns=[...]."
                raise GenlabError(
                    f"Column '{shown(name)}' of {shown(self.path)} holds '{shown(text[:40])}' in line "
                    f"{self.rows[place][0]:,}, expected numbers. {remedy}"
                )
            values[place] = value
        return values


def read_columns(path: Path, columns: Sequence[str] | None, time: str | None) -> tuple[list[str], np.ndarray]:
    """Read columns of a series.

    Args:
        path: A CSV file in UTF-8 with a line of names.
        columns: Which; None: all but the one that says when.
        time: The column that says when, dates or numbers that rise; None: one that is called date, datetime, time or
            timestamp, if there is one.

    Returns:
        The names ``[C]``, and the values ``[S, C]``, float64.

    Raises:
        GenlabError: If the file is none, a column is unknown, without a name, given twice, has missing values or others
            than numbers, or the times do not rise.
    """
    table = Columns(path)
    when = time or next((name for name in table.names if name.lower() in TIME_NAMES), None)
    if when is not None:
        _check_order(table, when)
    names = [name for name in table.names if name != when] if columns is None else list(columns)
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise GenlabError(f"data.columns has '{shown(twice)}' twice, expected each column once.")
    if "" in names:
        raise GenlabError(
            f"Column {table.names.index('') + 1} of {shown(path)} has no name. Name the others by data.columns=[...], "
            "or it in the first line; if it is the index that pandas writes, write the file with index=False."
        )
    if not names:
        raise GenlabError(f"{shown(path)} has no column beside that of the time, expected one of numbers at least.")
    return names, np.stack([table.numbers(name) for name in names], axis=1)


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Give the rows with the numbers of their lines; blank lines are none, unless a row has one value."""
    try:
        if there := what_is_in_the_way(path):  # opening a pipe would wait for ever
            raise GenlabError(f"data.path is {shown(path)}, which is {there}, expected a CSV file.")
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            names: list[str] = []
            blank: list[int] = []
            for row in reader:
                if not row:
                    blank.append(reader.line_num)
                    continue
                if len(names) == 1:  # a blank line is a value that is missing, and closes no gap
                    yield from ((line, [""]) for line in blank)
                names, blank = names or row, []
                yield reader.line_num, row
    except OSError as error:
        raise GenlabError(f"data.path is {shown(path)}, which cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise GenlabError(
            f"{shown(path)} is not UTF-8 ({error.reason}), expected a CSV file. Save it as UTF-8."
        ) from error
    except csv.Error as error:
        raise GenlabError(f"{shown(path)} is no CSV file: {error} (line {reader.line_num:,}).") from error


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _iso(text: str) -> datetime:
    when = datetime.fromisoformat(text)
    return when if when.tzinfo is None else when.astimezone(UTC).replace(tzinfo=None)


def _by(pattern: str) -> Callable[[str], datetime]:
    return lambda text: datetime.strptime(text, pattern)


_DATES: tuple[Callable[[str], Any], ...] = (
    float, _iso, *map(_by, ("%m/%d/%Y", "%d/%m/%Y", "%m/%d/%Y %H:%M", "%d/%m/%Y %H:%M", "%d.%m.%Y", "%Y/%m/%d"))
)  # fmt: skip
"""How times may be written. 3/4/2020 is what makes the times rise, March first."""


def _check_order(table: Columns, name: str) -> None:
    """Refuse rows that are not in the order of their times."""
    texts = table.texts(name, "time")
    unsorted: int | None = None
    for read in _DATES:
        try:
            times = [read(text) for text in texts]
        except ValueError:
            continue
        wrong = next((place for place, (one, next_) in enumerate(pairwise(times), 1) if not one < next_), None)
        if wrong is None:
            return
        unsorted = wrong if unsorted is None else unsorted
    if unsorted is None:
        bad = next((place for place, text in enumerate(texts) if not _is_time(text)), 0)
        raise GenlabError(
            f"Column '{shown(name)}' of {shown(table.path)} holds '{shown(texts[bad][:40])}' in line "
            f"{table.rows[bad][0]:,}, expected dates in one form, such as 2024-01-31 or 1/31/2024, or numbers."
        )
    before, line = texts[unsorted - 1], table.rows[unsorted][0]
    raise GenlabError(
        f"{shown(table.path)} is not in the order of '{shown(name)}': line {line:,} has {shown(texts[unsorted][:40])} "
        f"after {shown(before[:40])}. Sort the rows, and keep one for each time."
    )


def _is_time(text: str) -> bool:
    for read in _DATES:
        try:
            read(text)
        except ValueError:
            continue
        return True
    return False
