"""Whether what is missing may be fetched from the network: always, but where a program says that it fetches nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["downloads_allowed", "no_downloads"]

_allowed = ContextVar("_allowed", default=True)


def downloads_allowed() -> bool:
    """Whether data sets and models may be fetched here."""
    return _allowed.get()


@contextmanager
def no_downloads() -> Iterator[None]:
    """Within the block, in its thread, what is missing stays missing: an error says so in a line."""
    before = _allowed.set(False)
    try:
        yield
    finally:
        _allowed.reset(before)
