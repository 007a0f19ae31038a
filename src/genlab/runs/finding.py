"""The run that a path, a run id or the beginning of one means."""

from __future__ import annotations

import os
from pathlib import Path

from genlab.core.errors import GenlabError, nearest, shown
from genlab.runs.addresses import Address, is_address
from genlab.runs.exports import INDEX, open_export
from genlab.runs.folder import RunDir
from genlab.runs.pulling import pull

__all__ = ["find_run"]


def find_run(path_or_id: Path | str, logs: Path | str = "logs") -> RunDir:
    """Find a run by its folder, by a file in it such as a checkpoint, by its id, or where it was exported to.

    Args:
        path_or_id: A path, a run id, the beginning of one that no other run shares, the folder of an export, or the
            address of one on the Hugging Face Hub, which is pulled: ``hf://user/name`` or ``hf://user/name@revision``.
        logs: Root under which ids are looked for.

    Raises:
        GenlabError: If there is no such run, or if several begin like that; names the nearest or all of them. If an
            export is damaged, or cannot be pulled.
    """
    if is_address(path_or_id):
        pulled = pull(Address.parse(path_or_id))
        return open_export(pulled.folder, logs, str(pulled.address))
    path = Path(path_or_id)
    there = os.path.exists(path)  # a name that is too long for one is none; Path.exists would raise
    for folder in (path, *path.absolute().parents[:2]) if there else ():
        if (folder / "config.yaml").is_file():
            return open_export(folder, logs) if os.path.lexists(folder / INDEX) else RunDir(folder)
    known = sorted(config.parent for config in Path(logs).glob("runs/*/*/*/config.yaml"))
    wanted = str(path_or_id)
    found = [run for run in known if run.name == wanted]
    found = found or [run for run in known if wanted and run.name.startswith(wanted)]
    if len(found) == 1:
        return RunDir(found[0])
    if found:
        first = ", ".join(map(str, found[:10])) + (" ..." if len(found) > 10 else "")
        raise GenlabError(f"'{wanted}' fits {len(found)} runs: {first}.\nGive one of these folders, or more of the id.")
    what = "is a path without a run's config.yaml" if there else "is neither a run's folder nor a run id"
    hint = nearest(wanted, (run.name for run in known))
    runs = shown(Path(logs) / "runs")
    raise GenlabError(f"'{shown(wanted)}' {what} among the {len(known)} runs in {runs}.{hint}")
