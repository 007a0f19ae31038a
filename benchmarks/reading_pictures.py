"""Seconds that a folder of pictures takes to read once, against a bare loop of Pillow on the same cores, and memory.

    python benchmarks/reading_pictures.py [--pictures 10000] [--fewer 1000] [--out results/reading_pictures.json]

The pictures are made for the purpose, JPEG and PNG of 512x512 pixels, and read to 64x64. Ours lists them, computes a
checksum of each file, draws the splits and keeps the result; the loop decodes and scales, and nothing else. Both read
files that the system has in memory, in alternating rounds. The memory that ours takes beside the pictures that it keeps
is measured at two numbers of pictures, each in a process of its own, which has had no memory to use again.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from PIL import Image
from rich.console import Console
from rich.table import Table

from genlab.data import listing
from genlab.data.image_folder import ImageFolder

PIXELS, SIZE = 512, 64


def make_pictures(folder: Path, count: int, suffix: str) -> list[Path]:
    """Write pictures that are about as hard to decode as photographs: clouds with some grain."""
    random = np.random.RandomState(0)
    paths = []
    for number in range(count):
        coarse = Image.fromarray(random.randint(0, 256, (24, 24, 3)).astype(np.uint8))
        clouds = np.asarray(coarse.resize((PIXELS, PIXELS), Image.Resampling.BICUBIC), np.int16)
        grain = random.randint(-8, 9, (PIXELS, PIXELS, 1))
        paths.append(folder / f"{number}.{suffix}")
        options = {"compress_level": 1} if suffix == "png" else {"quality": 90}
        Image.fromarray((clouds + grain).clip(0, 255).astype(np.uint8)).save(paths[-1], **options)
    return paths


def bare_loop(paths: Sequence[Path], cores: int) -> np.ndarray:
    """Decode and scale, with as many threads as there are cores."""
    pictures = np.empty((len(paths), SIZE, SIZE, 3), np.uint8)

    def read(number: int) -> None:
        with Image.open(paths[number]) as picture:
            pictures[number] = np.asarray(picture.convert("RGB").resize((SIZE, SIZE)))

    with ThreadPoolExecutor(cores) as pool:
        list(pool.map(read, range(len(paths))))
    return pictures


class Memory:
    """The most memory that this process has had of its own within it, in megabytes above what it had before."""

    def __enter__(self) -> Memory:
        self.before = self.most = _own_memory()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.01):
            self.most = max(self.most, _own_memory())

    @property
    def megabytes(self) -> float:
        return (self.most - self.before) / 1e6


def _own_memory() -> float:
    """Return this process's memory but for files that are mapped into it, in bytes; 0 where the system does not say."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((1024.0 * int(line.split()[1]) for line in lines if line.startswith("RssAnon")), 0.0)


def ours(folder: Path, kept: Path) -> tuple[float, float]:
    """Return the seconds of the first start and of a second."""
    listing._KNOWN.clear()
    seconds = []
    for _ in range(2):
        began = time.perf_counter()
        ImageFolder(path=folder, size=SIZE, cache=kept).tensors("train")
        seconds.append(time.perf_counter() - began)
    return seconds[0], seconds[1]


def memory_of(folder: Path, kept: Path) -> float:
    """Return the megabytes that the first start takes."""
    with Memory() as memory:
        ImageFolder(path=folder, size=SIZE, cache=kept).tensors("train")
    return memory.megabytes


def memory_by_count(paths: Sequence[Path], counts: Sequence[int], place: Path) -> dict[str, float]:
    """Return the megabytes that a first start with so many of the pictures takes, in a new process each."""
    found, context = {}, get_context("forkserver")
    context.set_forkserver_preload(["genlab.data.image_folder"])  # imported once for all
    for count in counts:
        folder = place / f"first{count}"
        folder.mkdir()
        for path in paths[:count]:
            os.link(path, folder / path.name)
        with ProcessPoolExecutor(1, mp_context=context) as process:
            found[str(count)] = process.submit(memory_of, folder, place / f"kept{count}pictures").result()
    return found


def measure(suffix: str, count: int, fewer: int, rounds: int) -> dict[str, Any]:
    """Return the median seconds, the median of the rounds' ratios, and the memory that ours takes."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "pictures"
        folder.mkdir()
        paths = make_pictures(folder, count, suffix)
        bare_loop(paths[:8], cores)
        found = []
        for number in range(rounds):
            began = time.perf_counter()
            bare_loop(paths, cores)
            bare = time.perf_counter() - began
            found.append((bare, *ours(folder, Path(place) / f"kept{number}")))
        memory = memory_by_count(paths, [fewer, count], Path(place))
    bare, first, second = zip(*found, strict=True)
    return {
        "bare_loop_seconds": statistics.median(bare),
        "first_start_seconds": statistics.median(first),
        "second_start_seconds": statistics.median(second),
        "ratio": statistics.median(f / b for f, b in zip(first, bare, strict=True)),
        "memory_megabytes": memory,
        "cores": cores,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="also write the figures to this JSON file")
    parser.add_argument("--pictures", type=int, default=10_000, help="of each format")
    parser.add_argument("--fewer", type=int, default=1000, help="pictures at which memory is measured, too")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    counts = (options.pictures, options.fewer)
    figures = {suffix: measure(suffix, *counts, options.rounds) for suffix in ("jpg", "png")}

    title = f"{options.pictures:,} pictures of {PIXELS}x{PIXELS} to {SIZE}x{SIZE}, median of {options.rounds} rounds"
    table = Table(title=title)
    memories = [f"MB for {count:,}" for count in reversed(counts)]
    for heading in ("format", "bare loop s", "first start s", "ratio", "second start s", *memories):
        table.add_column(heading, justify="right")
    for suffix, found in figures.items():
        keys = ("bare_loop_seconds", "first_start_seconds", "ratio", "second_start_seconds")
        values = [*(found[key] for key in keys), *found["memory_megabytes"].values()]
        table.add_row(suffix, *(f"{value:.3g}" for value in values))
    Console().print(table)
    if options.out:
        result = {
            "command": (
                f"python benchmarks/reading_pictures.py --pictures {options.pictures} --fewer {options.fewer} "
                f"--rounds {options.rounds}"
            ),
            "pictures": options.pictures,
            **figures,
            "pillow": PIL.__version__,
            "machine": platform.machine(),
        }
        options.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
