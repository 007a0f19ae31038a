"""What a table is warned of: numbers that may not mean what they are read as, and rows that may lie in two splits."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable

import numpy as np

from genlab.core.errors import shown
from genlab.data.columns import ColumnsConfig, Sheet, TypedColumn

__all__ = ["in_thousands", "tell_once", "warn_of_common_values", "warn_of_counters", "warn_of_thousands"]

log = logging.getLogger(__name__)

COMMON = 0.05
"""Share of a column from which on a single value counts as one that comes again and again."""

_IN_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}\.\d{3}")
_BELOW_A_THOUSAND = re.compile(r"[+-]?[1-9]\d{0,2}")
_told: set[tuple[str, str]] = set()
"""What was said, and of which table: a command may make a data set again."""


def warn_of_common_values(column: TypedColumn, where: str) -> None:
    """Tell of one value again and again among numbers that have a density."""
    if column.field.levels is not None or column.field.rounded:
        return
    values, counts = np.unique(column.values, return_counts=True)
    if counts.max() > COMMON * len(column.values):
        log.warning(
            "Column '%s' of %s is %g in %.0f %% of its rows, but has a density, since its numbers have many decimals: "
            "a model can put a peak there, and its likelihood then says little. Round it in the file.",
            shown(column.field.name), where, values[counts.argmax()], 100 * counts.max() / len(column.values),
        )  # fmt: skip


def warn_of_counters(column: TypedColumn, where: str) -> None:
    """Tell of whole numbers that count the rows: with them no two rows are equal, and copies may lie in two splits."""
    steps = np.diff(column.values)
    if column.field.decimals != 0 or len(steps) == 0 or steps.min() < 1 or np.median(steps) != 1:
        return
    name = shown(column.field.name)
    tell_once(
        f"{where}: column '{name}' counts the rows, so that rows that are equal but for it may lie in two splits. "
        f"Leave it out by data.columns.drop=[{name}]."
    )


def warn_of_thousands(column: TypedColumn, sheet: Sheet, config: ColumnsConfig) -> None:
    """Tell of numbers such as 1.230 beside 950, which are read as decimals."""
    if column.field.decimals != 3:
        return
    gone = set(config.missing_values)
    if found := in_thousands(text for text in sheet.columns[column.field.name] if text not in gone):
        with_point, without = found
        tell_once(
            f"{sheet.where}: column '{shown(column.field.name)}' holds {with_point} beside {without}, and points are "
            "read as decimal signs. If they separate thousands, take them out of the file."
        )


def in_thousands(texts: Iterable[str]) -> tuple[str, str] | None:
    """Return two numbers of a column, with and without a point, if its points seem to stand between thousands.

    That is where each point has three digits behind it, at least one of them a zero at the end, and two whole numbers
    below a thousand have none. Who writes 12.400 with all its decimals writes 950.000 too, and who leaves zeros out
    writes 12.4; one number alone may stand for a missing value.
    """
    numbers = dict.fromkeys(text for text in texts if text != "0")  # which is written so in any column
    points = [text for text in numbers if _IN_THOUSANDS.fullmatch(text)]
    whole = [text for text in numbers if _BELOW_A_THOUSAND.fullmatch(text)]
    if len(points) + len(whole) < len(numbers) or len(whole) < 2 or not any(text.endswith("0") for text in points):
        return None
    return points[0], whole[0]


def tell_once(words: str, table: str = "") -> None:
    """Warn by words that were not said before of the table of this name, or of any."""
    if (table, words) not in _told:
        _told.add((table, words))
        log.warning("%s", words)
