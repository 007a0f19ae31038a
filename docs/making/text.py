"""Markdown for the pages that scripts make: tables, commands, comments of config files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]

_KEY = re.compile(r"^(?P<indent> *)(?P<key>[A-Za-z_]\w*):\s*(?P<rest>.*)$")


class Setting(NamedTuple):
    """A key of a config file: its name from the root, its default as written, and what its comment says."""

    key: str
    default: str
    comment: str


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; an upright stroke in a cell stays one."""
    lines = [head, ["---"] * len(head), *rows]
    text = "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines) + "\n"
    return unbroken(text)


def unbroken(text: str) -> str:
    """Return text in which no line ends between a figure and its error."""
    return text.replace(" ± ", "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}")


def commands(lines: Iterable[str]) -> str:
    """Return commands as a block."""
    return "```bash\n" + "\n".join(lines) + "\n```\n"


def read_settings(text: str, prefix: str = "") -> list[Setting]:
    """Read the keys of a config file with the comments that stand beside them; groups and Hydra's keys are left out."""
    found: list[Setting] = []
    open_keys: list[tuple[int, str, str]] = []
    under_group = False
    for line in text.splitlines():
        if line.lstrip().startswith("#"):
            said = line.lstrip(" #")
            if line.startswith(" ") and under_group:  # goes on beneath the comment of the line before
                depth, name, about = open_keys.pop()
                open_keys.append((depth, name, f"{about} {said}".strip()))
            elif line.startswith(" ") and found:
                found[-1] = found[-1]._replace(comment=f"{found[-1].comment} {said}".strip())
            continue
        if (match := _KEY.match(line)) is None:
            continue
        value, comment = _divide(match["rest"])
        depth = len(match["indent"])
        open_keys = [entry for entry in open_keys if entry[0] < depth]
        path = ".".join([*(name for _, name, _ in open_keys), match["key"]])
        if under_group := not value:
            open_keys.append((depth, match["key"], comment))
        elif not match["key"].startswith("_") and not path.startswith("defaults"):
            about = "; ".join(part for part in (open_keys[-1][2] if open_keys else "", comment) if part)
            found.append(Setting(prefix + path, value, about))
    return found


def _divide(rest: str) -> tuple[str, str]:
    value, mark, comment = rest.partition(" #") if not rest.startswith("#") else ("", "#", rest[1:])
    return value.strip(), comment.strip() if mark else ""


def opening(text: str) -> list[str]:
    """Return the lines of the comment at the head of a config file, without its package directive."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith("# @package"):
            lines.append(line[1:].removeprefix(" "))
    return lines


def recipe(text: str) -> dict[str, str]:
    """Return what the head of a recipe says, by its words: ``command``, ``hardware``, ``expect``, and ``about``."""
    said: dict[str, str] = {}
    word = "about"
    for line in opening(text):
        match = re.match(r"^  (command|hardware|expect|published|look at): +(.*)$", line)
        word, rest = (match[1], match[2]) if match else (word, line.strip())
        said[word] = f"{said.get(word, '')} {rest}".strip()
    return said
