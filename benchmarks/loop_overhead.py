"""Milliseconds that genlab's training loop adds to a step of a bare PyTorch loop over the same model.

    python benchmarks/loop_overhead.py [--out results/loop_overhead.json]

Both loops draw batches from the same stream, compute the same loss, clip the gradient and step the same optimizer; ours
also counts the budget, averages the weights, seeds the noise, logs, shows its progress and guards against non-finite
numbers. They run in this process, in alternating rounds, on a flow so small that the loop is a visible part of a step.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir

from genlab.command.build import build_datamodule, build_model
from genlab.command.config import check_config
from genlab.command.console import log_to
from genlab.command.schemas import TrainConfig
from genlab.core.timetable import Timetable
from genlab.data.loader import TrainStream
from genlab.models.base import GenerativeModel
from genlab.processes.display import Display
from genlab.runs.folder import RunDir
from genlab.training.callbacks.budget import Budget
from genlab.training.trainer import build_callbacks, build_trainer

OVERRIDES = [
    "logger=none", "trainer=cpu", "trainer.precision=32-true", "data.batch_size=32",
    "budget.validations=1", "model.multiscale.hidden=[8]", "model.multiscale.checkerboard_steps=2",
    "model.multiscale.channel_steps=[1]", "model.multiscale.coupling=affine",
    "model.multiscale.dequantization=uniform",
]  # fmt: skip


def config(steps: int) -> TrainConfig:
    with initialize_config_dir(str(Path(__file__).parents[1] / "conf")):
        return check_config(compose("config", [*OVERRIDES, f"budget.examples={32 * steps}"]))


def bare(settings: TrainConfig, steps: int) -> float:
    """Return the milliseconds of a step of the plain loop."""
    data, model = build_datamodule(settings), build_model(settings)
    data.tensors("train")
    (optimizer,) = model.configure_optimizers()
    stream: TrainStream = data.train_dataloader()
    started = time.perf_counter()
    for _, batch in zip(range(steps), stream, strict=False):
        loss = model.loss(batch)["loss"]
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return 1000 * (time.perf_counter() - started) / steps


def ours(settings: TrainConfig) -> float:
    """Return the milliseconds of a step under the trainer, validation left out as the budget's clock does."""
    data, model = build_datamodule(settings), build_model(settings)
    with tempfile.TemporaryDirectory() as folder:
        run = RunDir(Path(folder)).create()
        display = Display(Timetable())
        callbacks = build_callbacks(settings, run, model.name, settings.data.batch_size, display)
        with log_to(run.log), display:
            _fit(settings, run, callbacks, model, data)
    (budget,) = (callback for callback in callbacks if isinstance(callback, Budget))
    return 1000 * budget.progress.seconds / budget.progress.batches


def _fit(settings: TrainConfig, run: RunDir, callbacks: list[Any], model: GenerativeModel, data: Any) -> None:
    trainer = build_trainer(settings.trainer, settings.trainer.make, run, model, callbacks, [])
    trainer.fit(model, datamodule=data)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=400, help="of each way in each round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    settings = config(arguments.steps)
    pairs = [(ours(settings), bare(settings, arguments.steps)) for _ in range(arguments.rounds + 1)][1:]
    figures = {
        "command": "python benchmarks/loop_overhead.py",
        "rounds": arguments.rounds,
        "steps_per_round": arguments.steps,
        "ours_ms_per_step": statistics.median(a for a, _ in pairs),
        "bare_ms_per_step": statistics.median(b for _, b in pairs),
        "added_ms_per_step": statistics.median(a - b for a, b in pairs),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    print(json.dumps(figures, indent=2))
    if arguments.out:
        arguments.out.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
