"""The commands and the Python of the documentation, as its pages have them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import soundfile
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override

from tests.tiny import ROOT

__all__ = ["DOCS", "commands", "one_by_one", "other_commands", "programs", "write_sound_and_text"]

DOCS = ROOT / "docs"

COMMAND = re.compile(r"(?:\bpython (?:train\.py|scripts/(\w+)\.py)|\bgenlab (\w+)|\btrain\.py)(?= |$)(.*)$")
OTHERS = (
    "git",
    "hf",
    "pip",
    "pytest",
    "python",
    "sphinx-build",
    "torchrun",
    "srun",
    "scontrol",
    "wandb",
    "eval",
    "export",
)
"""Programs that pages name beside ours: of the shell, installers, clusters, and this repository's own scripts."""
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
GROUPS = ("model", "data", "experiment", "search")
LEFT_OUT = re.compile(r"(?:^| )(?:-sc|--config-dir|--version)\b")
"""What asks for no config of ours: functions of a shell, and folders of one's own, which other tests make."""


def commands(text: str) -> list[tuple[str, tuple[str, ...]]]:
    """The commands of a page, in blocks and within lines: the name of each, and what follows it."""
    found = []
    for line in _lines(text):
        if match := COMMAND.search(line):
            arguments = re.split(r"\s+#\s|\s+&&\s", match[3])[0]
            if LEFT_OUT.search(arguments):
                continue
            arguments = re.sub(rf"\b({'|'.join(GROUPS)})=<[^>]*>", "", arguments)  # any option: the default one does
            words = shlex.split(re.sub(r"<[^>]*>", "x", arguments))
            found.append((match[1] or match[2] or "train", tuple(words)))
    return list(dict.fromkeys(found))


def other_commands(text: str) -> list[str]:
    """What a page asks of other programs than ours, and of ours without a config, in blocks and within lines."""
    parts = [part for line in _lines(text) for part in re.split(r"\s+#\s", line.strip())[0].split(" && ")]
    return list(dict.fromkeys(filter(_is_other, parts)))


def _is_other(line: str) -> bool:
    if COMMAND.search(line) or line.startswith("genlab "):
        return bool(LEFT_OUT.search(line))
    words = [word for word in line.split() if not re.match(r"[A-Z_]+=", word)]
    return bool(words) and words[0] in OTHERS and (len(words) > 1 or words[0] == "pytest")


def _lines(text: str) -> list[str]:
    """The lines of a page's blocks of a shell, and what stands in code within other lines."""
    text = text.replace("\\\n    ", "").replace("\\\n", "")  # a block's own indentation is no part of its lines
    fenced = [code for language, code in FENCE.findall(text) if language in ("", "bash", "sh")]
    rest = FENCE.sub("", text).splitlines()
    spans = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", "\n".join(line for line in rest if not line.startswith("    ")))
    return [*(line for line in rest if line.startswith("    ")), *"\n".join(fenced).splitlines(), *spans]


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


def write_sound_and_text(folder: Path) -> None:
    """Write the recordings and texts of a user that the pages name: birds of two kinds, other birds, two books."""
    draw = np.random.default_rng(0)
    for name, count in (("birds/owl", 40), ("birds/wren", 40), ("other_birds", 6)):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            sound = draw.uniform(-0.5, 0.5, draw.integers(300, 600))
            soundfile.write(folder / name / f"{number}.wav", sound, 8000)
    text = "".join(draw.choice(list("a book.\n"), 6000))
    (folder / "book.txt").write_text(text)
    (folder / "other.txt").write_text(text[:2000][::-1])
