"""Errors that a user can mend: shown as one or two lines, without a traceback, exit code 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

__all__ = ["GenlabError", "Interrupted", "nearest", "shown", "two_lines"]

_MOST_SHOWN = 300


class GenlabError(Exception):
    """What was given, what was expected, what to do: one or two lines for the user.

    The entries print the message and exit with code 2.
    """


class Interrupted(BaseException):
    """A run that was asked to stop by a signal.

    A ``BaseException`` like ``KeyboardInterrupt``, so that no handler of ordinary errors swallows it.

    Args:
        message: What the user is told.
        signum: The signal's number; the exit code is 128 plus it, as shells have it.
        together: Whether all processes of the run stop training here, with the checkpoint saved, and not this one
            alone, wherever it was.
    """

    def __init__(self, message: str, signum: int, together: bool = False) -> None:
        super().__init__(message)
        self.signum = signum
        self.together = together


def nearest(name: str, choices: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` with the choice nearest to ``name``, or an empty string."""
    matches = difflib.get_close_matches(name, list(choices), n=1, cutoff=0.5)
    return f" Did you mean '{matches[0]}'?" if matches else ""


def two_lines(problems: Sequence[str]) -> str:
    """Return the first two problems, a line each, and after them how many more there are."""
    if len(problems) == 1:
        return problems[0]
    more = f" (and {len(problems) - 2} more)" if len(problems) > 2 else ""
    return "\n".join(" ".join(problem.splitlines()) for problem in problems[:2]) + more


def shown(path: object) -> str:
    r"""Return a path as it can stand in a line: a character that cannot be seen as its number, such as ``\x1b``, and
    three dots for the middle of one that is very long."""
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(path))
    half = _MOST_SHOWN // 2
    return text if len(text) <= _MOST_SHOWN else f"{text[:half]}...{text[-half:]}"
