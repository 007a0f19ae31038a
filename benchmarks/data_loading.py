"""Batches per second of genlab's training stream against torch's DataLoader over the same tensors.

    python benchmarks/data_loading.py [--out results/data_loading.json]

Both run in this process, in alternating rounds, on the MNIST training set in ``$GENLAB_DATA`` (default ``data``).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader, TensorDataset

from genlab.data.images import MNIST

BATCH_SIZE = 128
EPOCH = 391  # batches of 50,000 images


def batches_per_second(loader: Iterable, batches: int) -> float:
    """Return the rate at which ``loader`` gives its first batches, the draw of its order included."""
    start = time.perf_counter()
    for _ in islice(loader, batches):
        pass
    return batches / (time.perf_counter() - start)


def measure(rounds: int, batches: int) -> dict[str, object]:
    """Return the median rates and the median of the per-round ratios."""
    data = MNIST(os.environ.get("GENLAB_DATA", "data"), batch_size=BATCH_SIZE)
    stream = data.train_dataloader()
    train = data.tensors("train")
    loader = DataLoader(TensorDataset(train.x, train.y), BATCH_SIZE, shuffle=True)
    pairs = []
    for number in range(-1, rounds):
        stream.start_batch = (number + 1) * EPOCH  # a new epoch each round: its order is not drawn yet
        pair = batches_per_second(stream, batches), batches_per_second(loader, batches)
        if number >= 0:  # the round before the first one warms up
            pairs.append(pair)
    ours, theirs = zip(*pairs, strict=True)
    return {
        "command": "python benchmarks/data_loading.py",
        "batch_size": BATCH_SIZE,
        "rounds": rounds,
        "batches_per_round": batches,
        "train_stream_batches_per_second": statistics.median(ours),
        "data_loader_batches_per_second": statistics.median(theirs),
        "ratio": statistics.median(a / b for a, b in pairs),
        "ratio_min": min(a / b for a, b in pairs),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="also write the figures to this JSON file")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batches", type=int, default=EPOCH, help="of each loader in each round; an epoch by default")
    options = parser.parse_args()
    result = measure(options.rounds, options.batches)

    table = Table(title=f"MNIST, batch {BATCH_SIZE}, median of {options.rounds} rounds")
    table.add_column("loader")
    table.add_column("batches/s", justify="right")
    table.add_column("ratio", justify="right")
    table.add_row("TrainStream", f"{result['train_stream_batches_per_second']:,.0f}", f"{result['ratio']:.1f}")
    table.add_row("DataLoader(TensorDataset)", f"{result['data_loader_batches_per_second']:,.0f}", "1.0")
    Console().print(table)
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
