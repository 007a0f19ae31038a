"""Operators of PyTorch that a training step of each default model dispatches: a proxy for its kernels on a GPU.

    python benchmarks/operations.py [--before CHECKOUT] [--out results/operations.json]

Forward, backward, clipping and the optimizers on pictures of MNIST's shape, in float32 on the CPU, with the optimizer
as a GPU has it, which takes all weights at once. Views and empty tensors are left out. No GPU is needed, and no time is
measured: an operator is about a kernel, some are several. Where steps are of several kinds, as of a game that takes its
penalties at some, it is the mean of four steps, in which all kinds of the defaults come as often as in a training.

``--before`` counts the same in a checkout of an earlier version, by this script and its code and configs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from timing.operators import CountOperators, without_lightning

import genlab
from genlab.core.batch import Batch
from genlab.data.images import MNIST

ROOT = Path(genlab.__file__).parents[2]
MODELS = ["flow", "vae", "gan", "diffusion", "made", "flow_matching", "pixelcnn", "transformer", "iwae", "hvae",
          "wgan_gp", "sngan", "r3gan", "gmm", "pixelrnn"]  # fmt: skip
STEPS = 4


def operators(name: str) -> int:
    """Return those of a step of a default model."""
    torch.manual_seed(0)
    config = compose("config", [f"model={name}", "data=mnist"]).model
    model = instantiate(config, spec=MNIST.spec, _execution_whitelist_=["genlab.*", "torch.optim.*"])
    batch = Batch(torch.randint(256, (8, *MNIST.spec.shape), dtype=torch.uint8), torch.randint(10, (8,)))
    model.initialize(batch)
    optimizers = model.configure_optimizers()
    for group in (group for optimizer in optimizers for group in optimizer.param_groups):
        group["foreach"] = True
    without_lightning(model, optimizers)

    def step() -> None:
        if not model.automatic_optimization:
            model.training_step(batch, 0)
            return
        optimizers[0].zero_grad()
        model.loss(batch)["loss"].backward()
        if config.grad_clip is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), config.grad_clip, foreach=True)
        optimizers[0].step()

    for _ in range(STEPS):  # what only first steps do, such as an optimizer that makes its state
        step()
        model.progress.batches += 1
    with CountOperators() as counted:
        for _ in range(STEPS):
            step()
            model.progress.batches += 1
    return round(counted.count / STEPS)


def of_checkout(checkout: Path, models: list[str]) -> dict[str, int]:
    """Return the operators of a step of each model in a checkout of another version."""
    command = [sys.executable, __file__, "--models", *models]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(checkout.resolve() / "src")}, stdout=subprocess.PIPE, check=True
    )
    return json.loads(done.stdout)["operators"]


def commit_of(checkout: Path) -> str:
    command = ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS)
    parser.add_argument("--before", type=Path, help="checkout of an earlier version")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    before: dict[str, Any] = {}
    if arguments.before:
        before["before_commit"] = commit_of(arguments.before)
        before["operators_before"] = of_checkout(arguments.before, arguments.models)
    with initialize_config_dir(str(ROOT / "conf")):
        counted = {name: operators(name) for name in arguments.models}
    figures = {
        "command": "python benchmarks/operations.py" + (" --before CHECKOUT" if before else ""),
        "torch": torch.__version__,
        "operators": counted,
        **before,
    }
    print(json.dumps(figures, indent=2))
    if arguments.out:
        arguments.out.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
