"""Numbers of things, in words."""

from __future__ import annotations

__all__ = ["counted"]


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return a number of things as text, e.g. ``"1 parameter"``, ``"1,234 parameters"``.

    Args:
        count: How many.
        noun: What one is called.
        plural: What several are called; the noun with an s by default.
    """
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"
