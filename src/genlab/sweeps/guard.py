"""A small process beside a sweep, which ends the jobs if the sweep is killed and cannot do so itself.

The sweep writes to its standard input which process groups run. When that input ends, the sweep is gone. It imports
only the standard library and is run by its path, so that it starts at once.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable

__all__ = ["Guard", "signal_group"]


class Guard:
    """The sweep's side: a context manager around the time in which jobs run.

    Args:
        patience_seconds: How long the jobs of a sweep that was killed have to save.
    """

    def __init__(self, patience_seconds: float) -> None:
        command = [sys.executable, "-I", "-S", __file__, str(patience_seconds)]
        # In a session of its own: Ctrl-C and a closed terminal do not reach it.
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)

    def __enter__(self) -> Guard:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.stdin.close()  # type: ignore[union-attr]
        self._process.wait()

    def watch(self, group: int) -> None:
        """End this process group if the sweep dies."""
        self._tell(f"+{group}\n")

    def forget(self, group: int) -> None:
        """This process group has ended; its number may soon be another's."""
        self._tell(f"-{group}\n")

    def _tell(self, line: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # somebody killed the guard: the sweep works without one
            os.write(self._process.stdin.fileno(), line.encode())  # type: ignore[union-attr]


def signal_group(group: int, signum: int) -> bool:
    """Send a signal to a process group, 0 to ask only; returns whether the group was there."""
    try:
        os.killpg(group, signum)
    except (ProcessLookupError, PermissionError):  # macOS answers so for a group of dead processes
        return False
    return True


def _main(patience_seconds: float) -> None:
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
    _end(groups, patience_seconds)


def _end(groups: Iterable[int], patience_seconds: float) -> None:
    left = [group for group in groups if signal_group(group, signal.SIGTERM)]
    deadline = time.monotonic() + patience_seconds
    while left and time.monotonic() < deadline:
        time.sleep(0.1)
        left = [group for group in left if signal_group(group, 0)]
    for group in left:
        signal_group(group, signal.SIGKILL)


if __name__ == "__main__":
    _main(float(sys.argv[1]))
