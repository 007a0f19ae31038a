"""Who works on a trial: a process, and whether it still lives."""

from __future__ import annotations

import os
import platform
import socket
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["is_alive", "machine", "this_process"]


@cache
def machine() -> str:
    """Return a name that two processes share if each can see the other among its process ids.

    A host's name alone does not do: containers may share it without seeing each other's processes, and after a restart
    of the host old ids mean nothing.
    """
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8])
        parts.append(os.readlink("/proc/self/ns/pid").strip("pid:[]"))
    return "/".join(parts)


def this_process() -> dict[str, Any]:
    """Return what tells this process from any other, as plain values."""
    return {"host": platform.node(), "machine": machine(), "pid": os.getpid(), "started": _started(os.getpid())}


def is_alive(owner: dict[str, Any]) -> bool | None:
    """Whether a process lives; None if that cannot be seen from here.

    Args:
        owner: What `this_process` returned there.
    """
    if owner.get("machine") != machine():
        return None
    try:
        os.kill(owner["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    # The id may have passed to another process since.
    return _started(owner["pid"]) == owner["started"]


def _started(pid: int) -> str:
    """Return when a process began, in the kernel's ticks; empty where that is not known, ``"dead"`` for a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "dead" if fields[0] in ("Z", "X") else fields[19]
