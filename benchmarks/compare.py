"""Seconds to read and rank many result files.

    python benchmarks/compare.py [--out results/compare.json]

The files are generated in a temporary folder, laid out as runs are: 20 data sets, 5 seeds for each configuration, every
figure present. Reading starts with the files in the system's cache, as they are after they were written.
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from genlab.comparison.ranking import compare
from genlab.comparison.reading import read_results

DATA_SETS, SEEDS = 20, 5
KINDS = ("exact", "dequantized-16", "elbo", "iwae-16", "ode")
RESULT: dict[str, Any] = {
    "schema": 1, "run_id": "", "config_hash": "", "code_version": "0.1.0", "created": "2026-01-01T00:00:00Z",
    "command": "", "seed": 0,
    "model": {"name": "flow", "family": "flow", "variant": "spline", "parameters": 1_000_000},
    "data": {
        "name": "", "split": "test", "modality": "image", "shape": [1, 28, 28], "levels": 256, "num_classes": 10,
    },
    "training": {
        "examples_seen": 150_000, "optimizer_steps": 2344, "wall_seconds": 500.0, "device": "cpu",
        "precision": "32-true", "peak_memory_bytes": 10**9, "examples_per_second": 300.0,
        "stopped_by": "budget.examples", "checkpoint": "best",
    },
    "likelihood": {
        "bits_per_dim": 1.0, "bits_per_dim_se": 0.003, "nats": 540.0, "nats_se": 1.5, "kind": "exact", "of": "p(x)",
        "examples": 10_000, "draws": 16,
    },
    "likelihood_last": None,
    "quality": {
        "fid": 10.0, "kid": 0.01, "kid_sd": 0.001, "precision": 0.7, "recall": 0.6, "density": 0.9, "coverage": 0.8,
        "extractor": "mnist-64", "extractor_sha256": "ab" * 32, "n_real": 10_000, "n_fake": 10_000,
        "reference_split": "test",
    },
    "sampling": {"nfe": 1, "ms_per_sample": 0.5, "batch_size": 250},
    "protocol": {"name": "standard", "hash": "0123456789ab"},
    "reference": {"true_entropy_nats": None},
    "missing": {
        "likelihood_last": "the best checkpoint is the last", "reference.true_entropy_nats": "it is not known",
    },
}  # fmt: skip


def generate(folder: Path, files: int) -> None:
    """Write result files, laid out as runs are."""
    chance = random.Random(0)
    for number in range(files):
        configuration, seed = divmod(number, SEEDS)
        result = copy.deepcopy(RESULT)
        digest = f"{configuration:064x}"
        result.update(run_id=f"{digest[-8:]}-s{seed}", config_hash=digest, seed=seed)
        result["data"]["name"] = f"data{configuration % DATA_SETS}"
        result["command"] = f"python train.py data={result['data']['name']} model.lr={configuration * 1e-6} seed={seed}"
        result["likelihood"].update(bits_per_dim=chance.uniform(0.9, 1.2), kind=KINDS[configuration % len(KINDS)])
        result["quality"]["fid"] = chance.uniform(1, 50)
        results = folder / "runs" / result["data"]["name"] / "flow" / result["run_id"] / "results"
        results.mkdir(parents=True)
        (results.parent / "config.yaml").touch()
        (results / "standard.json").write_text(json.dumps(result, indent=2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    reading, ranking, busy = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder), arguments.files)
        for _ in range(arguments.rounds):
            started, computing = time.perf_counter(), time.process_time()
            results, skipped = read_results([folder])
            read = time.perf_counter()
            comparison = compare(results, skipped)
            ranking.append(time.perf_counter() - read)
            reading.append(read - started)
            busy.append(time.process_time() - computing)
            assert sum(len(row.runs) for group in comparison.groups for row in group.rows) == arguments.files
    figures = {
        "command": "python benchmarks/compare.py",
        "files": arguments.files,
        "rounds": arguments.rounds,
        "read_seconds": statistics.median(reading),
        "rank_seconds": statistics.median(ranking),
        "read_and_rank_seconds": statistics.median(a + b for a, b in zip(reading, ranking, strict=True)),
        "processor_seconds": statistics.median(busy),  # the same without what other programs on the machine take
    }
    print(json.dumps(figures, indent=2))
    if arguments.out:
        arguments.out.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
