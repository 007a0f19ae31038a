"""A whole training whose steps are replayed, under Lightning, against one whose steps are plain."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pytorch_lightning import Trainer
from pytorch_lightning.strategies import DDPStrategy, FSDPStrategy, SingleDeviceStrategy

from genlab.command.config import check_config
from genlab.core.recorded_graph import RecordedGraph
from genlab.runs.checkpoints import load_checkpoint
from genlab.runs.folder import RunDir
from genlab.runs.identity import config_hash
from genlab.training.callbacks import replay_steps
from genlab.training.callbacks.replay_steps import ReplaySteps, _obstacle
from genlab.training.sharding import ShardedStrategy
from genlab.training.trainer import build_trainer
from tests.contract.families import GRAY, PLANE, SMALL_FLOW, SMALL_GMM, Case, make_model
from tests.tiny import composed, logged, run_folder, train, train_in_a_process

GAME = [
    "model.spectral_norm=true",
    "model.objective.critic_steps=2",
    "model.objective.penalty_interval=2",
    "model.grad_clip=0.5",
    "+model.optimizer.fused=true",
    "budget.examples=960",
]
"""Two optimizers, power iterations and two kinds of step, with the optimizer's kernel that a graph holds."""

REPLAYED = """if True:
    import atexit
    from genlab.core.recorded_graph import RecordedGraph
    from genlab.training.callbacks import replay_steps
    replays = []
    class Counted(RecordedGraph):
        def replay(self):
            super().replay()
            replays.append(1)
    replay_steps.graphs_for = lambda device: Counted
    atexit.register(lambda: print("replays:", len(replays)))
"""
STOPPED = """
    import os, signal
    from genlab.training.callbacks.saving import SaveCheckpoints
    step = SaveCheckpoints.on_train_batch_end
    def stopping(self, trainer, model, *arguments):
        step(self, trainer, model, *arguments)
        if model.progress.batches == 19:
            os.kill(os.getpid(), signal.SIGTERM)
    SaveCheckpoints.on_train_batch_end = stopping
"""


def trained(logs: Path, *overrides: str, prelude: str = "", code: int = 0) -> str:
    done = train_in_a_process(logs, *GAME, *overrides, prelude=prelude, model="gan")
    assert done.returncode == code, done.stderr
    assert "without CUDA graphs" not in done.stderr
    return done.stdout


def last(logs: Path) -> dict[str, Any]:
    return load_checkpoint(run_folder(logs) / "checkpoints" / "last.ckpt")


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Logs of a game that was never stopped: validated twice, its weights averaged, clipped and replayed."""
    logs = tmp_path_factory.mktemp("replayed")
    assert "replays: 24\n" in trained(logs, prelude=REPLAYED), "30 steps of two kinds, three of each not replayed"
    return logs


def test_a_replayed_game_is_the_plain_one(replayed: Path, tmp_path: Path) -> None:
    trained(tmp_path)
    assert run_folder(tmp_path).name == run_folder(replayed).name
    one, other = last(replayed), last(tmp_path)
    assert one.keys() == other.keys()
    assert one["loops"] == other["loops"]
    for part in ("state_dict", "current_model_state", "optimizer_states", "callbacks"):
        if part == "callbacks":  # of which some say how long a step took
            one[part], other[part] = ({key: saved[part][key] for key in ("EMA",)} for saved in (one, other))
        # The learning rate is of single precision in a graph.
        torch.testing.assert_close(one[part], other[part], rtol=1e-4, atol=1e-6)
    for ours, theirs in zip(logged(replayed), logged(tmp_path), strict=True):
        assert [name for name, value in ours.items() if value] == [name for name, value in theirs.items() if value]
        assert [float(v or 0) for v in ours.values()] == pytest.approx([float(v or 0) for v in theirs.values()], 1e-4)


def test_a_replayed_game_that_was_stopped_goes_on_to_the_same_end(replayed: Path, tmp_path: Path) -> None:
    trained(tmp_path, prelude=REPLAYED + STOPPED, code=143)
    assert last(tmp_path)["genlab"]["progress"]["batches"] == 19
    trained(tmp_path, prelude=REPLAYED)
    one, other = last(replayed), last(tmp_path)
    for part in ("state_dict", "current_model_state", "optimizer_states"):
        torch.testing.assert_close(one[part], other[part], rtol=0, atol=0)
    assert logged(tmp_path) == logged(replayed)


@pytest.mark.parametrize(
    ("model", "overrides", "replays"),
    [
        ("wgan_gp", [], 14),
        ("gan", ["model.objective.augment=[color,translation,cutout]"], 14),
        ("r3gan", [], 17),
    ],
    ids=["one-centred penalty", "augment", "residual"],
)
def test_other_games_are_replayed_too(
    model: str, overrides: list[str], replays: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of their 20 steps but three of each kind, of which r3gan has one and the others two."""
    done = []

    class Counted(RecordedGraph):
        def replay(self) -> None:
            super().replay()
            done.append(1)

    overrides = [*overrides, "budget.examples=640", "budget.validations=1"]
    train(tmp_path / "plain", *overrides, model=model)
    monkeypatch.setattr(replay_steps, "graphs_for", lambda device: Counted)
    train(tmp_path / "replayed", *overrides, model=model)
    assert len(done) == replays
    one, other = (last(tmp_path / name)["state_dict"] for name in ("plain", "replayed"))
    # A shift of all scores cancels in r3gan's loss: the gradient of this one is rounding alone.
    one.pop("discriminator.features.scales.1.0.second.bias", None)
    for name, weights in one.items():  # by norms: Adam makes a whole step of a gradient that is nearly zero
        assert (weights - other[name]).float().norm() <= 2e-3 * weights.float().norm() + 1e-4, name


@pytest.mark.parametrize(
    ("case", "says"),
    [
        (Case("flow", GRAY, SMALL_FLOW), None),
        (Case("flow", PLANE, [*SMALL_FLOW, "network=realnvp"]), "RealNVP"),
        (Case("gmm", GRAY, SMALL_GMM), "levels"),
        (Case("gmm", PLANE, [*SMALL_GMM, "covariance=low_rank"]), "Cholesky"),
    ],
    ids=["none", "realnvp", "gmm", "low rank"],
)
def test_what_is_in_the_way_of_graphs_is_said(case: Case, says: str | None) -> None:
    model = make_model(case)
    alone = SingleDeviceStrategy(torch.device("cpu"))
    reason = _obstacle(SimpleNamespace(strategy=alone, optimizers=model.configure_optimizers()), model)
    assert reason is None if says is None else says in reason
    adam = model.configure_optimizers()
    assert _obstacle(SimpleNamespace(strategy=DDPStrategy(), optimizers=adam), model) == reason
    for divided in (FSDPStrategy(), ShardedStrategy()):
        assert "exchange weights" in _obstacle(SimpleNamespace(strategy=divided, optimizers=adam), model)
    other = [torch.optim.RMSprop(model.parameters())]
    assert "Adam" in _obstacle(SimpleNamespace(strategy=alone, optimizers=other), model)


@pytest.mark.parametrize(("value", "kept"), [("auto", "auto"), ("false", False)])
def test_graphs_are_a_setting_that_leaves_a_run_what_it_is(value: str, kept: Any, tmp_path: Path) -> None:
    config = check_config(composed([f"trainer.cuda_graphs={value}", "trainer=cpu", "logger=none"]))
    assert config.trainer.cuda_graphs == kept
    assert config_hash(config.plain) == config_hash(check_config(composed(["trainer=cpu", "logger=none"])).plain)
    callbacks: list[Any] = []

    def make(**given: Any) -> Trainer:
        callbacks.extend(given["callbacks"])
        return config.trainer.make(**given)

    build_trainer(config.trainer, make, RunDir(tmp_path), make_model(Case("flow", GRAY, SMALL_FLOW)), [], [])
    assert [type(callback) for callback in callbacks] == [ReplaySteps] * bool(kept)
