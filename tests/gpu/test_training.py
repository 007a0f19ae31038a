"""Trainings on a GPU whose steps are CUDA graphs, against plain ones."""

from __future__ import annotations

import csv
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from genlab.core.graphs import graphs_for
from genlab.runs.checkpoints import load_checkpoint
from genlab.training.captured_step import CapturedSteps
from tests.contract.families import Case, make_model
from tests.tiny import run_folder, train, train_in_a_process
from tests.training.steps import FAMILIES, Training, assert_same

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]

TRAININGS = {
    "flow": [],
    "vae": [],
    "gan": ["model.spectral_norm=true", "model.objective.critic_steps=2", "model.objective.penalty_interval=2"],
    "diffusion": [],
    "transformer": [],
}
"""Overrides of each; steps of one kind, but of the game two."""
GPU = ["trainer=gpu", "budget.examples=3200", "log_every=50"]


@pytest.fixture
def reproducible() -> Iterator[None]:
    """Kernels without atomic sums where there are any, so that few differences are rounding."""
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32
    cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32 = True, False, False
    yield
    cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32 = before


@pytest.mark.parametrize("case", FAMILIES, ids=lambda case: case.id)
def test_replayed_steps_train_as_plain_ones_do(
    case: Case, reproducible: None, caplog: pytest.LogCaptureFixture
) -> None:
    device = torch.device("cuda", torch.cuda.current_device())
    plain = Training(make_model(case).to(device), None)
    replayed = Training(make_model(case).to(device), graphs_for(device))
    with caplog.at_level(logging.WARNING, "genlab"):
        for training in (plain, replayed):
            training.steps(0, 7)
    assert not caplog.messages
    # Adam makes a whole step of a gradient that is rounding alone.
    assert_same(replayed, plain, 1e-2)
    replayed.captured.stop()


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("model", TRAININGS)
def test_a_training_by_graphs_goes_as_a_plain_one(
    model: str, precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Both under Lightning, with averaged weights and validations. How fast each was is printed, and shown by -s."""
    replays: list[int] = []
    replay = CapturedSteps._replay
    monkeypatch.setattr(CapturedSteps, "_replay", lambda self, *given: (replays.append(1), replay(self, *given))[1])
    rows: dict[str, list[dict[str, str]]] = {}
    states: dict[str, dict[str, Any]] = {}
    with caplog.at_level(logging.WARNING, "genlab"):
        for graphs in ("false", "auto"):
            logs = tmp_path / graphs
            settings = [f"trainer.cuda_graphs={graphs}", f"trainer.precision={precision}"]
            train(logs, *GPU, *TRAININGS[model], *settings, model=model)
            found = csv.DictReader((run_folder(logs) / "metrics.csv").open())
            rows[graphs] = [row for row in found if row.get("train/examples_per_second")]
            states[graphs] = load_checkpoint(run_folder(logs) / "checkpoints" / "last.ckpt")
    fast, slow = (float(rows[graphs][-1]["train/examples_per_second"]) for graphs in ("auto", "false"))
    print(f"\n{model}: {fast:,.0f} examples/s by graphs, {slow:,.0f} by Python, {fast / slow:.1f} times as fast")
    assert not [message for message in caplog.messages if "without CUDA graphs" in message]
    assert len(replays) >= 90, "of 100 steps"
    name = "train/loss" if "train/loss" in rows["auto"][0] else "train/d_loss"
    assert float(rows["auto"][0][name]) == pytest.approx(float(rows["false"][0][name]), rel=0.1)
    assert states["auto"].keys() == states["false"].keys()
    assert states["auto"]["loops"] == states["false"]["loops"]
    groups = [[saved["param_groups"] for saved in state["optimizer_states"]] for state in states.values()]
    assert groups[0] == groups[1], "a checkpoint does not tell how its steps were made"


def test_a_training_by_graphs_that_was_stopped_goes_on(tmp_path: Path) -> None:
    """And what goes on in plain steps, or on a CPU, finds what it needs."""
    stop = """if True:
        import os, signal
        from genlab.training.callbacks.saving import SaveCheckpoints
        step = SaveCheckpoints.on_train_batch_end
        def stopping(self, trainer, model, *arguments):
            step(self, trainer, model, *arguments)
            if model.progress.batches == 50:
                os.kill(os.getpid(), signal.SIGTERM)
        SaveCheckpoints.on_train_batch_end = stopping
    """
    stopped = train_in_a_process(tmp_path / "stopped", *GPU, prelude=stop)
    assert stopped.returncode == 143, stopped.stderr
    for name, overrides in {"graphs": [], "plain": ["trainer.cuda_graphs=false"], "cpu": ["trainer=cpu"]}.items():
        shutil.copytree(tmp_path / "stopped", tmp_path / name)
        gone_on = train_in_a_process(tmp_path / name, *GPU, *overrides, "trainer.precision=32-true")
        assert gone_on.returncode == 0, gone_on.stderr
        assert "Going on after 1,600 examples" in gone_on.stderr + gone_on.stdout


@pytest.mark.parametrize("model", ["flow", "gan"])
def test_gradients_of_several_devices_are_replayed(model: str, tmp_path: Path) -> None:
    """Here one process, which is a device of several to Lightning."""
    overrides = [*GPU, *TRAININGS[model], "trainer.strategy=ddp", "budget.examples=640"]
    done = train_in_a_process(tmp_path, *overrides, model=model)
    assert done.returncode == 0, done.stderr
    assert "CUDA graphs" not in done.stderr + done.stdout
