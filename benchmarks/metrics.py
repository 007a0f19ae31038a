"""Seconds and peak memory of each quality metric on features, all of them one after the other in this process.

    python benchmarks/metrics.py [--real 10000] [--fake 10000] [--features 64] [--out results/metrics.json]
    python benchmarks/metrics.py --mnist [--out results/quality.json]

The features are drawn from two Gaussian mixtures and given in batches of 500; a metric's seconds are those of its
updates and of its figure, by the clock and of processor time (of all threads, so that other work on the machine does
not count). The peak is that of the whole process, and beside it what it was before the first metric.

With ``--mnist``: all figures of the quality of 10,000 images against MNIST's test split, extractor included, as an
evaluation computes them; first without kept features, then with them. The images are training images.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor
from torchmetrics import Metric

from genlab.core.batch import Batch
from genlab.data.images import MNIST
from genlab.measure.case import Instruments
from genlab.measure.features.cache import FeatureCache
from genlab.measure.features.choice import choose_extractor
from genlab.measure.measuring import reference_of
from genlab.measure.metrics.classes import ClassHistogramDistance
from genlab.measure.metrics.frechet import FrechetDistance, MemorizationInformedFrechetDistance
from genlab.measure.metrics.inception_score import InceptionScore
from genlab.measure.metrics.kernel import KernelDistance
from genlab.measure.metrics.manifold import ManifoldMetrics
from genlab.measure.metrics.neighbours import NearestTrainingDistance
from genlab.measure.metrics.vectors import MaximumMeanDiscrepancy, SlicedWasserstein
from genlab.measure.quality import measure_quality

BATCH = 500
CLASSES = 10


def mixture(count: int, num_features: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return features ``[N, D]`` around one centre for each class, and the classes ``[N]``."""
    centres = 3 * torch.randn(CLASSES, num_features, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (count,), generator=generator)
    return centres[labels] + torch.randn(count, num_features, generator=generator), labels


def peak_megabytes() -> float:
    """Return the largest resident size that this process has had, in units of 10^6 bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def seconds(metric: Metric, real: Tensor, fake: Tensor) -> tuple[float, float]:
    """Return the seconds by the clock and of processor time."""
    started, started_cpu = time.perf_counter(), time.process_time()
    for rows, is_real in ((real, True), (fake, False)):
        for batch in rows.split(BATCH):
            metric.update(batch, real=is_real)
    if isinstance(metric, NearestTrainingDistance):
        for batch in real.split(BATCH):
            metric.update(batch, real=True, training=True)
    metric.compute()
    return time.perf_counter() - started, time.process_time() - started_cpu


def on_mnist() -> dict[str, object]:
    """Return the seconds and the peak of all figures of 10,000 images."""
    data = MNIST(os.environ.get("GENLAB_DATA") or "data")
    train = data.tensors("train")
    data.tensors("test")  # read before the clock starts
    before, figures = peak_megabytes(), {}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("nothing kept", "features kept"):
            started, started_cpu = time.perf_counter(), time.process_time()
            instruments = Instruments(choose_extractor(data.spec, lambda: train.x), FeatureCache(Path(folder)))
            quality = measure_quality(Batch(train.x[:10_000]), reference_of(data, "test"), instruments)
            figures[name] = (time.perf_counter() - started, time.process_time() - started_cpu)
    assert quality.figures is not None
    return {
        "command": "python benchmarks/metrics.py --mnist",
        "training_images": len(train.x),
        "n_real": quality.figures["n_real"],
        "n_fake": quality.figures["n_fake"],
        "seconds": {name: round(clock, 2) for name, (clock, _) in figures.items()},
        "cpu_seconds": {name: round(cpu, 2) for name, (_, cpu) in figures.items()},
        "peak_mb": round(peak_megabytes()),
        "peak_mb_before": round(before),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--real", type=int, default=10_000)
    parser.add_argument("--fake", type=int, default=10_000)
    parser.add_argument("--features", type=int, default=64)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--mnist", action="store_true")
    arguments = parser.parse_args()
    result = on_mnist() if arguments.mnist else on_features(arguments)
    result |= {"torch": torch.__version__, "threads": torch.get_num_threads()}
    print(json.dumps(result, indent=2))
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=2) + "\n")


def on_features(arguments: argparse.Namespace) -> dict[str, object]:
    """Return the seconds of each metric and the peak of all."""
    d = arguments.features
    real, real_labels = mixture(arguments.real, d, seed=1)
    fake, fake_labels = mixture(arguments.fake, d, seed=2)
    before, figures = peak_megabytes(), {}
    for metric in (FrechetDistance(d), MemorizationInformedFrechetDistance(d), KernelDistance(d), InceptionScore(d),
                   ManifoldMetrics(d), NearestTrainingDistance(d), SlicedWasserstein(d),
                   MaximumMeanDiscrepancy(d)):  # fmt: skip
        figures[type(metric).__name__] = seconds(metric, real, fake)
    figures["ClassHistogramDistance"] = seconds(ClassHistogramDistance(CLASSES), real_labels, fake_labels)
    return {
        "command": "python benchmarks/metrics.py",
        "real": arguments.real,
        "fake": arguments.fake,
        "features": d,
        "seconds": {name: round(clock, 3) for name, (clock, _) in figures.items()},
        "cpu_seconds": {name: round(cpu, 3) for name, (_, cpu) in figures.items()},
        "seconds_in_all": round(sum(clock for clock, _ in figures.values()), 3),
        "cpu_seconds_in_all": round(sum(cpu for _, cpu in figures.values()), 3),
        "peak_mb": round(peak_megabytes()),
        "peak_mb_before": round(before),
    }


if __name__ == "__main__":
    main()
