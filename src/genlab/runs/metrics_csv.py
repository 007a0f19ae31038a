"""``metrics.csv``: figures against examples seen."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from genlab.core.errors import GenlabError
from genlab.runs.atomic import write_atomic

__all__ = ["MetricsCsv"]


class MetricsCsv:
    """``metrics.csv``: figures against examples seen, one row per call, readable while the run goes on.

    A row is on its way to the disk when the call returns. A last row that a killed process left half-written is
    dropped. A figure that appears later gets a new column; the file is then written anew in one step.

    Args:
        path: The file; it and its folder are made at the first row.
    """

    POSITION = "examples_seen"

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._columns: list[str] | None = None

    def log(self, metrics: Mapping[str, float], examples_seen: int) -> None:
        """Append one row.

        Args:
            metrics: Name and value of each figure; NaN and infinities are written as such.
            examples_seen: Number of training examples seen so far, over all processes.

        Raises:
            GenlabError: If the file is there and is not ours.
        """
        row = {self.POSITION: 0.0, **{name: float(value) for name, value in metrics.items()}}
        row[self.POSITION] = int(examples_seen)
        columns = self._open()
        fresh = [name for name in row if name not in columns]
        if fresh:
            self._rewrite(columns + fresh, self.rows())
        with open(self.path, "a", newline="", encoding="utf-8") as file:
            file.write(_lines([[row.get(name, "") for name in self._columns or ()]]))

    def truncate(self, examples_seen: int) -> None:
        """Drop the rows beyond a position, so that a run that goes on from there has no row twice."""
        if self.path.exists():
            columns = self._open()
            self._rewrite(columns, [row for row in self.rows() if int(row[self.POSITION]) <= examples_seen])

    def rows(self) -> list[dict[str, str]]:
        """Return all complete rows as text, a figure that a row does not have as an empty string."""
        if not self.path.exists():
            return []
        text = self.path.read_text(encoding="utf-8")
        complete = text[: text.rfind("\n") + 1]
        rows = csv.DictReader(io.StringIO(complete, newline=""))
        if rows.fieldnames and rows.fieldnames[0] != self.POSITION:
            raise GenlabError(
                f"{self.path} begins with the column '{rows.fieldnames[0]}', expected '{self.POSITION}'.\n"
                "Something else wrote it: move it away."
            )
        return [row for row in rows if None not in row and None not in row.values() and row[self.POSITION].isdigit()]

    def _open(self) -> list[str]:
        if self._columns is None:
            self._columns = []
            if self.path.exists():
                rows = self.rows()
                with open(self.path, newline="", encoding="utf-8") as file:
                    columns = next(csv.reader(file), [])
                # Written anew, so that the next row is not appended to a half one.
                self._rewrite(columns, rows)
        return self._columns

    def _rewrite(self, columns: list[str], rows: list[dict[str, str]]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(self.path, _lines([columns, *([row.get(name, "") for name in columns] for row in rows)]))
        self._columns = columns


def _lines(rows: list[list[object]]) -> str:
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue()
