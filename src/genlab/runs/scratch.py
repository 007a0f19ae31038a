"""Folders for the time being, beside what is made in them; those of processes that were killed are removed."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

__all__ = ["scratch_folder"]

_LOCK = ".in_use"
_LOCKED = b"genlab\n"
"""What stands in the lock file from when it is locked on: without it nobody tells whether its owner lives."""


@contextmanager
def scratch_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """Make a folder that is removed when the block ends; those that killed processes left there are removed first.

    Its owner is told by a lock of the kernel, which ends with the process: the folder of one that lives is left alone.
    So is what has no such lock file, and a link. Where a file system knows no locks, nothing is removed.

    Args:
        parent: The folder in which it is made.
        prefix: Of its name, which begins with a dot; eight letters or digits follow.

    Yields:
        Its path.

    Raises:
        OSError: If it cannot be made.
    """
    _remove_leftovers(parent, prefix)
    with TemporaryDirectory(dir=parent, prefix=prefix) as folder:
        descriptor = os.open(Path(folder, _LOCK), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with suppress(OSError):  # no locks, or no room for these bytes: it is only not told from one that is in use
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                os.write(descriptor, _LOCKED)
            yield Path(folder)
        finally:
            os.close(descriptor)


def _remove_leftovers(parent: Path, prefix: str) -> None:
    name = re.compile(re.escape(prefix) + r"[a-z0-9_]{8}")
    for path in [path for path in parent.iterdir() if name.fullmatch(path.name)]:
        with suppress(OSError):  # another user's, or somebody else was faster
            if stat.S_ISDIR(os.lstat(path).st_mode):
                _remove_if_left(path, path.with_name(f"{prefix}{secrets.token_hex(4)}"))


def _remove_if_left(path: Path, aside: Path) -> None:
    descriptor = os.open(path / _LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.pread(descriptor, len(_LOCKED) + 1, 0) == _LOCKED:
            # Under another name first: no half of it can be moved to its place, even where locks say nothing.
            os.rename(path, aside)
            shutil.rmtree(aside, ignore_errors=True)
    finally:
        os.close(descriptor)
