"""How much faster cached sampling is than a full forward pass for each value, for every autoregressive family.

    python benchmarks/sampling_cache.py [--out results/sampling_cache.json]

Both draw the same MNIST-sized images from the same noise, with the default sizes of each family in float32. A pass of
the naive loop costs the same at every value, so it is timed over the first ones and extrapolated to all; these are also
compared with those of the cached images.
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

from genlab.command.targets import instantiate
from genlab.core.spec import DataSpec
from genlab.models.autoregressive import Autoregressive

CONF = Path(__file__).parents[1] / "conf" / "model"
FAMILIES = ("made", "pixelcnn", "pixelrnn", "transformer")
SPEC = DataSpec("binary_28x28", "image", (1, 28, 28), levels=2)


def make(family: str) -> Autoregressive:
    """Build a family with its default sizes and with weights that make its samples varied."""
    torch.manual_seed(0)
    model: Autoregressive = instantiate(OmegaConf.load(CONF / f"{family}.yaml"), spec=SPEC)
    for parameter in model.parameters():
        parameter.data += 0.02 * torch.randn_like(parameter)
    return model.eval()


def time_cached(model: Autoregressive, n: int) -> tuple[float, torch.Tensor]:
    """Return the seconds that ``n`` images take, and the images."""
    started = time.perf_counter()
    images = model.sample(n, generator=torch.Generator().manual_seed(0))
    return time.perf_counter() - started, images


@torch.no_grad()
def time_naive(model: Autoregressive, n: int, values: int) -> tuple[float, torch.Tensor]:
    """Return the seconds that ``n`` images would take by full passes, and their first ``values`` values."""
    drawn: list[torch.Tensor] = []
    noise = model.observation.noise((n, SPEC.num_dims), torch.Generator().manual_seed(0), model.device)
    steps = model.network.naive_steps(n)
    started = time.perf_counter()
    params = next(steps)
    for dim in range(values):
        drawn.append(model.observation.transform(params, noise[:, dim]))
        params = steps.send(drawn[-1])
    # The first pass was one more than the values drawn.
    seconds = (time.perf_counter() - started) * SPEC.num_dims / (values + 1)
    return seconds, torch.stack(drawn, dim=1)


def measure(family: str, n: int, values: int, rounds: int) -> dict[str, Any]:
    """Time both ways in alternating rounds, the first of which only warms up."""
    model = make(family)
    pairs = [(time_cached(model, n), time_naive(model, n, values)) for _ in range(rounds + 1)][1:]
    cached, naive = (statistics.median(pair[way][0] for pair in pairs) for way in (0, 1))
    images, first = pairs[0][0][1], pairs[0][1][1]
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "cached_seconds": cached,
        "naive_seconds": naive,
        "ratio": statistics.median(pair[1][0] / pair[0][0] for pair in pairs),
        "compared_values": first.numel(),
        "different_values": int((images.flatten(1)[:, :values] != first).sum()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--values", type=int, default=28, help="values of each image that the naive loop is timed on")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=FAMILIES)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    figures: dict[str, Any] = {
        "command": "python benchmarks/sampling_cache.py",
        "images": arguments.images,
        "shape": list(SPEC.shape),
        "naive_values_timed": arguments.values,
        "rounds": arguments.rounds,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "cpus": os.cpu_count(),
        "families": {},
    }
    for family in arguments.families:
        result = measure(family, arguments.images, arguments.values, arguments.rounds)
        figures["families"][family] = result
        print(
            f"{family}: {arguments.images} images in {result['cached_seconds']:.2f} s cached, "
            f"{result['naive_seconds']:.1f} s naive, ratio {result['ratio']:.0f}; "
            f"{result['different_values']} of {result['compared_values']} values differ"
        )
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
