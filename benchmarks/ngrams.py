"""The n-gram baselines of text and sound: by code of its own, by the family, and under the protocol.

    python benchmarks/ngrams.py [--orders 7] [--data shakespeare spoken_digits] [--out results/ngrams.json]

The figures are likelihoods per value of held-out data for n-grams of 1, 2 ... values. ``independent`` is interpolated
Witten-Bell written with NumPy, on running text: nanoGPT's split of Tiny Shakespeare, and the spoken digits as they are
in 8-bit mu-law, recordings laid end to end, all but numbers 0 to 4 of each speaker and digit against these. ``family``
is `genlab.networks.causal.ngram.WittenBell` on the same sequences, and ``protocol`` what a run reports: windows that do
not overlap, whose first values lack a context; recordings of the training split against those of test, trimmed and
masked.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from pathlib import Path

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray

from genlab.core.batch import Batch
from genlab.data.sound import SpokenDigits
from genlab.data.text import Shakespeare
from genlab.networks.causal.ngram import WittenBell

Sequence = NDArray[np.int64]


def independent(train: Sequence, test: Sequence, symbols: int, orders: int) -> list[float]:
    """Return the nats per value of a sequence for n-grams of 1 to ``orders`` values of another."""
    probability, figures = np.full(len(test), 1 / symbols), []
    for context in range(orders):
        powers = symbols ** np.arange(context, -1, -1)
        grams, asked = (
            sum(sequence[place : len(sequence) - context + place] * power for place, power in enumerate(powers))
            for sequence in (train, test)
        )
        seen, counts = np.unique(grams, return_counts=True)
        contexts, first = np.unique(seen // symbols, return_index=True)
        kinds, totals = np.diff(np.append(first, len(seen))), np.add.reduceat(counts, first)
        count = looked_up(seen, counts, asked)
        kind, total = (looked_up(contexts, values, asked // symbols) for values in (kinds, totals))
        shorter = probability[context:]
        probability[context:] = np.where(total, (count + kind * shorter) / np.maximum(total + kind, 1), shorter)
        figures.append(float(-np.log(probability).mean()))
    return figures


def looked_up(keys: Sequence, values: Sequence, asked: Sequence) -> Sequence:
    """Return the values of keys, sorted, and 0 for others."""
    places = np.searchsorted(keys, asked).clip(max=len(keys) - 1)
    return np.where(keys[places] == asked, values[places], 0)


def by_family(train: Batch, test: Batch, symbols: int, orders: int) -> list[float]:
    """Return the same of the family's own tables, of sequences ``[N, T]`` with masks or without."""
    counts = WittenBell(symbols, orders)
    counts.fit(train.x, train.mask)
    there = torch.ones_like(test.x, dtype=torch.bool) if test.mask is None else test.mask
    return [-log_prob[there].mean().item() for log_prob in counts.log_probs(test.x)][1:]


def shakespeare(root: Path) -> tuple[Sequence, Sequence, Batch, Batch, int]:
    """Return running text to train on and to measure, the same in windows, and the number of symbols."""
    data = Shakespeare(root, split="nanogpt")
    train, test = (data.symbols(split).numpy().astype(np.int64) for split in ("train", "validation"))
    return train, test, data.tensors("train"), data.tensors("validation"), 65


def spoken_digits(root: Path) -> tuple[Sequence, Sequence, Batch, Batch, int]:
    """Return levels of recordings end to end, the data set's own examples, and the number of levels."""
    sounds: dict[bool, list[Sequence]] = {False: [], True: []}
    for path in sorted((root / "fsdd" / "recordings").glob("*.wav")):
        a, _ = soundfile.read(path)
        code = np.round((np.sign(a) * np.log(1 + 255 * np.abs(a)) / np.log(256) + 1) / 2 * 255).astype(np.int64)
        sounds[int(path.stem.split("_")[-1]) < 5].append(code)
    data = SpokenDigits(root)
    rows = [data.tensors(split).each(lambda tensor: tensor.flatten(1)) for split in ("train", "test")]
    return np.concatenate(sounds[False]), np.concatenate(sounds[True]), *rows, 256


SETS = {"shakespeare": (shakespeare, "nats", 1.0), "spoken_digits": (spoken_digits, "bits", math.log(2))}
"""What gives the sequences, the unit of the published figures, and how many nats it has."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--orders", type=int, default=7)
    parser.add_argument("--data", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    orders, root = arguments.orders, Path(os.environ.get("GENLAB_DATA") or "data")
    command = f"python benchmarks/ngrams.py --orders {orders} --data {' '.join(arguments.data)}"
    result: dict[str, object] = {"command": command}
    for name in arguments.data:
        read, unit, nats = SETS[name]
        train, test, rows, held_out, symbols = read(root)
        began = time.perf_counter()
        running = [Batch(torch.from_numpy(sequence)[None]) for sequence in (train, test)]
        figures = {"family": by_family(*running, symbols, orders)}
        seconds = time.perf_counter() - began
        figures |= {
            "independent": independent(train, test, symbols, orders),
            "protocol": by_family(rows, held_out, symbols, orders),
        }
        result[name] = {
            "unit": f"{unit} per value, n-grams of 1 to {orders} values",
            "family_seconds": round(seconds, 2),
            **{kind: [round(figure / nats, 4) for figure in found] for kind, found in figures.items()},
        }
    print(json.dumps(result, indent=2))
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
