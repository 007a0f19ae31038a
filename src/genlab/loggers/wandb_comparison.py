"""A comparison on W&B: one table for each data set and protocol, in a run of its own."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from genlab.core.errors import GenlabError
from genlab.loggers.wandb_access import check_project
from genlab.loggers.wandb_session import first_line, quiet_settings, staged_in, start_run

__all__ = ["log_comparison"]

_START_SECONDS = 5.0

Rows = Sequence[Mapping[str, Any]]


def log_comparison(tables: Mapping[str, Rows], project: str, folder: Path, command: str) -> str:
    """Log tables to a W&B run of the type ``comparison``, online where that can be, else offline.

    Args:
        tables: Rows by the name of their table; all rows of a table have the same columns.
        project: ``<project>`` or ``<entity>/<project>``.
        folder: W&B writes to ``wandb`` in it.
        command: The command that makes the tables.

    Returns:
        Where the run is, in a sentence.

    Raises:
        GenlabError: If W&B is disabled, or fails.
    """
    entity, slash, name = project.rpartition("/")
    for part in (name, entity) if slash else (name,):
        check_project("wandb", part)
    staging = folder / "wandb"

    def init(mode: str) -> Any:
        import wandb

        staging.mkdir(parents=True, exist_ok=True)
        return wandb.init(
            dir=folder,
            project=name,
            entity=entity or None,
            job_type="comparison",
            name=" ".join(["comparison", *tables]) if len(tables) == 1 else f"comparison of {len(tables)} tables",
            config={"command": command, "tables": list(tables)},
            mode=mode,
            reinit="create_new",
            settings=quiet_settings(_START_SECONDS, machine_info=False),
        )

    try:
        with staged_in(staging):
            run, reason = start_run("auto", _START_SECONDS, init)
            if run is None:
                raise GenlabError(f"wandb={project}: W&B is disabled ({reason}), so no table is logged.")
            where = os.path.relpath(run.settings.sync_dir) if reason else run.url
            _log_and_finish(run, tables)
    except GenlabError:
        raise
    except Exception as error:  # whatever W&B raises
        raise GenlabError(f"wandb={project}: W&B did not take the tables ({first_line(error)}).") from error
    if reason:
        return f"W&B is offline ({reason}). To upload the tables: wandb sync {shlex.quote(where)}"
    return f"Logged the tables to {where}"


def _log_and_finish(run: Any, tables: Mapping[str, Rows]) -> None:
    exit_code = 1
    try:
        for table, rows in tables.items():
            run.log({f"comparison/{table}": _table(rows)})
        exit_code = 0
    finally:
        run.finish(exit_code=exit_code)


def _table(rows: Rows) -> Any:
    import wandb

    # A column without a value in any row would only hide the others.
    columns = [key for key in rows[0] if any(row[key] not in (None, "") for row in rows)]
    return wandb.Table(columns=columns, data=[[row[key] for key in columns] for row in rows])
