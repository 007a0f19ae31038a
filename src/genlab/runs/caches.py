"""Where what is computed once for a data set is kept: beside the data, else in the user's cache folder."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

from genlab.runs.atomic import make_folder

__all__ = ["cache_folders", "first_writable", "only_with_the_user", "user_cache_folder"]

NAME = "genlab_cache"
ANYBODYS_WRITE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH

_anywhere = ContextVar("_anywhere", default=True)


def cache_folders(root: Path) -> tuple[Path, ...]:
    """Return the folders in which something computed for the data below ``root`` may lie, the first choice first."""
    return root / NAME, user_cache_folder()


def user_cache_folder() -> Path:
    """Return the folder for what belongs to no data folder: ``$GENLAB_HOME/cache``, or the system's place for it."""
    if home := os.environ.get("GENLAB_HOME"):
        return Path(home).expanduser() / "cache"
    import platformdirs

    return Path(platformdirs.user_cache_dir("genlab", appauthor=False))


@contextmanager
def only_with_the_user() -> Iterator[None]:
    """Within the block, in its thread, `first_writable` is the user's cache folder: others' configs name the others."""
    before = _anywhere.set(False)
    try:
        yield
    finally:
        _anywhere.reset(before)


def first_writable(folders: tuple[Path, ...]) -> Path:
    """Return the first folder that can be written, or made; the last where none seems so."""
    if not _anywhere.get():
        folders = (user_cache_folder(),)
    found = next((folder for folder in folders if _is_writable(folder)), folders[-1])
    if found == user_cache_folder():
        # Ours alone. A data folder that is missing is not made here: its name may be mistyped.
        with suppress(OSError):
            make_folder(found)
    return found


def _is_writable(folder: Path) -> bool:
    there = next((path for path in (folder, *folder.absolute().parents) if path.exists()), None)
    if there is None or not there.is_dir() or not os.access(there, os.W_OK):
        return False
    # A folder that nobody may write is meant to stay as it is, though the system would let its administrator.
    return bool(there.stat().st_mode & ANYBODYS_WRITE)
