"""Make the comparisons of the gallery again: train, evaluate, compare and lay down what results/README.md says.

python docs/gallery.py [NAME ...] [--work logs/gallery] [--results results] [--pictures docs/images]

A name is that of a folder of results/, such as comparison_digits; without names all are made. The commands are those
that stand below each comparison in README.md of --results. They run one after the other in a folder of --work for each
comparison, where runs that have ended are not trained again: after a stop the same command goes on. What they leave is
laid into --results only if it is of one version of the code.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from pathlib import Path

from making.gathering import gather, read_given
from making.text import ROOT


def main() -> None:
    """Make what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--work", type=Path, default=Path("logs/gallery"))
    parser.add_argument("--results", type=Path, default=ROOT / "results")
    parser.add_argument("--pictures", type=Path, default=ROOT / "docs" / "images")
    asked = parser.parse_args()
    given = read_given((asked.results / "README.md").read_text())
    if unknown := sorted(set(asked.names) - set(given)):
        parser.error(f"{', '.join(unknown)}: expected names of comparisons in results/README.md: {', '.join(given)}.")
    for name in asked.names or given:
        work = (asked.work / name).resolve()
        for command in given[name].commands:
            _run(command, work)
        rows = gather(given[name], work, asked.results / name, asked.pictures / f"{name}.png")
        print(f"{name}: {rows} results and the floor", flush=True)


def _run(command: str, work: Path) -> None:
    """Run a line of README.md in a folder, with the data where they are for the caller."""
    work.mkdir(parents=True, exist_ok=True)
    _, script, *arguments = shlex.split(command)
    print(f"{work.name}: {command}", flush=True)
    data = Path(os.environ.get("GENLAB_DATA", "data")).resolve()
    done = subprocess.run(
        [sys.executable, str(ROOT / script), *arguments], cwd=work, env={**os.environ, "GENLAB_DATA": str(data)}
    )
    if done.returncode:
        raise SystemExit(f"gallery: stopped, since this command ended with {done.returncode}: {command}")


if __name__ == "__main__":
    main()
