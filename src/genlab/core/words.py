"""Numbers of things, in words."""

from __future__ import annotations

__all__ = ["counted", "measured"]


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return a number of things as text, e.g. ``"1 parameter"``, ``"1,234 parameters"``.

    Args:
        count: How many.
        noun: What one is called.
        plural: What several are called; the noun with an s by default.
    """
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def measured(amount: float, unit: str) -> str:
    """Return an amount as text, e.g. ``"1 minute"``, ``"2.53 minutes"``, ``"1,440 minutes"``.

    Args:
        amount: How much, not negative; three digits of it are said, of a hundred and more all whole ones.
        unit: Noun that an s makes a plural.
    """
    text = f"{amount:.3g}" if amount < 100 else f"{amount:,.0f}"
    return f"{text} {unit if text == '1' else f'{unit}s'}"
