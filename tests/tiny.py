"""Tiny trainings for the tests: the real config, scaled down to fractions of a second."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from genlab.measure.result import Result
from tests import forkserver

ROOT = Path(__file__).parents[1]

SHORT = [
    "logger=none",
    "trainer=cpu",
    "trainer.precision=32-true",
    "data.batch_size=32",
    "data.validation_examples=64",
    "budget.examples=640",
    "budget.minutes=null",
    "budget.validations=2",
    "log_every=5",
    "grid_samples=4",
    "validation_samples=null",
    "evaluation.num_samples=8",
    "evaluation.max_examples=50",
]
"""Overrides that make any training short."""

SMALL = {
    "flow": [
        "model.multiscale.hidden=[4]",
        "model.multiscale.channel_steps=[1]",
        "model.multiscale.checkerboard_steps=2",
        "model.multiscale.bins=4",
        "model.multiscale.dequantization_hidden=4",
        "model.multiscale.dequantization_steps=2",
        "model.vector.transforms=2",
        "model.vector.hidden=[8]",
    ],
    "diffusion": [
        "model.unet.channels=[8]",
        "model.dit.hidden=16",
        "model.mlp.hidden=[16]",
        "model.diffwave.hidden=8",
        "model.diffwave.dilations=[1, 2]",
        "model.steps=2",
        "model.likelihood_images=2",
        "model.likelihood_ode.solver=heun",
        "model.likelihood_ode.steps=2",
    ],
    "flow_matching": [
        "model.unet.channels=[8]",
        "model.dit.hidden=16",
        "model.mlp.hidden=[16]",
        "model.diffwave.hidden=8",
        "model.diffwave.dilations=[1, 2]",
        "model.sampler.steps=2",
        "model.likelihood_ode.solver=midpoint",
        "model.likelihood_ode.steps=2",
    ],
    "gmm": ["model.components=5", "model.em_steps=2"],
    "ngram": [],
    "forest": ["model.trees=3"],
    "made": ["model.hidden=32"],
    "masked_diffusion": ["model.hidden=16", "model.layers=1", "model.heads=2", "model.steps=2"],
    "pixelcnn": ["model.hidden=8", "model.dilations=[1, 2]"],
    "pixelrnn": ["model.hidden=8", "model.layers=1"],
    "transformer": ["model.hidden=16", "model.layers=1", "model.heads=2"],
    "wavenet": ["model.hidden=8", "model.skip=8", "model.dilations=[1, 2, 4]"],
    "hvae": ["model.channels=[8, 8]", "model.layers=[1, 1]"],
    **{name: ["model.conv.channels=8", "model.conv.max_channels=16"] for name in ("gan", "wgan_gp", "sngan", "r3gan")},
}
"""Overrides that make a model small, by its name; a model that is missing here is run in its own size."""

TINY = [*SHORT, *SMALL["flow"]]
"""Overrides that make a flow on digits train in well under a second."""


def tiny(model: str) -> list[str]:
    """Overrides that make a model on digits train in about a second."""
    return [*SHORT, f"model={model}", *SMALL.get(model, [])]


def composed(overrides: list[str], name: str = "config") -> DictConfig:
    """Compose one of the real configs."""
    with initialize_config_dir(str(ROOT / "conf")):
        return compose(name, overrides)


def train(logs: Path, *overrides: str, model: str = "flow") -> Result:
    """Train in this process and return the result."""
    from genlab.command.train import run

    finished = run(composed([*tiny(model), f"paths.logs={logs}", *overrides]))
    assert finished is not None
    return finished.result


def command_to_train(logs: Path, *overrides: str, prelude: str = "", model: str = "flow") -> list[str]:
    """A command that trains as ``train.py`` does, for a process of its own.

    Args:
        logs: Where the run goes.
        overrides: As on the command line.
        prelude: Python code to execute first, e.g. to make a step fail.
        model: A file in ``conf/model``.
    """
    code = f"import sys; sys.argv[0] = 'train.py'\n{prelude}\nfrom genlab.command.cli import train; sys.exit(train())"
    return [sys.executable, "-c", code, *tiny(model), f"paths.logs={logs}", *overrides]


def train_in_a_process(
    logs: Path, *overrides: str, prelude: str = "", model: str = "flow", timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run ``command_to_train`` in processes that have their imports done; see :mod:`tests.forkserver`."""
    command = command_to_train(logs, *overrides, prelude=prelude, model=model)
    return forkserver.run(command, cwd=ROOT, timeout=timeout, children_too=True)


def train_afresh(logs: Path, *overrides: str, prelude: str = "") -> subprocess.CompletedProcess[str]:
    """Run ``command_to_train`` as a user does, in a process that begins with nothing."""
    command = command_to_train(logs, *overrides, prelude=prelude)
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120)


def run_folder(logs: Path) -> Path:
    """The only run under a folder of logs."""
    (config,) = logs.glob("runs/*/*/*/config.yaml")
    return config.parent


def logged(logs: Path) -> list[dict[str, str]]:
    """The rows of the only run's metrics, but for how fast it was."""
    rows = csv.DictReader((run_folder(logs) / "metrics.csv").open())
    return [{name: value for name, value in row.items() if name != "train/examples_per_second"} for row in rows]


def go_on(logs: Path, *overrides: str, model: str = "flow") -> None:
    """Give the command, in a process of its own: whatever the other tests set here is not set there."""
    done = train_in_a_process(logs, *overrides, model=model)
    assert done.returncode == 0, done.stderr
