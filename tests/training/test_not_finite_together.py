"""What is not finite on one of two processes ends both, at the same step and with the same words; CPU and gloo."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from genlab.runs.checkpoints import load_checkpoint
from tests.tiny import run_folder, tiny
from tests.two_processes import by_hand, free_ports, train_together

PATIENCE_SECONDS = 1200
"""Until processes count as hung, of which each has imported what it needs."""
pytestmark = pytest.mark.timeout(2 * PATIENCE_SECONDS)

DDP = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"]
EIGHT_STEPS = ["data=toy2d", "data.train_size=500", "budget.examples=256", "log_every=100"]
RUNS: dict[str, dict[str, Any]] = {
    "warming up": {"poison": ["loss", 1, 1]},
    "compared": {"poison": ["loss", 3, 1]},
    "replayed": {"poison": ["loss", 6, 1]},
    "replayed by the first": {"poison": ["value", 6, 0]},
    "gradient": {"poison": ["gradient", 6, 1]},
    "read late": {"poison": ["value", 5, 1], "lag": 3},
    "read before a validation": {"poison": ["value", 7, 1], "lag": 8},
    "read before a checkpoint": {"poison": ["value", 6, 1], "lag": 8, "saved": ["checkpoint_minutes=1e-6"]},
    "plain": {"poison": ["value", 6, 1], "replayed": False},
    "game": {"poison": ["value", 6, 1], "model": "gan"},
    "plain game": {"poison": ["value", 6, 1], "replayed": False, "model": "gan"},
}
"""Eight steps each, of which three warm up, one is compared and four are replayed; a validation follows the fourth and
the last. Of a loss whose value alone is not finite the gradients are averaged, and good."""
REPLAYS = {"compared": 1, "replayed": 4, "replayed by the first": 4, "gradient": 4, "read late": 4}
REPLAYS |= {"read before a validation": 5, "read before a checkpoint": 4, "game": 4}
"""Graphs that were replayed. Each step of a game has two; the first and fifth, with penalties, are of another kind."""


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The records of two processes that trained all runs, and logs."""
    folder = tmp_path_factory.mktemp("together")
    jobs = [
        {
            "name": name,
            "overrides": [
                *tiny(run.get("model", "flow")),
                *DDP,
                *EIGHT_STEPS,
                f"paths.logs={folder / name}",
                *run.get("saved", []),
            ],
            "environment": by_hand(port),
            "stop_at": None,
            **{"replayed": True, "lag": 0, **run},
        }
        for (name, run), port in zip(RUNS.items(), free_ports(len(RUNS)), strict=True)
    ]
    train_together(folder, jobs, PATIENCE_SECONDS)
    return folder


@pytest.mark.parametrize("name", RUNS)
def test_both_processes_stop_at_the_step_and_say_the_same(together: Path, name: str) -> None:
    where, at, _ = RUNS[name]["poison"]
    first, second = (torch.load(together / f"{name}.{rank}.pt", weights_only=True) for rank in (0, 1))
    what = "the gradient of density." if where == "gradient" else "the loss is not finite (part: loss"
    assert first["error"].startswith(f"Training stopped at step {at + 1} ({32 * at} examples seen): {what}")
    assert first["said"] == second["said"] == f"NonFiniteError: {first['error']}"
    assert second["error"] is None, "the first says it for both"
    (log,) = together.glob(f"{name}/runs/*/*/*/train.log")
    assert "without CUDA graphs" not in log.read_text(), "which are not to blame"
    assert first["replays"] == second["replays"] == REPLAYS.get(name, 0)
    if at < 4:
        assert not list(together.glob(f"{name}/runs/*/*/*/checkpoints/*"))
        return
    saved = load_checkpoint(run_folder(together / name) / "checkpoints" / "last.ckpt")
    assert saved["genlab"]["progress"]["batches"] == (6 if "saved" in RUNS[name] else 4), "the last good one"
    assert all(value.isfinite().all() for value in saved["current_model_state"].values())
