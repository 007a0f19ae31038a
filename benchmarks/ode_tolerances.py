"""How far likelihoods by an adaptive ODE solver are from a much finer solution, and what they cost, by tolerance.

    python benchmarks/ode_tolerances.py RUN [--examples 16] [--out results/ode_tolerances.json]

The reference is the same model in float64 with tolerances of 1e-8. All have the same probes and the same noise in the
cells of the levels, so that they differ by the solver and by rounding alone. The examples are the first of the test
split.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
import time
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor

import genlab
from genlab.command.build import build_datamodule
from genlab.command.config import read_trained
from genlab.core import noise
from genlab.measure.measuring import reference_of
from genlab.models.iterative import IterativeModel
from genlab.runs.finding import find_run


def score(model: IterativeModel, x: Tensor, y: Tensor | None, tolerance: float) -> Tensor:
    """Log-probabilities with both tolerances the same, nats."""
    model.likelihood = "ode"
    changes = {"solver": "dopri5", "rtol": tolerance, "atol": tolerance}
    model.likelihood_ode = dataclasses.replace(model.likelihood_ode, **changes)
    return model.log_prob(x, y, generator=torch.Generator().manual_seed(0)).double()


_by_example = noise._by_example


def _doubled(shape: Any, generator: Any, device: Any, dtype: Any, numbers_of: Any) -> Tensor:
    """Draw what a model in float32 draws, in float64: drawn in float64 it would be other numbers."""
    return _by_example(shape, generator, device, torch.float32, numbers_of).double()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("--examples", type=int, default=16)
    parser.add_argument("--tolerances", type=float, nargs="+", default=[1e-4, 1e-5, 1e-6])
    parser.add_argument("--reference", type=float, default=1e-8)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    model = genlab.load_run(arguments.run)
    assert isinstance(model, IterativeModel), f"{arguments.run} has no likelihood by an ODE"
    examples = reference_of(build_datamodule(read_trained(find_run(arguments.run))), "test").examples
    x, y = examples.x[: arguments.examples], examples.y[: arguments.examples] if model.conditional else None
    with mock.patch.object(noise, "_by_example", _doubled):
        fine = copy.deepcopy(model).double()
        exact = score(fine, x if model.spec.is_discrete else x.double(), y, arguments.reference)
    rows: dict[str, Any] = {}
    for tolerance in arguments.tolerances:
        started = time.perf_counter()
        error = score(model, x, y, tolerance) - exact
        rows[f"{tolerance:g}"] = {
            "ms_per_example": 1000 * (time.perf_counter() - started) / len(x),
            "largest_error_nats": error.abs().max().item(),
            "mean_error_nats": error.mean().item(),
        }
    settings = f"--examples {arguments.examples} --reference {arguments.reference:g}"
    report = {
        "command": f"python benchmarks/ode_tolerances.py RUN {settings}",
        "run": f"{model.name} on {model.spec.name}",
        "dimensions": model.spec.num_dims,
        "threads": torch.get_num_threads(),
        "tolerances": rows,
    }
    text = json.dumps(report, indent=2)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
