"""The runs of a folder of logs, and the files in them that a page may show: none that lies elsewhere."""

from __future__ import annotations

import os
from pathlib import Path

from genlab.comparison.reading import RunResult
from genlab.core.errors import GenlabError, shown
from genlab.runs.folder import RunDir

__all__ = ["Logs"]

MOST_BYTES = 64_000_000
"""A result or a table of metrics that is larger is none."""


class Logs:
    """A folder of logs.

    A run is named by ``<data>/<model>/<run id>``, its folder below ``runs``. What a link leads out of the folder is no
    run and no file of it; the folder itself may be a link.

    Args:
        root: ``paths.logs``.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    def names(self) -> list[str]:
        """Return the names of all runs, sorted."""
        runs = self.root / "runs"
        found = (config.parent for config in runs.glob("*/*/*/config.yaml"))
        return sorted(str(folder.relative_to(runs)) for folder in found if self._is_run(folder))

    def run(self, name: str) -> RunDir:
        """Return a run by its name.

        Raises:
            GenlabError: If there is none, or it lies outside of the folder.
        """
        parts = name.split("/")
        plain = len(parts) == 3 and not {"", ".", ".."} & set(parts) and "\0" not in name and "\\" not in name
        folder = self.root.joinpath("runs", *parts) if plain else self.root
        if not plain or not self._is_run(folder):
            raise GenlabError(f"'{shown(name)}' is no run below {shown(self.root)}. Load the page again.")
        return RunDir(folder)

    def name_of(self, result: RunResult) -> str:
        """Return the name of the run that a result lies in; empty where it lies in none of these."""
        folder = Path(result.path or "").parent.parent
        runs = self.root / "runs"
        return str(folder.relative_to(runs)) if folder.is_relative_to(runs) and self._is_run(folder) else ""

    def results(self, run: RunDir) -> list[str]:
        """Return the paths of a run's results."""
        return sorted(str(path) for path in run.results.glob("*.json") if self.holds(path, MOST_BYTES))

    def holds(self, file: Path, most_bytes: int | None = None) -> bool:
        """Whether a path is a regular file in this folder, when all links are followed, and not larger than that."""
        try:
            real = file.resolve(strict=True)
            # Neither a pipe, which would keep one waiting, nor a device.
            there = real.is_relative_to(self.root.resolve()) and real.is_file()
            return there and (most_bytes is None or os.stat(real).st_size <= most_bytes)
        except (OSError, RuntimeError):  # it is gone, or a link to itself
            return False

    def _is_run(self, folder: Path) -> bool:
        return self.holds(folder / RunDir(folder).config.name, MOST_BYTES)
