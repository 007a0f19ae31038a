"""Rows of CSV files of anybody's."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from genlab.core.errors import GenlabError, shown

__all__ = ["read_rows"]


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file with a line of names, by these names.

    Raises:
        GenlabError: If it is none.
    """
    try:
        reader = csv.DictReader(io.StringIO(path.read_bytes().decode("utf-8-sig")), strict=True)
        rows = list(reader)
    except (csv.Error, UnicodeDecodeError) as error:
        raise GenlabError(f"{shown(path)} cannot be read as CSV: {error}") from error
    for number, row in enumerate(rows, 2):
        if None in row or None in row.values():
            raise GenlabError(f"{shown(path)} has in line {number:,} more or fewer values than names in the first.")
    return rows
