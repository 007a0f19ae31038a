"""The time in which a command starts: it imports and composes its config, and nothing is open yet.

Who stops it then ends it at once. The exception that Python makes of Ctrl-C is of no use there: libraries take it for
an error of their own import and say that, swallow it and go on half imported, or wait for ever.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from genlab.processes.deferring import SELDOM_USED, deferred
from genlab.processes.ranks import is_first_process

__all__ = ["begin", "importing", "is_starting", "leave", "starting", "working"]

_started = False


def begin(heard: bool = False) -> None:
    """From here on this program is one that starts; for good, so that its end is quiet too.

    Where Ctrl-C is ignored, as a shell has it for what it starts in the background (``nohup ... &``), that stays so.

    Args:
        heard: Hear Ctrl-C even then: who started this process sends it.
    """
    global _started
    if threading.current_thread() is not threading.main_thread():
        return
    _started = True
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN or heard:
        signal.signal(signal.SIGINT, _leave_at_once)
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _leave_at_once)


@contextmanager
def starting(heard: bool = False) -> Iterator[None]:
    """As `begin`, for a command that another program calls: at the end all is as it was before."""
    global _started
    started = _started
    handlers = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}
    begin(heard)
    try:
        yield
    finally:
        _started = started
        for signum, handler in handlers.items():
            _set(signum, handler)


@contextmanager
def importing() -> Iterator[None]:
    """Within it nothing is searched for garbage, and nothing that it imports is searched later: a third of a start.

    What libraries import for what is seldom used waits until it is: more than a second that most commands spare.
    """
    before, enabled = len(sys.modules), gc.isenabled()
    gc.disable()
    try:
        with deferred(*SELDOM_USED):
            yield
    finally:
        if len(sys.modules) > before:
            gc.freeze()
        if enabled:
            gc.enable()


@contextmanager
def working() -> Iterator[None]:
    """Within it a command does its work, and leaves as its parts need it: Ctrl-C is a ``KeyboardInterrupt``."""
    global _started
    started, at_once = _started, signal.getsignal(signal.SIGINT) is _leave_at_once
    if at_once:
        _set(signal.SIGINT, signal.default_int_handler)
    _started = False
    try:
        yield
    finally:
        _started = started
        if at_once:
            _set(signal.SIGINT, _leave_at_once)


def is_starting() -> bool:
    """Return whether this program is a command of genlab that has not begun its work."""
    return _started


def leave(message: str, signum: int) -> NoReturn:
    """End this process without any ado: the message, and the exit code that shells give for the signal."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # the signal may have come in the middle of a write to it
            stream.flush()
    if is_first_process():
        with contextlib.suppress(OSError):
            os.write(2, f"{message}\n".encode())
    os._exit(128 + signum)


def _leave_at_once(signum: int, frame: FrameType | None) -> None:
    leave(f"Stopped by {'Ctrl-C' if signum == signal.SIGINT else signal.Signals(signum).name}.", signum)


def _set(signum: int, handler: object) -> None:
    # None is a handler that was not set from Python, and cannot be.
    if handler is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signum, handler)  # type: ignore[arg-type]
