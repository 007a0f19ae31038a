"""How long 100,000 rows of a table take from the default models of each family, weights untrained.

    OMP_NUM_THREADS=2 python benchmarks/table_rows.py [--out results/table_rows.json]

Rows are drawn as an evaluation draws them, in its batches and by the noise of each row, of a table of numbers. Trained
weights cost the same: no family's sampler asks how well it fits. Where other work shares the cores, the seconds of CPU
of one thread (OMP_NUM_THREADS=1) say what one idle core would take; several threads wait for each other by spinning,
which counts too.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from genlab.command.targets import instantiate
from genlab.core.spec import DataSpec, Field
from genlab.measure.protocol import EvaluationProtocol
from genlab.measure.sampling import draw_samples
from genlab.models.base import GenerativeModel

CONFIGS = Path(__file__).parents[1] / "conf" / "model"


def make(family: str, columns: int) -> GenerativeModel:
    """Build a family's default model of a table of numbers, with weights that make its samples varied."""
    fields = tuple(Field(f"column {number}") for number in range(1, columns + 1))
    torch.manual_seed(0)
    model: GenerativeModel = instantiate(
        OmegaConf.load(CONFIGS / f"{family}.yaml"), spec=DataSpec("numbers", "table", (columns,), fields=fields)
    )
    for parameter in model.parameters():
        parameter.data += 0.02 * torch.randn_like(parameter)
    return model.eval().requires_grad_(False)


def measure(family: str, columns: int, rows: int, rounds: int) -> dict[str, Any]:
    """Time a family; the median of some rounds."""
    model = make(family, columns)
    protocol = EvaluationProtocol("rows", "test", 1, None, rows, None, 0)
    began = time.process_time()
    drawn = [draw_samples(model, protocol) for _ in range(rounds)]
    cpu_seconds = (time.process_time() - began) / rounds
    assert all(bool(one.samples.isfinite().all()) for one in drawn)
    seconds = [one.ms_per_sample * rows / 1000 for one in drawn]
    return {
        "variant": model.variant,
        "seconds": statistics.median(seconds),
        "slowest_seconds": max(seconds),
        "cpu_seconds": cpu_seconds,
        "batch_size": drawn[0].batch_size,
        "parameters": model.num_parameters,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--families", nargs="+", default=["vae", "flow", "made"])
    parser.add_argument("--columns", type=int, nargs="+", default=[10, 30], help="columns of the tables")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    figures: dict[str, Any] = {
        "command": "python benchmarks/table_rows.py",
        "rows": arguments.rows,
        "rounds": arguments.rounds,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "cpus": os.cpu_count(),
        "columns": {},
    }
    for columns in arguments.columns:
        of_table = figures["columns"][str(columns)] = {}
        for family in arguments.families:
            found = of_table[family] = measure(family, columns, arguments.rows, arguments.rounds)
            took = f"{found['seconds']:.1f} s, {found['cpu_seconds']:.1f} s of CPU"
            print(f"{family}, {columns} columns: {arguments.rows:,} rows in {took}", flush=True)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
