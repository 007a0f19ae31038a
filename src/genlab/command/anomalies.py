"""Compare what runs found unusual: read what ``detect`` left, and print it as tables."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from omegaconf import DictConfig

from genlab.command.config import check_config
from genlab.command.schemas import AnomaliesConfig
from genlab.comparison.anomalies import AnomalyTable, read_reports, tables_of, to_lines, to_text
from genlab.comparison.visible import visible
from genlab.core.errors import GenlabError, nearest, shown
from genlab.core.words import counted
from genlab.runs.atomic import make_room, write_atomic

__all__ = ["run"]

SKIPPED_SHOWN = 5


def run(config: DictConfig) -> list[AnomalyTable]:
    """Print the tables of what a config names, and write them to ``config.out`` as Markdown.

    Args:
        config: The composed config.

    Raises:
        GenlabError: If there is nothing to compare, or the file cannot be written.
    """
    settings = check_config(config, AnomaliesConfig)
    if settings.out is not None:
        make_room(Path(settings.out))
    folders = settings.folders or [settings.paths.logs]
    reports, skipped = read_reports(folders)
    names = {report.data.name for report in reports}
    if settings.data is not None:
        reports = [report for report in reports if settings.data in (report.data.name, report.other)]
    if not reports:
        where = ", ".join(shown(folder) for folder in folders)
        of = "" if settings.data is None else f" of {shown(settings.data)}{nearest(settings.data, map(visible, names))}"
        raise GenlabError(f"There are no scores{of} below {where}. Run scripts/detect.py run=... against=... first.")
    tables = tables_of(reports, settings.figure)
    print(to_lines(tables, _width()), end="")
    if skipped:
        print(f"\n{counted(len(skipped), 'file is', 'files are')} skipped.")
        print("\n".join(f"  {item.path}: {item.reason}" for item in skipped[:SKIPPED_SHOWN]))
    if settings.out is not None:
        write_atomic(settings.out, to_text(tables))
        print(f"Wrote {shown(settings.out)}")
    return tables


def _width() -> int:
    """Return how many characters a line has; as many as there are where no terminal would break it."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
