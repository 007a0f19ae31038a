"""Results for the tests: valid ones, of which a test says only what it is about."""

from __future__ import annotations

import copy
import dataclasses
import json
from functools import cache
from pathlib import Path
from typing import Any

from genlab.comparison.ranking import Comparison, compare
from genlab.comparison.reading import RunResult, reduce_result
from genlab.measure.finished_run import FinishedRun
from genlab.measure.result import Result
from genlab.runs.folder import RunDir

RESULT: dict[str, Any] = {
    "schema": 1, "run_id": "3f2a91cc-s0", "config_hash": "3f" * 32, "code_version": "0.1.0 abc1234",
    "created": "2026-01-01T00:00:00Z", "command": "python train.py model=flow data=mnist", "seed": 0,
    "model": {"name": "flow", "family": "flow", "variant": "spline", "parameters": 1_310_000},
    "data": {
        "name": "mnist", "split": "test", "modality": "image", "shape": [1, 28, 28], "levels": 256, "num_classes": 10,
    },
    "training": {
        "examples_seen": 150_000, "optimizer_steps": 2344, "wall_seconds": 540.0, "device": "cpu x86_64, 2 threads",
        "precision": "32-true", "peak_memory_bytes": 10**9, "examples_per_second": 300.0,
        "stopped_by": "budget.examples", "checkpoint": "best",
    },
    "likelihood": {
        "bits_per_dim": 1.0772, "bits_per_dim_se": 0.0026, "nats": 585.4, "nats_se": 1.4, "kind": "dequantized-16",
        "of": "p(x)", "examples": 10_000, "draws": 16,
    },
    "likelihood_last": None,
    "quality": {
        "fid": 12.5, "kid": 0.0123, "kid_sd": 0.001, "precision": 0.7, "recall": 0.6, "density": 0.9, "coverage": 0.8,
        "extractor": "mnist-64", "extractor_sha256": "ab" * 32, "n_real": 10_000, "n_fake": 10_000,
        "reference_split": "test",
    },
    "sampling": {"nfe": 1, "ms_per_sample": 0.512, "batch_size": 250},
    "protocol": {"name": "standard", "hash": "0123456789ab"},
    "reference": {"true_entropy_nats": None},
    "missing": {"likelihood_last": "the same checkpoint", "reference.true_entropy_nats": "it is not known"},
}  # fmt: skip


def result(**changes: object) -> dict[str, Any]:
    """A valid result with changes by dotted key, dots written as two underscores: ``quality__fid=3.0``."""
    made = copy.deepcopy(RESULT)
    for key, value in changes.items():
        *sections, name = key.split("__")
        place = made
        for section in sections:
            place = place[section]
        place[name] = value
        dotted = key.replace("__", ".")
        if value is None:
            # Reasons for what is no longer there are refused.
            made["missing"] = {
                other: why for other, why in made["missing"].items() if not f"{other}.".startswith(f"{dotted}.")
            }
            if not dotted.startswith("data."):  # null says something by itself there
                made["missing"][dotted] = "not measured"
        else:
            made["missing"].pop(dotted, None)
    return made


def run(number: int = 0, seed: int = 0, **changes: object) -> RunResult:
    """A run of the configuration of a number: runs of one number differ in their seeds alone."""
    digest = f"{number:064x}"
    changes = {"config_hash": digest, "run_id": f"{digest[-8:]}-s{seed}", "seed": seed, **changes}
    return reduce_result(Result.of(result(**changes)))


def finished(folder: Path, **changes: object) -> dict[str, Any]:
    """What a job reports of a run in a folder, in plain containers."""
    return FinishedRun(RunDir(folder), Result.of(result(**changes))).as_dict()


def many_runs() -> list[RunResult]:
    """10,000 runs: 5,000 configurations over ten data sets, two seeds of each, FID rising with their number.

    Their sampling costs differ, so that a report draws them.
    """
    pattern = run()
    return [
        dataclasses.replace(
            pattern,
            config_hash=f"{number // 2:064x}",
            seed=number % 2,
            data=dataclasses.replace(pattern.data, name=f"data{number // 2 % 10}"),
            figures={**pattern.figures, "fid": float(number), "ms_per_sample": 1.0 + number % 997},
        )
        for number in range(10_000)
    ]


@cache
def many_compared() -> Comparison:
    """Those runs, compared."""
    return compare(many_runs())


def compared(*runs: RunResult) -> Comparison:
    return compare(runs)


def write(path: Path, **changes: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result(**changes)))
    return path
