"""Seconds and peak memory of the command `sample`, from its start to the file of samples that it leaves.

    python benchmarks/generate.py [RUN ...] [--models flow vae gan] [--data mnist] [--samples 10000]
        [--out results/generate.json]

Each is a fresh process, ``python scripts/sample.py run=... n=... device=cpu``, so that its start and its imports count.
The peak is the largest resident size that the system reports of it. Several numbers of samples say whether memory grows
with them. What weights are trained to has no part in either figure: without RUN each model is trained for one batch.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
SECONDS, BYTES = 60.0, 1e9
"""What 10,000 pictures of MNIST may take."""
ONE_BATCH = [
    "logger=none", "trainer=cpu", "budget.examples=64", "budget.minutes=null", "budget.validations=1",
    "data.batch_size=64", "data.validation_examples=64", "validation_samples=100", "grid_samples=1",
    "evaluation=quick", "evaluation.num_samples=8", "evaluation.max_examples=8",
]  # fmt: skip


def train(model: str, data: str, logs: Path) -> Path:
    """Train a model for one batch and return its run's folder."""
    overrides = [f"model={model}", f"data={data}", f"paths.logs={logs / model}", *ONE_BATCH]
    command = [sys.executable, "train.py", *overrides]
    subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    (config,) = (logs / model).glob("runs/*/*/*/config.yaml")
    return config.parent


def measure(run: Path, samples: int, folder: Path) -> dict[str, Any]:
    """Draw samples in a process of its own, and return what that took and left."""
    out = folder / f"samples_{samples}.npz"
    overrides = [f"run={run}", f"n={samples}", "device=cpu", f"out={out}"]
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "scripts/sample.py", *overrides], cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)  # of this child alone, where getrusage has the largest of all
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    record = json.loads(out.with_suffix(".json").read_text())
    return {
        "model": record["model"]["name"],
        "variant": record["model"]["variant"],
        "data": record["data"]["name"],
        "samples": samples,
        "samples_at_once": record["sampling"]["samples_at_once"],
        "seconds": seconds,
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "peak_bytes": used.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        "file_bytes": out.stat().st_size,
    }


def show(rows: Sequence[dict[str, Any]]) -> None:
    table = Table(title=f"The command sample; of 10,000 at most {SECONDS:g} s and {BYTES / 1e9:g} GB are wanted")
    for heading in ("model", "data", "samples", "s", "CPU s", "peak MB"):
        table.add_column(heading, justify="left" if heading in ("model", "data") else "right")
    for row in rows:
        figures = (f"{row['seconds']:.1f}", f"{row['cpu_seconds']:.1f}", f"{row['peak_bytes'] / 1e6:,.0f}")
        table.add_row(row["model"], row["data"], f"{row['samples']:,}", *figures)
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN")
    parser.add_argument("--models", nargs="+", default=["flow", "vae", "gan"])
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--samples", nargs="+", type=int, default=[10_000])
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        # This process imports no torch before it is done: the system counts a child's peak from the size of its parent.
        runs = arguments.runs or [train(model, arguments.data, folder) for model in arguments.models]
        for run in runs:
            for samples in arguments.samples:
                rows.append(measure(run.absolute(), samples, folder))
                print(json.dumps(rows[-1]), flush=True)
    show(rows)
    if arguments.out:
        arguments.out.write_text(json.dumps(described(rows, arguments), indent=2) + "\n")


def described(rows: list[dict[str, Any]], arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the figures with what they are of."""
    import torch

    counts = " ".join(map(str, arguments.samples))
    of = shlex.join(["RUN"] * len(arguments.runs) or ["--models", *arguments.models, "--data", arguments.data])
    return {
        "command": f"python benchmarks/generate.py {of} --samples {counts}",
        "most_seconds": SECONDS,
        "most_bytes": BYTES,
        "rows": rows,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "cpus": os.cpu_count(),
        "machine": platform.machine(),
    }


if __name__ == "__main__":
    main()
