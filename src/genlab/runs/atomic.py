"""Files that are there completely or not at all, whatever happens while they are written."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from genlab.core.errors import GenlabError, shown

__all__ = [
    "atomic_file",
    "check_writable",
    "make_folder",
    "make_room",
    "remove_leftovers",
    "sync_folder",
    "what_is_in_the_way",
    "write_atomic",
]

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
        OSError: If the file cannot be written, e.g. with ``errno.ENOSPC`` on a full disk; it names the file.
    """
    path = Path(path)
    temporary = _temporary(path)
    _refuse_device(path)
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if previous is not None and path.exists():
            os.replace(path, previous)
        os.replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and str(error.filename) in ("None", str(temporary)):
            # The temporary name says nothing to a user, and a write to a full disk names no file at all.
            error.filename, error.filename2 = os.fspath(path), None
        raise
    sync_folder(path.parent)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}{_SUFFIX}")


def _refuse_device(path: Path) -> None:
    # A rename would put a file in the place of what is there: as root even in that of /dev/null, for all programs.
    with suppress(FileNotFoundError):
        mode = os.lstat(path).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode) or stat.S_ISDIR(mode)):
            raise FileExistsError(errno.EEXIST, "Is a device or a pipe, and no file", os.fspath(path))


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


def make_room(path: Path, key: str = "out") -> None:
    """Make the folder of a file that is to be written, and see that it can be: before the work and not after it.

    Args:
        path: The file; it is left as it is.
        key: The setting that names it.

    Raises:
        GenlabError: If something that is no file has that name, or a file cannot be written there.
    """
    try:
        there = what_is_in_the_way(path)
        if there is not None:
            raise GenlabError(f"{key} is {shown(path)}, which is {there}. Give a file.")
        make_folder(path.parent)
        check_writable(path)
    except OSError as error:
        raise GenlabError(f"{key} is {shown(path)}, but no file can be written there: {error.strerror}.") from error


def make_folder(folder: Path) -> None:
    """Make a folder and those that it lies in, where they are missing.

    Raises:
        OSError: If it cannot be made; where a file is in its way, in words that say so.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise type(error)(error.errno, "a file is in its way", os.fspath(folder)) from error


def what_is_in_the_way(path: Path | str) -> str | None:
    """Return what stands where a file is to be, ``"a folder"`` or the like; None for a file or nothing.

    Raises:
        OSError: If that cannot be told, e.g. with ``errno.ELOOP`` for a link to itself.
    """
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    if stat.S_ISREG(mode):
        return None
    return "a folder" if stat.S_ISDIR(mode) else "a device or a pipe"


def check_writable(path: Path | str) -> None:
    """See that a file of this name can be written, by writing the temporary one of `atomic_file`, and removing it.

    Raises:
        OSError: If it cannot.
    """
    temporary = _temporary(Path(path))
    try:
        with open(temporary, "xb") as file:
            file.write(b"\0")
    finally:
        with suppress(OSError):
            temporary.unlink()


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
