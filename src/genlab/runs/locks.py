"""One process per run: a lock that the kernel releases when its holder dies, however it dies."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import socket
import time
import weakref
from pathlib import Path
from types import TracebackType

from genlab.core.errors import GenlabError

__all__ = ["IN_USE", "RunLock"]

#: What the message says when another process holds the lock.
IN_USE = "is in use by"

_log = logging.getLogger("genlab")
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
_held: weakref.WeakSet[RunLock] = weakref.WeakSet()


class RunLock:
    """Context manager that keeps every other process out of a run.

    The lock is the kernel's (``flock``), not the file's existence: it ends with the process that took it, so the lock
    of a dead process needs no guess and no cleaning up. The file stays, empty while nobody holds the lock, and names
    the holder while somebody does. Under several processes per run only rank 0 takes it.

    Where the file system knows no locks (some clusters'), a warning says so and the run goes on without one.

    Args:
        path: The lock file; its folder is made if it is missing.

    Raises:
        GenlabError: On entering, if another process holds the lock; names its process id and host.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._descriptor: int | None = None

    def __enter__(self) -> RunLock:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()

    def acquire(self) -> None:
        """Take the lock, or raise `GenlabError` at once if another process has it."""
        if self._descriptor is not None:
            raise RuntimeError(f"{self.path} is already held by this object.")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Python opens with O_CLOEXEC, so programs that this process starts do not inherit the lock.
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            self._lock(descriptor)
            _write_holder(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        _held.add(self)

    def release(self) -> None:
        """Give the lock back; without effect where it is not held, as in a forked child."""
        if self._descriptor is None:
            return
        os.ftruncate(self._descriptor, 0)
        self._forget()

    def _lock(self, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise GenlabError(
                f"The run in {self.path.parent} {IN_USE} {_read_holder(descriptor)}.\n"
                "Wait for it or stop it, then give the same command again; rerun=true starts a second run beside it."
            ) from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            _log.warning(
                "%s: this file system has no locks; see to it that no second process uses this run.", self.path
            )

    def _forget(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        _held.discard(self)


def _write_holder(descriptor: int) -> None:
    holder = {"pid": os.getpid(), "host": socket.gethostname()}
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(holder).encode(), 0)


def _read_holder(descriptor: int) -> str:
    # The holder writes its name just after it has the lock: an empty file is worth a second look.
    for _ in range(20):
        try:
            holder = json.loads(os.pread(descriptor, 4096, 0))
            return f"process {holder['pid']} on {holder['host']}"
        except (ValueError, TypeError, KeyError):
            time.sleep(0.01)
    return "another process"


def _forget_in_child() -> None:
    # A fork shares the lock with its child, and a child that outlived us would hold it. Closing gives up the child's
    # share only: the parent's lock stays.
    for lock in list(_held):
        lock._forget()


os.register_at_fork(after_in_child=_forget_in_child)
