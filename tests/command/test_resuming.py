"""A run that is killed, stopped by a signal or left without a disk, and goes on where it was."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from genlab.command import cli
from genlab.core.errors import GenlabError
from genlab.runs.checkpoints import load_checkpoint
from tests.command.trained import logged, same, weights
from tests.tiny import go_on, run_folder, tiny, train, train_afresh, train_in_a_process

DIE_AT = """
import os, signal
from genlab.training.callbacks.saving import SaveCheckpoints
from genlab.models.base import GenerativeModel
original = {owner}.{hook}
def act(self, *arguments):
    returned = original(self, *arguments)
    progress = (self if isinstance(self, GenerativeModel) else arguments[1]).progress
    if progress.batches == {batch}:
        os.kill(os.getpid(), signal.{signal})
    return returned
{owner}.{hook} = act
"""
"""Sends itself a signal after so many batches: a checkpoint's moment, or one within the next step."""

MOMENTS = {
    "SaveCheckpoints": ["on_train_batch_end"],
    "GenerativeModel": ["on_train_batch_start", "training_step", "on_before_optimizer_step"],
}


def die_at(batch: int, name: str, owner: str = "SaveCheckpoints", hook: str = "on_train_batch_end") -> str:
    return DIE_AT.format(batch=batch, signal=name, owner=owner, hook=hook)


@pytest.mark.parametrize("owner", MOMENTS)
def test_killed_at_a_random_step_and_resumed_equals_never_killed(finished: Path, tmp_path: Path, owner: str) -> None:
    batch, hook = random.randrange(1, 20), random.choice(MOMENTS[owner])
    print(f"killed after {batch} batches in {owner}.{hook}")  # shown when the test fails
    killed = train_in_a_process(tmp_path, "checkpoint_minutes=1e-6", prelude=die_at(batch, "SIGKILL", owner, hook))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    go_on(tmp_path)
    assert same(weights(tmp_path), weights(finished))
    assert same(weights(tmp_path, "best.ckpt"), weights(finished, "best.ckpt"))
    assert logged(tmp_path) == logged(finished)


GAME = ["model.spectral_norm=true", "model.objective.critic_steps=3", "model.objective.penalty_interval=2"]
"""All that a game carries from step to step: two optimizers, power iterations, and two rhythms."""


def test_a_game_killed_between_its_players_and_resumed_equals_one_never_killed(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    go_on(whole, *GAME, model="gan")
    batch = random.randrange(1, 20)
    print(f"killed after {batch} batches, within a step")  # shown when the test fails
    within_a_step = die_at(batch, "SIGKILL", "GenerativeModel", "on_before_optimizer_step")
    killed = train_in_a_process(cut, "checkpoint_minutes=1e-6", *GAME, prelude=within_a_step, model="gan")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    go_on(cut, *GAME, model="gan")
    assert len(weights(whole)["optimizer_states"]) == 2
    assert same(weights(cut), weights(whole))
    assert same(weights(cut, "best.ckpt"), weights(whole, "best.ckpt"))
    assert logged(cut) == logged(whole)


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGINT", 130), ("SIGUSR1", 138)])
def test_a_signal_saves_and_the_same_command_goes_on(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: int
) -> None:
    calls = in_a_cluster(tmp_path, monkeypatch)
    begun = train_afresh if name == "SIGINT" else train_in_a_process  # Python's own start hears that one otherwise
    stopped = begun(tmp_path, prelude=die_at(7, name))
    assert stopped.returncode == code, stopped.stderr
    assert "The same command goes on" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    asked = {"SIGUSR1": ["requeue 77"], "SIGTERM": ["show job 77"], "SIGINT": []}[name]
    assert (calls.read_text().splitlines() if calls.exists() else []) == asked
    saved = load_checkpoint(run_folder(tmp_path) / "checkpoints" / "last.ckpt")["genlab"]["progress"]
    assert saved["batches"] in (7, 8)
    go_on(tmp_path)
    assert same(weights(tmp_path), weights(finished))


def in_a_cluster(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make this a SLURM job of one process, as srun does; returns the file that records the calls of `scontrol`."""
    scontrol, calls = folder / "bin" / "scontrol", folder / "calls"
    scontrol.parent.mkdir()
    scontrol.write_text(f'#!/bin/sh\necho "$*" >> {calls}\n')
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", f"{scontrol.parent}:{os.environ['PATH']}")
    for name, value in {"JOB_ID": 77, "NTASKS": 1, "PROCID": 0, "LOCALID": 0, "NODEID": 0}.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    return calls


@pytest.mark.parametrize("place", ["genlab.command.train._fit", "genlab.command.train.evaluate_run"])
def test_a_signal_outside_of_training_leaves_cleanly_and_that_part_is_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture, place: str
) -> None:
    arguments = [*tiny("gmm"), f"paths.logs={tmp_path}"]
    with monkeypatch.context() as patch:
        patch.setattr(place, lambda *_, **__: os.kill(os.getpid(), signal.SIGTERM))
        assert cli.train(arguments) == 143
    assert capfd.readouterr().err.splitlines()[-1].startswith("Stopped by SIGTERM. The same command goes on")
    assert not list(tmp_path.glob("runs/*/*/*/results/*"))
    assert cli.train(arguments) == 0
    assert list(tmp_path.glob("runs/*/*/*/results/*"))


def test_a_truncated_checkpoint_falls_back_to_the_previous_one(finished: Path, tmp_path: Path) -> None:
    killed = train_in_a_process(tmp_path, "checkpoint_minutes=1e-6", prelude=die_at(6, "SIGKILL"))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    last = run_folder(tmp_path) / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:1000])
    done = train_in_a_process(tmp_path)
    assert done.returncode == 0
    assert "going on from last.previous.ckpt" in done.stderr
    assert same(weights(tmp_path), weights(finished))


def test_a_full_disk_keeps_the_last_good_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    import genlab.runs.checkpoints as checkpoints

    original, saves = torch.save, []

    def full_at_the_third(*arguments: Any, **options: Any) -> None:
        saves.append(1)
        if len(saves) > 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        original(*arguments, **options)

    monkeypatch.setattr(checkpoints.torch, "save", full_at_the_third)
    with pytest.raises(GenlabError, match="No space left"):
        train(tmp_path)
    saved = load_checkpoint(run_folder(tmp_path) / "checkpoints" / "last.ckpt")
    assert saved["genlab"]["progress"]["batches"] == 10
