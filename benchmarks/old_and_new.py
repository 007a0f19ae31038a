"""How the seconds of benchmarks on this machine changed since a commit.

    python benchmarks/old_and_new.py [--old COMMIT] [--rounds 2] [--out results/old_and_new.json]

The files of the old commit, unpacked into a folder of their own, and those of this tree run the same benchmarks with
the same arguments, in turns, so that other work on the machine slows both alike. A ratio is that of the least of each
figure's milliseconds or seconds: above 1 the new code is slower.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
BENCHMARKS = [
    "unet --rounds 3",
    "sampling_cache --values 1 --rounds 2",
    "loop_overhead --rounds 3",
    "start_up --rounds 3",
]
BEFORE_GRAPHS = "e32088ed5b76b1f431ab318cf5f2d5455db284b2"
"""The last commit before training steps could be CUDA graphs."""
TIMES = ("ms_per_step", "seconds")
"""What the figures that are compared are called, or the group that holds them."""


def times_of(figures: dict[str, Any], within: tuple[str, ...] = ()) -> dict[str, float]:
    """Return the times among the figures of a benchmark, by the names that lead to each."""
    found = {}
    for name, value in figures.items():
        path = (*within, name)
        if isinstance(value, dict):
            found |= times_of(value, path)
        elif any(part.endswith(TIMES) for part in path):
            found[" ".join(path)] = value
    return found


def run(tree: Path, benchmark: str, out: Path) -> dict[str, float]:
    """Run a benchmark of a tree with its own code and return its times."""
    script, *arguments = shlex.split(benchmark)
    command = [sys.executable, f"benchmarks/{script}.py", *arguments, "--out", str(out)]
    environment = {**os.environ, "PYTHONPATH": str(tree / "src")}
    subprocess.run(command, cwd=tree, env=environment, check=True, stdout=subprocess.DEVNULL)
    return {f"{script}: {name}": value for name, value in times_of(json.loads(out.read_text())).items()}


def unpack(commit: str, folder: Path) -> None:
    """Lay the files of a commit of this repository into a folder."""
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, check=True, stdout=subprocess.PIPE)
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--old", metavar="COMMIT", default=BEFORE_GRAPHS)
    parser.add_argument("--benchmarks", nargs="+", default=BENCHMARKS, help="each with its arguments, as one word")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()

    rounds: dict[str, list[dict[str, float]]] = {"old": [], "new": []}
    with tempfile.TemporaryDirectory() as scratch:
        old, out = Path(scratch, "old"), Path(scratch, "figures.json")
        old.mkdir()
        unpack(asked.old, old)
        for _ in range(asked.rounds):
            for name, tree in (("old", old), ("new", ROOT)):
                rounds[name].append({k: v for each in asked.benchmarks for k, v in run(tree, each, out).items()})
    least = {name: {k: min(one[k] for one in taken) for k in taken[0]} for name, taken in rounds.items()}
    both = [name for name in least["old"] if name in least["new"]]
    result = {
        "command": "python benchmarks/old_and_new.py",
        "old": asked.old,
        "benchmarks": asked.benchmarks,
        "rounds": asked.rounds,
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
        "new_over_old": {name: least["new"][name] / least["old"][name] for name in both},
        "least": {name: {k: figures[k] for k in both} for name, figures in least.items()},
    }
    text = json.dumps(result, indent=2) + "\n"
    print(text, end="")
    if asked.out:
        asked.out.write_text(text)


if __name__ == "__main__":
    main()
