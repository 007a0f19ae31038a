"""Compare results: read them, print their table, and write it in other formats."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from omegaconf import DictConfig

from genlab.command.command_line import command_line
from genlab.command.config import check_config
from genlab.command.schemas import CompareConfig
from genlab.comparison.csv_table import table_rows, to_csv
from genlab.comparison.latex import to_latex
from genlab.comparison.markdown import to_markdown
from genlab.comparison.ranking import Comparison, compare
from genlab.comparison.reading import RunResult, Skipped, read_results, reduce_result
from genlab.comparison.report import to_html
from genlab.comparison.terminal import print_comparison
from genlab.comparison.visible import visible
from genlab.core.errors import GenlabError, nearest, shown
from genlab.loggers.wandb_comparison import log_comparison
from genlab.measure.finished_run import FinishedRun
from genlab.runs.atomic import make_room, write_atomic
from genlab.runs.code import count_other_code

__all__ = ["FORMATS", "compare_sweep", "run"]

FORMATS: dict[str, tuple[str, Callable[[Comparison, str], str]]] = {
    "markdown": ("comparison.md", lambda comparison, command: to_markdown(comparison)),
    "csv": ("comparison.csv", lambda comparison, command: to_csv(comparison)),
    "latex": ("comparison.tex", lambda comparison, command: to_latex(comparison)),
    "html": ("comparison.html", to_html),
}
"""File and writer of each format; a writer gets the comparison and the command that made it."""


def run(config: DictConfig) -> Comparison:
    """Compare what a config names, print it, write it to ``config.out`` and log it to ``config.wandb``.

    Args:
        config: The composed config.

    Raises:
        GenlabError: If no result is found, or none of the wanted data or protocol; says what there is.
    """
    settings = check_config(config, CompareConfig)
    folders = settings.folders or [settings.paths.logs]
    results, skipped = read_results(folders)
    if not results:
        raise GenlabError(_nothing(folders, skipped))
    results = _choose(results, "data", settings.data, lambda result: (result.data.name,))
    results = _choose(results, "protocol", settings.protocol, lambda result: result.protocol)
    comparison = compare(results, skipped)
    if settings.out is not None:
        _check(Path(settings.out), settings.formats)
    print_comparison(comparison)
    command = visible(command_line("scripts/compare.py"))
    if settings.out is not None:
        _write(comparison, Path(settings.out), settings.formats, command)
    if settings.wandb is not None:
        print(log_comparison(_tables(comparison), settings.wandb, Path(settings.paths.logs), command))
    return comparison


def compare_sweep(results: Iterable[object]) -> None:
    """Print the table of the runs of a sweep, and how many of them other code has trained.

    Args:
        results: What its jobs returned; all that is no result is left out.
    """
    runs = [run for result in results if (run := FinishedRun.of(result)) is not None]
    found = [reduce_result(run.result) for run in runs]
    if found:
        print_comparison(compare(found))
    if line := count_other_code([run.result.trained_by for run in runs], "runs"):
        print(visible(f"{line} rerun=true trains afresh."))


def _nothing(folders: Sequence[str], skipped: Sequence[Skipped]) -> str:
    if not skipped:
        return f"There are no results below {', '.join(folders)}. Train first, or give folders=[...]."
    first = skipped[0]
    more = f" (and {len(skipped) - 1} more)" if len(skipped) > 1 else ""
    return f"There are no results below {', '.join(folders)}.\nSkipped: {first.path}: {first.reason}{more}."


def _choose(
    results: list[RunResult], key: str, wanted: str | None, names: Callable[[RunResult], tuple[str, ...]]
) -> list[RunResult]:
    if wanted is None:
        return results
    chosen = [result for result in results if wanted in names(result)]
    if not chosen:
        known = sorted({names(result)[0] for result in results})
        raise GenlabError(
            f"No result has {key} '{wanted}'.{nearest(wanted, known)} There are results of: {', '.join(known)}."
        )
    return chosen


def _check(folder: Path, formats: Sequence[str]) -> None:
    """See that the files of these formats can be written, and make their folder."""
    if os.path.isfile(folder):
        raise GenlabError(f"out is {shown(folder)}, which is a file. Give a folder.")
    for name in formats:
        make_room(folder / FORMATS[name][0])


def _write(comparison: Comparison, folder: Path, formats: Sequence[str], command: str) -> None:
    for name in dict.fromkeys(formats):
        file, write = FORMATS[name]
        write_atomic(folder / file, write(comparison, command))
        print(visible(f"Wrote {folder / file}"))


def _tables(comparison: Comparison) -> dict[str, list[dict[str, object]]]:
    """Return the rows of each group under a name that no other has: rows of two protocols never share a table."""
    tables: dict[str, list[dict[str, object]]] = {}
    for group in comparison.groups:
        parts = (group.data.name, f"{group.protocol[0]}-{group.protocol[1]}")
        name = unique = "/".join(re.sub(r"[^\w.-]", "_", part) for part in parts)
        number = 1
        while unique in tables:  # data sets of one name that differ in split or entropy
            number += 1
            unique = f"{name}-{number}"
        tables[unique] = table_rows(group)
    return tables
