"""Whether a change of the code leaves trainings and figures as they were, to the last bit.

    python benchmarks/same_bits.py --out before.json
    python benchmarks/same_bits.py --against before.json

Eight tiny trainings, each in a process of its own with one thread: the SHA-256 of their weights, the last and the best,
and the results of their evaluation and of the floor, without times. Bits are those of one machine and one version of
PyTorch: compare files of the same.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parents[1]

RUNS = {f"{model} on digits": [f"model={model}", "data=digits"] for model in
        ("flow", "vae", "gmm", "gan", "diffusion", "pixelcnn")}  # fmt: skip
RUNS |= {f"{model} on two moons": [f"model={model}", "data=toy2d"] for model in ("flow", "diffusion")}

TINY = [
    "budget.minutes=null", "budget.validations=2", "trainer=cpu", "logger=none", "evaluation=quick",
    "evaluation.num_samples=256", "evaluation.max_examples=64", "evaluation.name=tiny",
]  # fmt: skip

TIMES = ("created", "code", "code_sha256", "code_version", "command", "wall_seconds", "peak_memory_bytes",
         "examples_per_second", "ms_per_sample")  # fmt: skip


def train(overrides: list[str], examples: int) -> dict[str, Any]:
    """Train in a fresh process and return the digests of the weights and what was measured."""
    with tempfile.TemporaryDirectory() as logs:
        command = [sys.executable, str(ROOT / "train.py"), *overrides, *TINY, f"paths.logs={logs}"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        subprocess.run(
            [*command, f"budget.examples={examples}"], check=True, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL
        )
        (last,) = Path(logs).glob("runs/*/*/*/checkpoints/last.ckpt")
        measured = {path.parents[1].name: json.loads(path.read_text()) for path in Path(logs).rglob("results/*.json")}
        return {
            **{name: digest(last.with_stem(name)) for name in ("last", "best")},
            "results": {name: _timeless(result) for name, result in measured.items()},
        }


def digest(checkpoint: Path) -> str:
    """Return the SHA-256 of a checkpoint's weights."""
    found = hashlib.sha256()
    for name, value in sorted(torch.load(checkpoint, weights_only=True)["state_dict"].items()):
        found.update(name.encode())
        found.update(value.contiguous().numpy())
    return found.hexdigest()


def _timeless(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _timeless(value) for key, value in node.items() if key not in TIMES}
    return node


def differences(before: Any, now: Any, key: str = "") -> Iterator[str]:
    """Yield a line for each value that differs; what only the new side has is no difference."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name, value in before.items():
            yield from differences(value, now.get(name), f"{key} / {name}" if key else name)
    elif before != now:
        yield f"{key}: {before} before, {now} now"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--against", type=Path)
    parser.add_argument("--examples", type=int, default=2560)
    parser.add_argument("--only", help="part of the names of the trainings, e.g. digits")
    given = parser.parse_args(arguments)
    found = {name: train(run, given.examples) for name, run in RUNS.items() if given.only is None or given.only in name}
    if given.out:
        command = f"python benchmarks/same_bits.py --examples {given.examples}"
        given.out.write_text(json.dumps({"command": command, "trainings": found}, indent=1) + "\n")
    lines = list(differences(json.loads(given.against.read_text())["trainings"], found)) if given.against else []
    print("\n".join(lines) if lines else f"{len(found)} trainings{', no difference' if given.against else ''}.")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
