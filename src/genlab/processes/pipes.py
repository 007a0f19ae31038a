"""A reader of what is printed that leaves before the end, as ``| head`` does."""

from __future__ import annotations

import os
import select
import sys
from typing import TextIO

__all__ = ["drop_unread"]


def drop_unread() -> bool:
    """Send to nowhere what a reader that has left will not read, and say whether one has.

    Before the end of a process it keeps the interpreter from complaining of what it cannot write out any more.
    """
    dropped = [_drop(stream) for stream in (sys.stdout, sys.stderr) if stream is not None]
    return any(dropped)


def _drop(stream: TextIO) -> bool:
    try:
        stream.flush()
        # What was not buffered is gone with the error that it raised; then only the pipe itself can tell.
        if not _has_no_reader(stream):
            return False
    except BrokenPipeError:
        pass
    except (OSError, ValueError):  # a full disk, or a stream that is closed
        return False
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
    return True


def _has_no_reader(stream: TextIO) -> bool:
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):  # no file, as in a test
        return False
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return any(event & select.POLLERR for _, event in poll.poll(0))
