"""The rule for what a user can get wrong: exit code 2, one or two lines on the standard error, no traceback.

A table of wrong commands is a list of :class:`Wrong`; a new command or key joins it by one line.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NamedTuple

import pytest

from genlab.command import cli
from tests import forkserver
from tests.tiny import ROOT

__all__ = ["MOST_LINES", "Wrong", "check_rule", "refused", "refused_in_a_process"]

MOST_LINES = 2


class Wrong(NamedTuple):
    """A wrong command, and what its line must contain.

    Attributes:
        name: The name of the case; unique in its table.
        words: The command and what follows it, as ``["train", "model=flwo"]``.
        says: Texts that all stand in what is said.
    """

    name: str
    words: Sequence[str]
    says: Sequence[str] = ()


def refused(words: Sequence[str], capfd: pytest.CaptureFixture[str], says: Sequence[str] = ()) -> str:
    """Give a command in this process, hold it to the rule, and return what it said.

    Args:
        words: The command, a function of :mod:`genlab.command.cli`, and what follows it.
        capfd: The fixture; it also hears what libraries write past ``sys.stderr``.
        says: Texts that all stand in what is said.
    """
    capfd.readouterr()
    code = getattr(cli, words[0])(list(words[1:]))
    return check_rule(code, capfd.readouterr().err, says)


def refused_in_a_process(words: Sequence[str], says: Sequence[str] = (), prelude: str = "", timeout: float = 60) -> str:
    """As `refused`, in a process of its own; see :mod:`tests.forkserver`.

    Args:
        words: The command and what follows it.
        says: Texts that all stand in what is said.
        prelude: Python code to execute first, e.g. to set a limit.
        timeout: Seconds after which the command counts as hung.
    """
    code = f"import sys\n{prelude}\nfrom genlab.command import cli\nsys.exit(cli.{words[0]}(sys.argv[1:]))"
    done = forkserver.run([sys.executable, "-c", code, *words[1:]], cwd=ROOT, timeout=timeout)
    return check_rule(done.returncode, done.stderr, says)


def check_rule(code: int, error: str, says: Sequence[str] = (), expected_code: int = 2) -> str:
    """Hold what a command left to the rule, and return what it said."""
    assert "Traceback" not in error, error
    assert "HYDRA_FULL_ERROR" not in error, error
    assert code == expected_code, error
    assert 1 <= len(error.strip().splitlines()) <= MOST_LINES, error
    missing = [text for text in says if text not in error]
    assert not missing, f"{missing} in: {error}"
    return error.strip()
