"""Seconds from the command to the config, and to the first training step.

    python benchmarks/start_up.py [--out results/start_up.json]

Each figure is the median of several fresh processes. The first step is taken from a run that stops itself after it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]

FIRST_STEP = """
import os, sys
sys.argv[0] = "train.py"
from genlab.command.cli import train
def leave(*arguments):
    os._exit(0)
import genlab.command.train
from genlab.training.callbacks.budget import Budget
Budget.on_train_batch_end = leave
sys.exit(train())
"""


def seconds(command: list[str], rounds: int) -> float:
    """Return the median wall time of a command."""
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    python = sys.executable
    with tempfile.TemporaryDirectory() as logs:
        data = os.environ.get("GENLAB_DATA", "data")
        overrides = ["data=mnist", f"data.root={data}", "logger=none", f"paths.logs={logs}"]
        figures = {
            "command": "python benchmarks/start_up.py",
            "rounds": arguments.rounds,
            "help_seconds": seconds([python, "train.py", "--help"], arguments.rounds),
            "cfg_job_seconds": seconds([python, "train.py", "--cfg", "job"], arguments.rounds),
            "first_step_flow_mnist_seconds": seconds([python, "-c", FIRST_STEP, *overrides], arguments.rounds),
        }
    print(json.dumps(figures, indent=2))
    if arguments.out:
        arguments.out.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
