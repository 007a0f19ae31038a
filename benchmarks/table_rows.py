"""How long 100,000 rows of a table take from the default models of each family, weights untrained.

    OMP_NUM_THREADS=2 python benchmarks/table_rows.py [--out results/table_rows.json]

Rows are drawn as an evaluation draws them, in its batches and by the noise of each row, of tables of numbers and of a
mixed one, whose columns are of the kinds of those of `diamonds`: seven of rounded numbers, three of categories. Trained
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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from genlab.command.targets import instantiate
from genlab.core.batch import Batch
from genlab.core.codec import to_grid
from genlab.core.spec import DataSpec, Field
from genlab.measure.protocol import EvaluationProtocol
from genlab.measure.sampling import draw_samples
from genlab.models.base import GenerativeModel

CONFIGS = Path(__file__).parents[1] / "conf" / "model"


DECIMALS = (2, 1, 1, 0, 2, 2, 2)
MIXED = (
    *(Field(f"number {place}", decimals=decimals, rounded=True) for place, decimals in enumerate(DECIMALS)),
    *(Field(f"category of {levels}", levels=levels) for levels in (5, 7, 8)),
)
"""Columns as diamonds has them."""
FITTED = 1000
"""Rows by which columns are standardized."""


def make(family: str, fields: Sequence[Field]) -> GenerativeModel:
    """Build a family's default model of a table, with weights that make its samples varied."""
    torch.manual_seed(0)
    spec = DataSpec("a table", "table", (len(fields),), fields=tuple(fields))
    model: GenerativeModel = instantiate(OmegaConf.load(CONFIGS / f"{family}.yaml"), spec=spec)
    model.initialize(Batch(torch.stack([_values(field) for field in fields], dim=1)))
    for parameter in model.parameters():
        parameter.data += 0.02 * torch.randn_like(parameter)
    return model.eval().requires_grad_(False)


def _values(field: Field) -> torch.Tensor:
    if field.levels is not None:
        return torch.randint(field.levels, (FITTED,)).float()
    numbers = 100 * torch.randn(FITTED)
    return numbers if field.decimals is None else to_grid(numbers, field.decimals)


def measure(family: str, fields: Sequence[Field], rows: int, rounds: int) -> dict[str, Any]:
    """Time a family; the median of some rounds."""
    model = make(family, fields)
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
    parser.add_argument("--families", nargs="+", default=["vae", "flow", "made", "transformer"])
    parser.add_argument("--columns", type=int, nargs="+", default=[10, 30], help="columns of the tables of numbers")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    figures: dict[str, Any] = {
        "command": f"python benchmarks/table_rows.py --families {' '.join(arguments.families)}",
        "rows": arguments.rows,
        "rounds": arguments.rounds,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "cpus": os.cpu_count(),
        "columns": {},
    }
    tables = {str(count): [Field(f"number {place}") for place in range(count)] for count in arguments.columns}
    for name, fields in {**tables, "mixed": MIXED}.items():
        of_table = figures["columns"][name] = {}
        for family in arguments.families:
            found = of_table[family] = measure(family, fields, arguments.rows, arguments.rounds)
            took = f"{found['seconds']:.1f} s, {found['cpu_seconds']:.1f} s of CPU"
            print(f"{family}, {name} columns: {arguments.rows:,} rows in {took}", flush=True)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
