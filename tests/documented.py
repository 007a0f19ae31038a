"""The commands and the Python of the documentation, as its pages have them."""

from __future__ import annotations

import re
import shlex

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override

from tests.tiny import ROOT

__all__ = ["DOCS", "commands", "one_by_one", "programs"]

DOCS = ROOT / "docs"

COMMAND = re.compile(r"(?:\bpython (?:train\.py|scripts/(\w+)\.py)|\bgenlab (\w+)|\btrain\.py)(?= |$)(.*)$")
GROUPS = ("model", "data", "experiment", "search")
LEFT_OUT = ("-sc", "--config-dir", "--version")
"""What asks for no config of ours: functions of a shell, and folders of one's own, which other tests make."""


def commands(text: str) -> list[tuple[str, tuple[str, ...]]]:
    """The commands of a page, in blocks and within lines: the name of each, and what follows it."""
    text = text.replace("\\\n    ", "").replace("\\\n", "")  # a block's own indentation is no part of its lines
    blocks = [line for line in text.splitlines() if line.startswith("    ")]
    fenced = re.findall(r"^```(?:bash|sh)?\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    spans = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", "\n".join(line for line in text.splitlines() if line not in blocks))
    found = []
    for line in [*blocks, *"\n".join(fenced).splitlines(), *spans]:
        if match := COMMAND.search(line):
            arguments = re.split(r"\s+#\s|\s+&&\s", match[3])[0]
            arguments = re.sub(rf"\b({'|'.join(GROUPS)})=<[^>]*>", "", arguments)  # any option: the default one does
            words = shlex.split(re.sub(r"<[^>]*>", "x", arguments))
            if not any(word.startswith(LEFT_OUT) for word in words):
                found.append((match[1] or match[2] or "train", tuple(words)))
    return list(dict.fromkeys(found))


def one_by_one(words: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The overrides of a command line, for a sweep those of as many jobs as name each of its values once."""
    kept = [word.replace("--dry-run", "dry_run=true") for word in words if word not in ("-m", "--help", "--cfg", "job")]
    values = [values_of(override) for override in OverridesParser.create().parse_overrides(kept)]
    jobs = max(map(len, values), default=1)
    return [tuple(each[min(job, len(each) - 1)] for each in values) for job in range(jobs)]


def values_of(override: Override) -> list[str]:
    if not override.is_sweep_override():
        return [override.input_line]
    if override.is_choice_sweep() or override.is_range_sweep():
        return [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]
    return [f"{override.get_key_element()}={override.value().start}"]


def programs(text: str) -> list[str]:
    """The Python of a page, a program each."""
    return re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
