"""How much faster a training step of the U-Net is in bfloat16, and than that of another package, on a CPU.

    python benchmarks/unet.py [--other-python PATH] [--out results/unet.json]

A step is forward, backward and Adam on 28x28 images with one channel. Plain is float32 with contiguous tensors, fast is
bfloat16 autocast with channels last. The other U-Net is that of the package denoising-diffusion-pytorch, which an
environment of its own must hold (with torch and einops), and whose Python PATH names; it is timed in both ways too.
All networks take turns within each round, and figures are medians over the rounds, so that other work on the machine
slows all of them alike. A matrix product and one convolution with its backward pass are timed beside them: what the
processor's bfloat16 gains by itself, which a whole step cannot much exceed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import torch
from torch import Tensor, nn
from torch.nn import functional as F

IMAGE = (1, 28, 28)
ATTENTION = [7]
OURS: dict[str, tuple[list[int], int]] = {
    "default": ([32, 64, 64], 1),
    "equal_parameters": ([32, 64, 112], 1),
    "equal_widths": ([32, 64, 64], 2),
}
OTHER_WIDTH, OTHER_MULTIPLES = 32, (1, 2, 2)
WAYS = ("plain", "fast")
ARITHMETIC = ("matrix_product", "convolution")
# The package imports these for its folders of images and its FID. They are no part of its network, and torchvision's
# wheels do not load beside a CPU build of torch.
UNUSED_IMPORTS = (
    "torchvision", "torchvision.transforms", "torchvision.utils",
    "pytorch_fid", "pytorch_fid.fid_score", "pytorch_fid.inception", "accelerate", "ema_pytorch",
)  # fmt: skip


class TrainingStep:
    """Training step of a network, timed.

    Args:
        network: Called with images and noise levels.
        way: One of `WAYS`.
        batch: Images of a step.
    """

    def __init__(self, network: nn.Module, way: str, batch: int) -> None:
        layout = torch.contiguous_format if way == "plain" else torch.channels_last
        self.network = network.to(memory_format=layout)
        self.optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
        self.autocast = way == "fast"
        self.x, self.noise = (torch.randn(batch, *IMAGE).contiguous(memory_format=layout) for _ in range(2))
        self.t = torch.rand(batch)

    def seconds(self) -> float:
        """Take a step and return how long it took by the clock."""
        started = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.autocast):
            predicted: Tensor = self.network(self.x, self.t)
        F.mse_loss(predicted.float(), self.noise).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return time.perf_counter() - started


def our_steps(batch: int) -> tuple[dict[str, Callable[[], float]], dict[str, int]]:
    """Return a timer for each of our sizes in each way, and the parameters of each size."""
    from genlab.networks.diffusion.unet import UNet

    timers, parameters = {}, {}
    for name, (channels, blocks) in OURS.items():
        for way in WAYS:
            network = UNet(IMAGE, channels=channels, blocks=blocks, attention=ATTENTION, num_classes=0, dropout=0.0)
            parameters[name] = sum(p.numel() for p in network.parameters())
            timers[f"{name}_{way}"] = TrainingStep(network, way, batch).seconds
    return timers, parameters


def arithmetic() -> dict[str, Callable[[], float]]:
    """Return a timer in each precision for a matrix product and for a convolution, forward and backward."""
    timers: dict[str, Callable[[], float]] = {}
    for way, dtype in zip(WAYS, (torch.float32, torch.bfloat16), strict=True):
        left, right = torch.randn(4096, 1024, dtype=dtype), torch.randn(1024, 1024, dtype=dtype)
        x = torch.randn(64, 64, 14, 14, dtype=dtype).contiguous(memory_format=torch.channels_last).requires_grad_()
        weight = torch.randn(64, 64, 3, 3, dtype=dtype).contiguous(memory_format=torch.channels_last).requires_grad_()

        def product(left: Tensor = left, right: Tensor = right) -> None:
            torch.mm(left, right)

        def convolution(x: Tensor = x, weight: Tensor = weight) -> None:
            y = F.conv2d(x, weight, padding=1)
            torch.autograd.grad(y, (x, weight), y.detach())

        timers[f"matrix_product_{way}"] = partial(clocked, product)
        timers[f"convolution_{way}"] = partial(clocked, convolution)
    return timers


def clocked(work: Callable[[], None]) -> float:
    """Return the seconds that this takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def serve_other(batch: int) -> None:
    """Run in the other Python: print the parameters, then a step's seconds for each way named on a line."""
    for name in UNUSED_IMPORTS:
        sys.modules[name] = MagicMock()
    from denoising_diffusion_pytorch import Unet

    networks = {way: Unet(OTHER_WIDTH, dim_mults=OTHER_MULTIPLES, channels=IMAGE[0]) for way in WAYS}
    steps = {way: TrainingStep(network, way, batch) for way, network in networks.items()}
    print(sum(p.numel() for p in networks["plain"].parameters()), flush=True)
    for line in sys.stdin:
        print(steps[line.strip()].seconds(), flush=True)


def other_steps(python: Path, batch: int) -> tuple[dict[str, Callable[[], float]], int, subprocess.Popen[str]]:
    """Start the other Python and return a timer for each way, the network's parameters, and the process."""
    threads = str(torch.get_num_threads())
    command = [str(python), __file__, "--serve", "--batch", str(batch), "--threads", threads]
    # A path for this package would bring its dependencies' versions along.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)

    def ask(way: str) -> float:
        assert process.stdin
        assert process.stdout
        print(way, file=process.stdin, flush=True)
        return float(process.stdout.readline())

    assert process.stdout
    parameters = int(process.stdout.readline())
    return {f"other_{way}": lambda way=way: ask(way) for way in WAYS}, parameters, process


def measure(timers: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Take one step of each in each round; the first two rounds only warm up."""
    found: dict[str, list[float]] = {name: [] for name in timers}
    for _ in range(rounds + 2):
        for name, timer in timers.items():
            found[name].append(timer())
    return {name: seconds[2:] for name, seconds in found.items()}


def ratio(seconds: dict[str, list[float]], slow: str, fast: str) -> float:
    """Return the median over the rounds of how many times as long ``slow`` took as ``fast``."""
    return statistics.median(a / b for a, b in zip(seconds[slow], seconds[fast], strict=True))


def compare(seconds: dict[str, list[float]]) -> dict[str, float]:
    """Return the ratios that the measured networks allow."""
    ratios = {
        f"{name}: plain over fast": ratio(seconds, f"{name}_plain", f"{name}_fast") for name in (*OURS, *ARITHMETIC)
    }
    if "other_fast" in seconds:
        ratios["other: plain over fast"] = ratio(seconds, "other_plain", "other_fast")
        for name in ("equal_parameters", "equal_widths"):
            for way in WAYS:
                ratios[f"{name}: other over ours, {way}"] = ratio(seconds, f"other_{way}", f"{name}_{way}")
    return ratios


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--other-python", type=Path, help="Python with denoising-diffusion-pytorch")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    if arguments.serve:
        serve_other(arguments.batch)
        return
    timers, parameters = our_steps(arguments.batch)
    timers |= arithmetic()
    other = None
    if arguments.other_python:
        other_timers, parameters["other"], other = other_steps(arguments.other_python, arguments.batch)
        timers |= other_timers
    else:
        print("The other package is left out: --other-python names no Python that has it.")
    seconds = measure(timers, arguments.rounds)
    if other and other.stdin:
        other.stdin.close()
        other.wait()
    figures: dict[str, Any] = {
        "command": "python benchmarks/unet.py" + (" --other-python PATH" if other else ""),
        "batch": arguments.batch,
        "shape": IMAGE,
        "rounds": arguments.rounds,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "avx512_bf16": torch.cpu._is_avx512_bf16_supported(),
        "amx": torch.cpu._is_amx_tile_supported(),
        "parameters": parameters,
        "ms_per_step": {name: 1000 * statistics.median(values) for name, values in seconds.items()},
        "ratios": compare(seconds),
    }
    for name, value in (figures["parameters"] | figures["ms_per_step"] | figures["ratios"]).items():
        print(f"{name}: {value:,.2f}" if isinstance(value, float) else f"{name}: {value:,} parameters")
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
