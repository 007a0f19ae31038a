"""Two processes train one run: the same weights, the gradient of one process, one result; on the CPU with gloo."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from genlab.command.train import _fit, run
from genlab.core.errors import GenlabError, Interrupted
from genlab.core.randomness import Stream, stream_seed
from genlab.measure.results import read_result
from genlab.runs.checkpoints import load_checkpoint
from genlab.runs.locks import RunLock
from genlab.training.callbacks.budget import Budget
from genlab.training.process_group import Start, check_devices, stop_helpers
from tests import forkserver
from tests.tiny import ROOT, TINY, composed, logged, run_folder, tiny, train_in_a_process
from tests.two_processes import Recorder, by_hand, free_ports, train_together

PATIENCE_SECONDS = 1200
"""Until processes count as hung; each imports torch and Lightning, which takes a minute where others share the core."""
pytestmark = pytest.mark.timeout(2 * PATIENCE_SECONDS)
DDP = ["trainer=ddp"]
TWO = ["trainer.accelerator=cpu", "trainer.devices=2", "trainer.precision=32-true"]
THREE_STEPS = ["budget.examples=96", "budget.validations=1", "validation_samples=null"]
EIGHT_STEPS = ["budget.examples=256"]
FOURTEEN_STEPS = ["budget.examples=448"]
"""Of a game with two kinds of step."""
RUNS: dict[str, list[str]] = {
    "flow": [*tiny("flow"), "data=toy2d", "data.batch_size=32", "data.train_size=500"],
    "gan": [*tiny("gan"), "model.objective.augment=[]"],
    "vae": [override for override in TINY if not override.startswith("model")] + ["model=vae"],
    "diffusion": tiny("diffusion"),
    "locked": tiny("flow"),
}
RUNS["sharded"] = RUNS["resumed"] = [*RUNS["flow"], "trainer=fsdp", "checkpoint_minutes=1e-6"]
RUNS["evaluated"] = [*RUNS["flow"], "evaluation.name=other"]
RUNS["replayed"] = RUNS["half replayed"] = RUNS["flow"]
RUNS["game"] = RUNS["replayed game"] = RUNS["half replayed game"] = [
    *tiny("gan"),
    "model.spectral_norm=true",
    "model.objective.critic_steps=2",
    "model.objective.penalty_interval=2",
    "model.grad_clip=0.5",
]
RUNS["refused"] = [*RUNS["flow"], "evaluation.num_samples=9"]
"""Overrides of each run. ``sharded`` stops, ``resumed`` goes on. ``evaluated`` and ``refused`` find the trained
``flow``; the latter and ``locked`` are refused in the first process alone."""
PLACES = {"resumed": "sharded", "evaluated": "flow", "refused": "flow"}
"""The runs that other runs go on with."""
ALIKE = ["flow", "gan", "sharded"]
"""Runs whose gradient depends on the data alone: continuous vectors, and a game on given noise."""


def by_srun(port: int) -> list[dict[str, str]]:
    """What srun sets for two tasks on one node."""
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "SLURM_JOB_NAME": "train.sh", "SLURM_JOB_ID": "7"}
    shared |= dict.fromkeys(("SLURM_NTASKS", "SLURM_NTASKS_PER_NODE", "SLURM_STEP_NUM_TASKS"), "2")
    shared |= {"SLURM_NNODES": "1", "SLURM_NODEID": "0"}
    return [{**shared, "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)} for rank in (0, 1)]


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The records of two processes that trained all runs, started at once, and logs."""
    folder = tmp_path_factory.mktemp("together")
    jobs = []
    for (name, overrides), port in zip(RUNS.items(), free_ports(len(RUNS)), strict=True):
        environment = by_srun(port) if name == "vae" else by_hand(port)
        place = folder / "logs" / PLACES.get(name, name)
        all_of_them = [*DDP, *overrides, *THREE_STEPS, *TWO, f"paths.logs={place}"]
        if "replayed" in name:
            all_of_them += EIGHT_STEPS
        if "game" in name:
            all_of_them += FOURTEEN_STEPS
        if "half replayed" in name:  # the second process cannot record a graph
            environment[1]["NO_GRAPHS"] = "1"
        jobs.append(
            {
                "name": name,
                "overrides": all_of_them,
                "environment": environment,
                "stop_at": 2 if name == "sharded" else None,
                "replayed": "replayed" in name,
                "noise_given": name == "gan",
            }
        )
    with RunLock(located(next(job for job in jobs if job["name"] == "locked")["overrides"]) / "run.lock"):
        said = train_together(folder, jobs, PATIENCE_SECONDS)
    (folder / "said.json").write_text(json.dumps(said))
    return folder


def located(overrides: list[str]) -> Path:
    from genlab.command.train import _TrainingJob

    return _TrainingJob.of(composed(overrides)).place.path


def records(together: Path, name: str) -> list[dict[str, Any]]:
    return [torch.load(together / f"{name}.{rank}.pt", weights_only=True) for rank in (0, 1)]


@pytest.mark.parametrize("name", ["flow", "gan", "vae", "diffusion", "resumed"])
def test_both_processes_end_with_the_same_weights_and_one_reports(together: Path, name: str) -> None:
    first, second = records(together, name)
    assert first["weights"].keys() == second["weights"].keys()
    assert all(torch.equal(value, second["weights"][key]) for key, value in first["weights"].items())
    assert (first["has_result"], second["has_result"]) == (True, False)
    place = run_folder(together / "logs" / PLACES.get(name, name))
    result = read_result(place / "results" / "quick.json")
    assert result.training.optimizer_steps == 3
    assert result.training.device.startswith("2 x cpu")
    log = (place / "train.log").read_text()
    starts = [PLACES.get(each, each) for each in RUNS if each != "refused"].count(PLACES.get(name, name))
    assert log.count("Batch 32 = 2 devices x 16; the learning rate") == starts


def test_a_sharded_run_that_was_stopped_ends_like_one_that_is_neither(together: Path) -> None:
    stopped, resumed, plain = (records(together, name)[0] for name in ("sharded", "resumed", "flow"))
    assert stopped["error"] == "stopped"
    assert resumed["gradients"] == {}, "it began after the first batch"
    for name, value in plain["weights"].items():
        torch.testing.assert_close(resumed["weights"][name], value, rtol=1e-4, atol=1e-6)
    ends = [
        load_checkpoint(run_folder(together / "logs" / name) / "checkpoints/last.ckpt") for name in ("sharded", "flow")
    ]
    for part in ("state_dict", "current_model_state", "optimizer_states"):
        torch.testing.assert_close(*(end[part] for end in ends), rtol=1e-4, atol=1e-6)


def test_a_sharded_run_goes_on_on_one_device(together: Path, tmp_path: Path) -> None:
    shutil.copytree(together / "logs" / "sharded", tmp_path, dirs_exist_ok=True)
    place = run_folder(tmp_path)
    (place / "checkpoints" / "last.ckpt").unlink()  # the one before it is of the second of three steps
    shutil.rmtree(place / "results")
    before = load_checkpoint(place / "checkpoints" / "last.previous.ckpt")["genlab"]["progress"]
    assert before["batches"] == 2
    run(composed([*RUNS["flow"], *THREE_STEPS, f"paths.logs={tmp_path}"]))
    ends = [load_checkpoint(run_folder(logs) / "checkpoints/last.ckpt") for logs in (tmp_path, together / "logs/flow")]
    assert ", then cpu" in ends[0]["genlab"]["hardware"]["device"]
    for part in ("state_dict", "current_model_state", "optimizer_states"):
        torch.testing.assert_close(*(end[part] for end in ends), rtol=1e-4, atol=1e-6)


def test_each_process_draws_noise_of_its_own(together: Path) -> None:
    seeds = [record["seeds"] for record in records(together, "diffusion")]
    assert seeds == [[stream_seed(Stream.NOISE, 0, rank, step) for step in range(3)] for rank in (0, 1)]
    assert len({*seeds[0], *seeds[1]}) == 6


@pytest.mark.parametrize("name", ALIKE)
def test_the_gradient_of_two_processes_is_that_of_one(
    together: Path, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Recorder(0, 1)
    one.install(monkeypatch.setattr, noise_given=True)
    alone = [override for override in RUNS[name] if override != "trainer=fsdp"]
    run(composed([*alone, *THREE_STEPS, f"paths.logs={tmp_path}"]))
    for two in records(together, name):
        assert two["gradients"].keys() == one.gradients.keys()
        apart = sum((two["gradients"][key] - value).square().sum() for key, value in one.gradients.items()).sqrt()
        whole = sum(value.square().sum() for value in one.gradients.values()).sqrt()
        assert apart / whole < 1e-6


def test_gradients_that_are_replayed_on_each_process_are_averaged(together: Path, tmp_path: Path) -> None:
    run(composed([*RUNS["flow"], *THREE_STEPS, *EIGHT_STEPS, f"paths.logs={tmp_path}"]))
    plain = load_checkpoint(run_folder(tmp_path) / "checkpoints/last.ckpt")
    for name, replays in (("replayed", [5, 5]), ("half replayed", [0, 0])):
        two = records(together, name)
        # Three steps warm up, one is compared, four are replayed; if one process cannot, neither does.
        assert [record["replays"] for record in two] == replays
        assert all(torch.equal(value, two[1]["weights"][key]) for key, value in two[0]["weights"].items())
        end = load_checkpoint(run_folder(together / "logs" / name) / "checkpoints/last.ckpt")
        assert end["loops"] == plain["loops"]
        for part in ("state_dict", "current_model_state", "optimizer_states"):
            torch.testing.assert_close(end[part], plain[part], rtol=1e-4, atol=1e-6)


def test_moves_that_are_replayed_on_each_process_make_the_same_game(together: Path) -> None:
    """Of a discriminator, and of a generator that goes on from what the discriminator's pass has computed."""
    plain = load_checkpoint(run_folder(together / "logs" / "game") / "checkpoints/last.ckpt")
    for name, replays in (("replayed game", [12, 12]), ("half replayed game", [0, 0])):
        two = records(together, name)
        # Of each kind of step three warm up, one is compared, three are replayed; every other one has both passes.
        assert [record["replays"] for record in two] == replays
        assert all(torch.equal(value, two[1]["weights"][key]) for key, value in two[0]["weights"].items())
        place = run_folder(together / "logs" / name)
        end = load_checkpoint(place / "checkpoints/last.ckpt")
        assert end["loops"] == plain["loops"]
        for part in ("state_dict", "current_model_state", "optimizer_states"):
            torch.testing.assert_close(end[part], plain[part], rtol=1e-4, atol=1e-6)
        ours, theirs = (logged(together / "logs" / each) for each in (name, "game"))
        assert [[key for key, value in row.items() if value] for row in ours] == [
            [key for key, value in row.items() if value] for row in theirs
        ]
        assert {"train/d_grad_norm", "train/g_grad_norm", "train/loss"} < ours[0].keys()
        for row, plain_row in zip(ours, theirs, strict=True):
            numbers, expected = ([float(value or 0) for value in each.values()] for each in (row, plain_row))
            assert numbers == pytest.approx(expected, 1e-4, 1e-6)
        said = (place / "train.log").read_text().count("go on without CUDA graphs")
        assert said == ("half" in name)


@pytest.mark.parametrize(
    ("name", "said"),
    [("locked", f"in use by process {os.getpid()}"), ("refused", "the result of another protocol")],
    ids=["locked", "refused"],  # the same in each process that runs tests
)
def test_the_first_process_does_not_keep_the_others_waiting_when_it_cannot_begin(
    together: Path, name: str, said: str
) -> None:
    first, second = records(together, name)
    assert said in first["error"]
    assert (second["error"], second["has_result"], second["weights"]) == (None, False, {})


def test_a_trained_run_is_evaluated_by_the_first_process_while_the_others_leave(together: Path) -> None:
    first, second = records(together, "evaluated")
    assert (first["error"], first["has_result"], first["weights"]) == (None, True, {})
    assert (second["error"], second["has_result"], second["weights"]) == (None, False, {})
    trained, again = (
        read_result(run_folder(together / "logs/flow") / f"results/{name}.json") for name in ("quick", "other")
    )
    assert again.likelihood == trained.likelihood


@pytest.mark.parametrize(("together", "done"), [(True, "parted"), (False, "stopped helpers")])
def test_a_signal_of_one_process_alone_waits_for_no_other(
    monkeypatch: pytest.MonkeyPatch, together: bool, done: str
) -> None:
    log: list[str] = []
    monkeypatch.setattr("genlab.command.train.leave_together", lambda: log.append("parted"))
    monkeypatch.setattr("genlab.command.train.stop_helpers", lambda trainer: log.append("stopped helpers"))

    def fit(*_: object, **__: object) -> None:
        raise Interrupted("stopped", 15, together=together)

    with pytest.raises(Interrupted):
        _fit(SimpleNamespace(fit=fit), None, None, Start(train=True))
    assert log == [done]


def test_the_other_process_says_nothing(together: Path) -> None:
    assert json.loads((together / "said.json").read_text())[1] == ["", ""]


def test_torchrun_leaves_one_run_and_the_figures_of_one_process(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "train.py"]
    overrides = [*TINY, *DDP, *TWO, "budget.examples=64", f"paths.logs={tmp_path}"]
    done = forkserver.run([*command, *overrides], cwd=ROOT, timeout=PATIENCE_SECONDS, children_too=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\nprotocol ") == 1, "one table"
    place = run_folder(tmp_path)
    one = [*TINY, "budget.examples=64", f"paths.logs={tmp_path}"]
    assert located(one) == place, "how many devices do the work is no part of a run's identity"
    assert [path.name for path in (place / "results").iterdir()] == ["quick.json"]
    assert (place / "train.log").read_text().count("Batch 32") == 1
    rows = (place / "metrics.csv").read_text().splitlines()[1:]
    assert len(rows) == len(set(rows))
    from genlab.command.evaluate import run as evaluate

    trained = read_result(place / "results" / "quick.json")
    settings = [override for override in TINY if override.startswith("evaluation.")]
    alone = evaluate(composed([f"run={place}", "evaluation=quick", *settings], "evaluate")).result
    assert alone.likelihood == trained.likelihood
    assert alone.quality == trained.quality


FULL_DISK = """
from genlab.runs.checkpoints import AtomicCheckpointIO
from genlab.core.errors import GenlabError, Interrupted
saves, save = [], AtomicCheckpointIO.save_checkpoint
def full_at_the_third(*arguments, **options):
    saves.append(1)
    if len(saves) > 2:
        raise GenlabError("No space left on device")
    save(*arguments, **options)
AtomicCheckpointIO.save_checkpoint = full_at_the_third
"""


def test_an_error_of_the_first_process_alone_ends_both(tmp_path: Path) -> None:
    failed = train_in_a_process(tmp_path, *DDP, *TWO, prelude=FULL_DISK, timeout=PATIENCE_SECONDS)
    assert failed.returncode == 2, failed.stderr
    assert "No space left" in failed.stderr
    assert "Traceback" not in failed.stderr
    saved = load_checkpoint(run_folder(tmp_path) / "checkpoints" / "last.ckpt")
    assert saved["genlab"]["progress"]["examples"] == 320


KEEP_WEIGHTS = """
import os
import torch
from genlab.models.base import GenerativeModel

def keep(self):
    name = os.path.basename(self.trainer.default_root_dir)
    torch.save(self.state_dict(), f"{os.environ['KEEP_WEIGHTS']}/{name}.{self.trainer.global_rank}.pt")

GenerativeModel.on_train_end = keep
"""
"""What every Python process of a sweep executes first: it keeps the weights in which it ends a training."""


def test_a_sweep_makes_two_runs_of_two_processes_each(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(KEEP_WEIGHTS)
    paths = os.pathsep.join([str(tmp_path), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    overrides = [*TINY, *DDP, *TWO, *THREE_STEPS, f"paths.logs={tmp_path / 'logs'}", "seed=0,1"]
    done = forkserver.run(
        [sys.executable, "train.py", "-m", *overrides],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": paths, "KEEP_WEIGHTS": str(tmp_path)},
        timeout=PATIENCE_SECONDS,
        children_too=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    runs = sorted(path.parents[1].name for path in tmp_path.glob("logs/runs/*/*/*/results/quick.json"))
    kept = sorted(path.name for path in tmp_path.glob("*.pt"))
    assert [name[-3:] for name in runs] == ["-s0", "-s1"]
    assert kept == [f"{name}.{rank}.pt" for name in runs for rank in (0, 1)]
    weights = {name: torch.load(tmp_path / name, weights_only=True) for name in kept}
    flat = {name: torch.cat([value.flatten().double() for value in state.values()]) for name, state in weights.items()}
    for name in runs:
        assert torch.equal(flat[f"{name}.0.pt"], flat[f"{name}.1.pt"])
    assert not torch.equal(flat[kept[0]], flat[kept[2]])


def test_a_helper_that_waits_is_killed_and_forgotten() -> None:
    deaf = "import signal, sys; signal.signal(15, signal.SIG_IGN); print(flush=True); sys.stdin.read()"
    helper = subprocess.Popen([sys.executable, "-c", deaf], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    helper.stdout.readline()
    watched = [helper]
    stop_helpers(SimpleNamespace(strategy=SimpleNamespace(launcher=SimpleNamespace(procs=watched))))
    assert helper.returncode == -9
    assert watched == [], "Lightning's watch of these would kill this process too"


def test_lightning_watches_no_helper_that_is_being_killed() -> None:
    watched: list[SimpleNamespace] = []
    still_watched: list[int] = []
    helper = SimpleNamespace(send_signal=lambda _: still_watched.append(len(watched)), wait=lambda: -9)
    watched += [helper, helper]
    stop_helpers(SimpleNamespace(strategy=SimpleNamespace(launcher=SimpleNamespace(procs=watched))))
    assert still_watched == [0, 0]


@pytest.mark.parametrize(
    ("world_size", "nodes", "said"),
    [(3, 1, "number of devices, 3"), (2, 1, "srun started"), (2, 2, "trainer.num_nodes is 2, but nothing says where")],
)
def test_devices_that_do_not_fit_are_refused(
    monkeypatch: pytest.MonkeyPatch, world_size: int, nodes: int, said: str
) -> None:
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    if "srun" in said:
        for name, value in by_srun(1)[0].items():
            monkeypatch.setenv(name, "4" if "TASKS" in name else value)
    with pytest.raises(GenlabError, match=said):
        check_devices(SimpleNamespace(world_size=world_size, num_nodes=nodes), 32)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ([*tiny("flow"), "trainer.strategy=fsdp"], "or trainer=fsdp"),
        ([*tiny("flow"), "trainer.strategy=ddp_spawn"], "expected auto, ddp"),
        ([*tiny("gan"), "trainer=fsdp", "trainer.accelerator=cpu"], "gan has several. Use trainer=ddp"),
    ],
)
def test_what_several_devices_cannot_do_is_refused(tmp_path: Path, overrides: list[str], said: str) -> None:
    with pytest.raises(GenlabError, match=said):
        run(composed([*overrides, f"paths.logs={tmp_path}"]))


def test_all_devices_stop_by_the_slowest_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    budget = Budget(examples=None, minutes=1.0, validations=1, batch_size=10)

    def reduce(seconds: torch.Tensor, reduce_op: str) -> torch.Tensor:
        return seconds.clamp(min=60.0)  # another process has spent a minute

    strategy = SimpleNamespace(root_device=torch.device("cpu"), reduce=reduce)
    trainer = SimpleNamespace(should_stop=False, val_check_batch=None, world_size=2, strategy=strategy)
    budget.on_train_start(SimpleNamespace(strategy=strategy, world_size=2, precision="32-true"), None)
    budget.on_train_batch_end(trainer, None, None, None, 0)
    assert trainer.should_stop
