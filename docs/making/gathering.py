"""What results/README.md gives for each comparison, and how what its commands leave is laid into a folder."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from genlab.runs.atomic import atomic_file
from making.side_by_side import Tile, side_by_side

_HEADING = re.compile(r"^\*\*\[[^\]]+\]\((?P<name>\w+)/comparison\.md\)\*\*")
_SAMPLES = re.compile(r"(_\d+)?\.(png|txt|wav|csv)")

_MOST_BYTES = 500_000
"""Of a file of samples that is kept with the results; larger ones are written by the command that stands there."""


@dataclass(frozen=True)
class Given:
    """The commands of a comparison, in their order.

    Args:
        train: Those that train, and what they need first.
        compare: That of the table, the last one.
    """

    train: tuple[str, ...]
    compare: str

    @property
    def commands(self) -> tuple[str, ...]:
        """All commands."""
        return (*self.train, self.compare)

    def setting(self, key: str) -> str:
        """Return what the last command says for a key."""
        return next(word.partition("=")[2] for word in self.compare.split() if word.startswith(f"{key}="))


def read_given(text: str) -> dict[str, Given]:
    """Return the commands of each comparison in a page, by the name of its folder.

    A comparison begins with a bold link to its ``comparison.md``, and ends with the command ``compare``.
    """
    found: dict[str, Given] = {}
    name, lines = "", []
    joined = text.replace("\\\n    ", "").replace("\\\n", "")  # a block's own indentation is no part of its lines
    for line in joined.splitlines():
        if match := _HEADING.match(line):
            name, lines = match["name"], []
        elif name and line.startswith("    python "):
            lines.append(" ".join(line.split()))
            if lines[-1].startswith("python scripts/compare.py "):
                found[name] = Given(tuple(lines[:-1]), lines[-1])
                name = ""
    return found


def gather(given: Given, work: Path, folder: Path, picture: Path) -> int:
    """Lay results, samples, curves and the table of a comparison into a folder, in the place of what it held.

    Args:
        given: Its commands, which have ended.
        work: Where they ran.
        folder: Where its results are kept.
        picture: The file with samples of all models side by side, written if the samples are pictures.

    Returns:
        The number of results, without the floor.

    Raises:
        SystemExit: If there is no result, there are two of one model and seed, or they are of several versions of the
            code; what the folder held is still there then.
    """
    protocol = given.setting("protocol")
    found = sorted((work / "logs" / "runs" / given.setting("data")).glob(f"*/*/results/{protocol}.json"))
    results = [(path, json.loads(path.read_text())) for path in found]
    if not results:
        raise SystemExit(f"gallery: {work} has no result of protocol {protocol}: were its commands run?")
    versions = sorted({f"{result['code_version']} {result['code_sha256'][:8]}" for _, result in results})
    if len(versions) > 1:
        raise SystemExit(
            f"gallery: the results in {work} are of {len(versions)} versions of the code ({', '.join(versions)}), "
            "expected one: remove the folder, and train all again."
        )
    names = ["floor" if _is_floor(path) else f"{path.parents[2].name}-s{result['seed']}" for path, result in results]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise SystemExit(f"gallery: {work} has several results of {', '.join(twice)}, expected one: name the others.")
    first_seed = min((result["seed"] for path, result in results if not _is_floor(path)), default=0)
    shutil.rmtree(folder, ignore_errors=True)
    tiles = []
    for name, (path, result) in zip(names, results, strict=True):
        kept = folder / name
        _keep(path.parents[1], protocol, kept, has_samples=_is_floor(path) or result["seed"] == first_seed)
        if (kept / "samples.png").exists():
            tiles.append(Tile.of(path.parents[2].name, result, kept / "samples.png"))
    for suffix in ("md", "csv"):
        shutil.copyfile(work / given.setting("out") / f"comparison.{suffix}", folder / f"comparison.{suffix}")
    if tiles and results[0][1]["data"]["modality"] == "image":
        with atomic_file(picture) as file:
            side_by_side(tiles).save(file, format="png")
    return sum(not _is_floor(path) for path in found)


def _is_floor(path: Path) -> bool:
    """Whether a result file, by where it lies, is that of real data in the place of samples."""
    return path.parents[2].name == "floor"


def _keep(run: Path, protocol: str, kept: Path, *, has_samples: bool) -> None:
    """Copy what is kept of a run: its result, its curves and, of the first seed, its samples and what they are near."""
    kept.mkdir(parents=True)
    files = {run / "results" / f"{protocol}.json": f"{protocol}.json", run / "metrics.csv": "metrics.csv"}
    if has_samples:
        files[run / "samples" / f"{protocol}_neighbours.png"] = "neighbours.png"
        for path in sorted((run / "samples").glob(f"{protocol}*")):
            is_small = path.stat().st_size <= _MOST_BYTES
            if is_small and _SAMPLES.fullmatch(rest := path.name.removeprefix(protocol)):
                files[path] = f"samples{rest}"
    for path, name in files.items():
        if path.is_file():
            shutil.copyfile(path, kept / name)
