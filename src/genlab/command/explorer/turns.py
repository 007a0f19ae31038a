"""Who computes: one at a time, in the order in which they asked, and nobody who has left meanwhile."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["Left", "Turns", "asked_by"]

LOOK_SECONDS = 0.2
"""How often it is looked whether somebody who waits is still there."""

_has_left: ContextVar[Callable[[], bool]] = ContextVar("_has_left", default=lambda: False)


class Left(Exception):
    """Whoever asked has left before it was their turn: there is nobody to answer."""


@contextmanager
def asked_by(has_left: Callable[[], bool]) -> Iterator[None]:
    """Within it, in its thread, turns are those of somebody, of whom ``has_left`` says whether they have left."""
    before = _has_left.set(has_left)
    try:
        yield
    finally:
        _has_left.reset(before)


class Turns:
    """A lock that is given in the order of asking, and to nobody who has left.

    A page that shows another view leaves what it asked for. Were it computed all the same, or did it wait in the queue
    until its turn, those who are still there would wait for nothing.
    """

    def __init__(self) -> None:
        self._queue: deque[object] = deque()  # the first has the turn
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._queue)

    def __enter__(self) -> None:
        """Wait for the turn.

        Raises:
            Left: If whoever asked has left before it came.
        """
        mine, has_left = object(), _has_left.get()
        with self._changed:
            self._queue.append(mine)
            self._changed.notify_all()
            try:
                while not has_left():
                    if self._queue[0] is mine:
                        return
                    self._changed.wait(LOOK_SECONDS)
                raise Left
            except BaseException:
                self._queue.remove(mine)
                self._changed.notify_all()
                raise

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._queue.popleft()
            self._changed.notify_all()
