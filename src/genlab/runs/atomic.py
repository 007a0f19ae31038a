"""Files that are there completely or not at all, whatever happens while they are written."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from genlab.core.errors import GenlabError

__all__ = ["atomic_file", "make_room", "remove_leftovers", "sync_folder", "write_atomic"]

_SUFFIX = ".partial"


@contextmanager
def atomic_file(path: Path | str, previous: Path | str | None = None) -> Iterator[BinaryIO]:
    """Open a file for writing that takes the name ``path`` only when the block ends without an error.

    The bytes go to a temporary name in the same folder and are synced to the disk before they take the name; the
    folder is synced after. When the block or the disk fails, the temporary file is removed and ``path`` is as it was.

    Args:
        path: The file to write or to replace. Its folder must exist.
        previous: Name in the same folder that the file replaced is kept under. It moves there just before the new
            one takes its place, so that at every instant one of the two names is a complete file.

    Raises:
        OSError: If the file cannot be written, e.g. with ``errno.ENOSPC`` on a full disk.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{_SUFFIX}")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if previous is not None and path.exists():
            os.replace(path, previous)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(path.parent)


def write_atomic(path: Path | str, content: bytes | str) -> None:
    """Write a whole file under its final name in one step; text is encoded as UTF-8.

    Args:
        path: The file to write or to replace. Its folder must exist.
        content: What it shall hold.

    Raises:
        OSError: If the file cannot be written; the old one is then unharmed.
    """
    with atomic_file(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def make_room(path: Path) -> None:
    """Make the folder of a file that the user named to be written.

    Raises:
        GenlabError: If the name is a folder's, or the folder cannot be made.
    """
    if path.is_dir():
        raise GenlabError(f"out is {path}, which is a folder. Give a file in it.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GenlabError(f"out is {path}, but its folder cannot be made: {error.strerror}.") from error


def remove_leftovers(folder: Path | str) -> None:
    """Remove the temporary files of writers that were killed. Only for a folder that nobody else writes to."""
    for leftover in Path(folder).glob(f".*{_SUFFIX}"):
        leftover.unlink(missing_ok=True)


def sync_folder(folder: Path | str) -> None:
    """Make the names in a folder last through a power cut, where the file system can do that."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        # Some network file systems cannot sync a folder; the files themselves are synced there all the same.
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
