"""What Tab completes: a command's own words by Hydra, as far as a shell may take them as they stand.

The functions that Hydra defines in a shell call the program again with ``-sc query=<shell>`` and the line typed so far
in the environment variable ``COMP_LINE``. Bash and zsh then expand each suggestion as if it was typed, and run what
stands in ``$(...)``: a file or a value in a folder of configs of somebody else's may be named so.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stderr, redirect_stdout

__all__ = ["SHELLS", "is_for_shell", "is_query", "serve_shell", "split_command", "suggest"]

# Hydra is imported only where it has to answer: to name the commands takes a tenth of a second without it.

SHELLS = ("bash", "fish", "zsh")
_REQUESTS = ("install", "uninstall", "query")
_LINE = "COMP_LINE"
_FLAGS = ("-sc", "--shell-completion")
# A key, a group's option or a value that is one word. Not what Hydra makes of a list's value, "model.hidden=0=".
_ONE_WORD = re.compile(r"[+~]{0,2}[\w./@:-]+(=[\w./@:,+-]*)?")
_REFUSED = ("--experimental-rerun", "--shell-completion")


def is_for_shell(arguments: Sequence[str]) -> bool:
    """Whether the command is to help a shell complete, and not to do its work."""
    return any(flag in arguments for flag in _FLAGS)


def is_query(arguments: Sequence[str]) -> bool:
    """Whether a shell asks for suggestions."""
    return is_for_shell(arguments) and any(word.startswith("query=") for word in arguments)


def split_command(line: str) -> tuple[str, str | None]:
    """Split ``genlab train model=`` into the sub-command and what follows it.

    Args:
        line: What is typed so far, beginning with the program.

    Returns:
        The sub-command, and the rest, or None while the sub-command itself is being typed.
    """
    words = line.split(maxsplit=2)[1:]
    if len(words) == 2 or (words and line[-1].isspace()):
        return words[0], words[1] if len(words) == 2 else ""
    return "".join(words), None


def suggest(arguments: Sequence[str], commands: dict[str, Callable[[Sequence[str]], int]]) -> int:
    """Print the sub-commands that go on with what is typed, or let the one that is typed suggest its settings.

    Args:
        arguments: What the shell's function called the program with.
        commands: The sub-commands by name.

    Returns:
        The exit code, 0.
    """
    name, rest = split_command(os.environ.get(_LINE, ""))
    if rest is None:
        _print_each(command for command in commands if command.startswith(name))
    elif name in commands:
        os.environ[_LINE] = f"genlab {rest}"
        commands[name](arguments)
    return 0


def serve_shell(arguments: Sequence[str], command: Callable[[], int]) -> int:
    """Print what a shell needs for Tab: the functions that it shall define, or suggestions for the line typed so far.

    Args:
        arguments: What stands after the command, with ``-sc``.
        command: Runs the command with these arguments.

    Returns:
        The exit code: 0, or 2 where the arguments name no shell.
    """
    asked = [word.partition("=") for word in arguments if word.partition("=")[0] in _REQUESTS]
    if len(asked) != 1 or asked[0][2] not in SHELLS:
        given = " ".join(arguments)
        print(f"Expected -sc install=<shell>, of {', '.join(SHELLS)}; given is '{given}'.", file=sys.stderr)
        return 2
    return _suggest_settings(command) if is_query(arguments) else command()


def _suggest_settings(command: Callable[[], int]) -> int:
    # A line that Hydra cannot read has no suggestions, and no message: it would stand in the midst of the line.
    from hydra.plugins.completion_plugin import CompletionPlugin

    line = CompletionPlugin.strip_python_or_app_name(os.environ.get(_LINE, "genlab"))
    typed = line.split()[-1] if line and not line[-1].isspace() else ""
    if typed.startswith("-"):
        _print_each(flag for flag in _flags() if flag.startswith(typed))
        return 0
    os.environ[_LINE] = f"genlab {_unquoted(line)}"
    printed = io.StringIO()
    try:
        with redirect_stdout(printed), redirect_stderr(io.StringIO()):
            code = command()
    except SystemExit:
        return 0
    if code == 0:
        _print_each(word for word in printed.getvalue().split() if _ONE_WORD.fullmatch(word))
    return 0


def _flags() -> list[str]:
    from hydra._internal.utils import get_args_parser

    flags = (flag for action in get_args_parser()._actions for flag in action.option_strings)
    return sorted(flag for flag in flags if flag.startswith("--") and flag not in _REFUSED)


def _unquoted(line: str) -> str:
    """Return the line as Hydra splits it: at every blank, and without a shell's quotes."""
    try:
        words = shlex.split(line)
    except ValueError:  # a quote that is not closed yet
        return line
    return " ".join(word for word in words if not re.search(r"\s", word)) + " " * line[-1:].isspace()


def _print_each(words: Iterable[str]) -> None:
    for word in words:
        print(word)
