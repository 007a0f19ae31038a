"""How fast a WaveNet of the default size draws sound by queues, and how much faster than by full passes.

    python benchmarks/wavenet_sampling.py [--out results/wavenet_sampling.json]

Both draw the same class-conditional 8-bit mu-law sound at 8 kHz from the same noise, in float32. A pass of the naive
loop costs the same at every value, so it is timed over the first few and extrapolated to all; these values are also
compared with those drawn by queues.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import Tensor

from genlab.command.targets import instantiate
from genlab.core.spec import DataSpec
from genlab.models.wavenet import WaveNet

CONFIG = Path(__file__).parents[1] / "conf" / "model" / "wavenet.yaml"
RATE_HZ = 8000


def make(seconds: float) -> WaveNet:
    """Build a WaveNet with its default size and with weights that make its samples varied."""
    shape = (1, round(RATE_HZ * seconds))
    spec = DataSpec("sound", "waveform", shape, levels=256, num_classes=10, sampling_rate_hz=RATE_HZ)
    torch.manual_seed(0)
    model: WaveNet = instantiate(OmegaConf.merge(OmegaConf.load(CONFIG), {"conditional": True}), spec=spec)
    for parameter in model.parameters():
        parameter.data += 0.02 * torch.randn_like(parameter)
    return model.eval()


def time_queues(model: WaveNet, y: Tensor) -> tuple[float, Tensor]:
    """Return the seconds that a sample for each label takes, and the samples."""
    started = time.perf_counter()
    samples = model.sample(len(y), y, torch.Generator().manual_seed(0))
    return time.perf_counter() - started, samples


@torch.no_grad()
def time_naive(model: WaveNet, y: Tensor, values: int) -> tuple[float, Tensor]:
    """Return the seconds that the samples would take by full passes, and their first ``values`` values."""
    noise = model.observation.noise((len(y), model.spec.num_dims), torch.Generator().manual_seed(0), y.device)
    steps, drawn = model.network.naive_steps(len(y), y), []
    started = time.perf_counter()
    params = next(steps)
    for dim in range(values):
        drawn.append(model.observation.transform(params, noise[:, dim]))
        params = steps.send(drawn[-1])
    # The first pass was one more than the values drawn.
    seconds = (time.perf_counter() - started) * model.spec.num_dims / (values + 1)
    return seconds, torch.stack(drawn, dim=1)


def measure(model: WaveNet, n: int, values: int, rounds: int) -> dict[str, Any]:
    """Time both ways in alternating rounds."""
    y = torch.arange(n) % 10
    pairs = [(time_queues(model, y), time_naive(model, y, values)) for _ in range(rounds)]
    queues, naive = (statistics.median(pair[way][0] for pair in pairs) for way in (0, 1))
    samples, first = pairs[0][0][1], pairs[0][1][1]
    return {
        "queues_seconds": queues,
        "naive_seconds_extrapolated": naive,
        "ratio": statistics.median(pair[1][0] / pair[0][0] for pair in pairs),
        "compared_values": first.numel(),
        "different_values": int((samples.flatten(1)[:, :values] != first).sum()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a sample")
    parser.add_argument("--values", type=int, default=4, help="values of each sample that the naive loop is timed on")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    model = make(arguments.seconds)
    figures: dict[str, Any] = {
        "command": "python benchmarks/wavenet_sampling.py",
        "seconds_of_sound": arguments.seconds,
        "sampling_rate_hz": RATE_HZ,
        "parameters": sum(p.numel() for p in model.parameters()),
        "layers": len(model.network.dilations),
        "naive_values_timed": arguments.values,
        "rounds": arguments.rounds,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "cpus": os.cpu_count(),
        "samples": {},
    }
    for n in arguments.samples:
        result = measure(model, n, arguments.values, arguments.rounds)
        figures["samples"][str(n)] = result
        print(
            f"{n} x {arguments.seconds} s of sound: {result['queues_seconds']:.2f} s by queues, "
            f"{result['naive_seconds_extrapolated']:,.0f} s naive (extrapolated), ratio {result['ratio']:,.0f}; "
            f"{result['different_values']} of {result['compared_values']} values differ"
        )
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
