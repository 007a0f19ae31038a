"""Seconds until the explorer shows something: its page, and 16 pictures of each model, at first and later.

    python benchmarks/explorer.py [--data mnist digits] [--models vae gan flow] [--out results/explorer.json]

Each figure is the median of several fresh starts, over runs of models of their own sizes, trained for a moment.
The page is asked for as soon as its address is printed, and the pictures after a pause: none, as a page asks that
was left open, or as long as it takes a person to open the address.
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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

ROOT = Path(__file__).parents[1]
PICTURES = 16
SHORT = [
    "logger=none", "trainer=cpu", "budget.minutes=null", "budget.validations=1", "validation_samples=null",
    "data.validation_examples=64", "grid_samples=4", f"evaluation.num_samples={PICTURES}", "evaluation.max_examples=16",
]  # fmt: skip
WAIT_SECONDS = 120


def train(data: str, model: str, examples: int, logs: str) -> None:
    """Train a model of its own size, not for its pictures."""
    root = [] if data == "digits" else [f"data.root={os.environ.get('GENLAB_DATA', 'data')}"]
    words = [f"model={model}", f"data={data}", *root, f"budget.examples={examples}", f"paths.logs={logs}", *SHORT]
    subprocess.run([sys.executable, "train.py", *words], check=True, stdout=subprocess.DEVNULL, cwd=ROOT)


@contextmanager
def explorer(logs: str) -> Iterator[str]:
    """Start the explorer, and return its address once it is printed."""
    command = [sys.executable, "-m", "genlab", "explore", "port=0", f"paths.logs={logs}", "device=cpu"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().rstrip("\n").partition(": ")[2]
        finally:
            process.terminate()


def ask(address: str, kind: str, **settings: Any) -> Any:
    """Send a request as the page does, and return what answers it."""
    body, headers = json.dumps(settings).encode(), {"Content-Type": "application/json"}
    with urlopen(Request(f"{address}api/{kind}", body, headers), timeout=WAIT_SECONDS) as answer:
        return json.load(answer)


def start(logs: str, model: str, pause: float, later: int) -> dict[str, float]:
    """Return the seconds of one start and its requests."""
    began = time.perf_counter()

    def sample(seed: int) -> float:
        asked = time.perf_counter()
        assert ask(address, "sample", run=run, n=PICTURES, seed=seed)["picture"]
        return time.perf_counter() - asked

    with explorer(logs) as address:
        urlopen(address, timeout=WAIT_SECONDS).read()
        page = time.perf_counter() - began
        asked = time.perf_counter()
        found = ask(address, "runs")
        runs = time.perf_counter() - asked
        (run,) = (run["name"] for group in found["groups"] for run in group["runs"] if run["model"] == model)
        time.sleep(pause)
        return {
            "first_page_seconds": page,
            "list_of_runs_seconds": runs,
            "first_pictures_seconds": sample(0),
            "later_pictures_seconds": statistics.median(sample(seed) for seed in range(1, later + 1)),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", default=["digits", "mnist"])
    parser.add_argument("--models", nargs="+", default=["vae", "gan", "flow"])
    parser.add_argument("--pauses", type=float, nargs="+", default=[0.0, 2.0], help="seconds before the first pictures")
    parser.add_argument("--examples", type=int, default=512, help="that each model is trained on")
    parser.add_argument("--later", type=int, default=5, help="requests after the first")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    results = []
    for data in arguments.data:
        with tempfile.TemporaryDirectory() as logs:
            for model in arguments.models:
                train(data, model, arguments.examples, logs)
            for model in arguments.models:
                for pause in arguments.pauses:
                    starts = [start(logs, model, pause, arguments.later) for _ in range(arguments.rounds)]
                    middle = {name: statistics.median(each[name] for each in starts) for name in starts[0]}
                    results.append({"data": data, "model": model, "pause_seconds": pause, **middle})
                    print(json.dumps(results[-1]), flush=True)
    figures = {
        "command": "python benchmarks/explorer.py",
        "rounds": arguments.rounds,
        "pictures": PICTURES,
        "cores": os.cpu_count(),
        "results": results,
    }
    if arguments.out:
        arguments.out.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
