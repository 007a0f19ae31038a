"""How much sooner several trainings end side by side on one GPU, or one CPU, than one after the other.

    python benchmarks/side_by_side.py [--at-a-time 4] [--out results/side_by_side.json]

The same sweep twice, starts and evaluations included: with ``hydra.launcher.jobs`` of one and of ``--at-a-time``.
Each job has two threads at most. The trainings are four short ones of small models, or those of ``--sweep``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
SWEEP = ["model=vae,flow", "seed=0,1", "data=digits", "budget.examples=20000", "budget.minutes=null", "logger=none"]


def seconds_of(sweep: list[str], jobs: int) -> float:
    """Return the seconds of a sweep that runs so many jobs at a time."""
    with tempfile.TemporaryDirectory() as logs:
        command = [sys.executable, "train.py", "-m", *sweep, f"paths.logs={logs}", f"hydra.launcher.jobs={jobs}"]
        started = time.perf_counter()
        environment = {**os.environ, "OMP_NUM_THREADS": "2"}
        subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL, env=environment)
        return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--at-a-time", type=int, default=4)
    parser.add_argument("--sweep", nargs="+", default=SWEEP, help="overrides of train.py -m")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    one_by_one, together = (seconds_of(arguments.sweep, jobs) for jobs in (1, arguments.at_a_time))
    figures = {
        "command": f"python benchmarks/side_by_side.py --at-a-time {arguments.at_a_time}",
        "sweep": arguments.sweep,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "one_by_one_seconds": one_by_one,
        "side_by_side_seconds": together,
        "one_by_one_over_side_by_side": one_by_one / together,
    }
    print(json.dumps(figures, indent=2))
    if arguments.out:
        arguments.out.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
