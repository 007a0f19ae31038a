from __future__ import annotations

import os
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from genlab.core.errors import GenlabError
from genlab.runs.checkpoints import (
    AtomicCheckpointIO,
    CheckpointError,
    assert_plain,
    load_checkpoint,
    resume_checkpoint,
)
from genlab.runs.folder import RunDir


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path / "3f2a91cc-s0").create()


def save(run: RunDir, *steps: int, name: str = RunDir.LAST) -> None:
    for step in steps:
        weights = torch.full((100,), float(step))
        AtomicCheckpointIO().save_checkpoint({"step": step, "state_dict": {"w": weights}}, run.checkpoints / name)


def step_of(path: Path) -> int:
    return load_checkpoint(path)["step"]


def names(run: RunDir) -> set[str]:
    return {path.name for path in run.checkpoints.iterdir()}


def flip_a_weight(path: Path) -> None:
    content = bytearray(path.read_bytes())
    value = content.index(torch.full((10,), step_of(path), dtype=torch.float32).numpy().tobytes())
    content[value] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    os.truncate(path, 0)


DAMAGE = pytest.mark.parametrize("damage", [flip_a_weight, cut, empty])


def test_saved_state_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "some.ckpt"
    state = {"w": torch.randn(3), "n": 2, "names": ["a", ("b", None)], "lr": 1e-3}
    AtomicCheckpointIO().save_checkpoint(state, path)
    loaded = AtomicCheckpointIO().load_checkpoint(path)
    assert torch.equal(loaded.pop("w"), state.pop("w"))
    assert loaded == state


def test_last_keeps_one_generation_and_others_none(run: RunDir) -> None:
    save(run, 1, 2, 3)
    save(run, 1, 2, name=RunDir.BEST)
    assert names(run) == {"last.ckpt", "last.previous.ckpt", "best.ckpt"}
    assert (step_of(run.last_checkpoint), step_of(run.previous_checkpoint)) == (3, 2)


def test_a_complete_checkpoint_is_there_at_every_instant(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    save(run, 1, 2)
    seen = []

    def watched(call: Any) -> Any:
        def wrapper(*arguments: Any) -> Any:
            answer = call(*arguments)
            found = resume_steps(run)
            assert found, "no complete checkpoint between two steps of the writer"
            seen.append(max(found))
            return answer

        return wrapper

    monkeypatch.setattr(os, "replace", watched(os.replace))
    monkeypatch.setattr(os, "fsync", watched(os.fsync))
    save(run, 3)
    # fsync of the file, rename of the old, rename of the new, fsync of the folder.
    assert seen == [2, 2, 3, 3]


def resume_steps(run: RunDir) -> list[int]:
    return [step_of(path) for path in (run.last_checkpoint, run.previous_checkpoint) if path.exists()]


@pytest.mark.parametrize("size", [10, 10_000_000])
def test_full_disk_keeps_what_was_there(run: RunDir, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    save(run, 1, 2)
    # Small files fail when the buffer is flushed, large ones within torch's writer: the kernel's own error, both times.
    monkeypatch.setattr("genlab.runs.atomic.open", lambda path, mode: open("/dev/full", "wb"), raising=False)  # noqa: SIM115
    with pytest.raises(GenlabError, match=r"No space left on device.*last good checkpoint"):
        AtomicCheckpointIO().save_checkpoint({"w": torch.zeros(size)}, run.last_checkpoint)
    assert (step_of(run.last_checkpoint), step_of(run.previous_checkpoint)) == (2, 1)


def test_failed_write_leaves_no_temporary_file(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    save(run, 1)

    def fails(state: object, file: Any) -> None:
        file.write(b"half")
        raise RuntimeError("unexpected pos 704 vs 598") from OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", fails)
    with pytest.raises(GenlabError, match="No space left on device"):
        save(run, 2)
    assert names(run) == {"last.ckpt"}


def test_error_of_torch_that_is_not_the_disks_is_not_taken_for_it(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(state: object, file: object) -> None:
        raise RuntimeError("out of something else")

    monkeypatch.setattr(torch, "save", fails)
    with pytest.raises(RuntimeError, match="out of something else"):
        save(run, 1)


@DAMAGE
def test_damaged_file_is_not_loaded(run: RunDir, damage: Any) -> None:
    save(run, 1)
    damage(run.last_checkpoint)
    with pytest.raises(CheckpointError, match=r"last\.ckpt"):
        load_checkpoint(run.last_checkpoint)


def test_any_flipped_byte_is_a_checkpoint_error_or_harmless(run: RunDir) -> None:
    save(run, 7)
    path = run.last_checkpoint
    whole = path.read_bytes()
    choose = random.Random(0)
    for position in choose.sample(range(len(whole)), 300):
        content = bytearray(whole)
        content[position] ^= 1 << choose.randrange(8)
        path.write_bytes(content)
        try:
            loaded = load_checkpoint(path)
        except CheckpointError:
            continue
        assert loaded["step"] == 7
        assert torch.equal(loaded["state_dict"]["w"], torch.full((100,), 7.0))


def test_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        load_checkpoint(tmp_path / "no.ckpt")


def test_trouble_of_the_machine_is_not_taken_for_damage(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    save(run, 1)

    def fails(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(torch, "load", fails)
    with pytest.raises(OSError, match="Input/output"):
        resume_checkpoint(run)
    assert names(run) == {"last.ckpt"}


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self) -> tuple[Any, ...]:
            return (os.mkdir, (str(tmp_path / "ran"),))

    torch.save({"state_dict": Attack()}, tmp_path / "bad.ckpt")
    with pytest.raises(CheckpointError):
        load_checkpoint(tmp_path / "bad.ckpt")
    assert not (tmp_path / "ran").exists()
    with pytest.raises(ValueError, match="unpickle"):
        AtomicCheckpointIO().load_checkpoint(tmp_path / "bad.ckpt", weights_only=False)


def test_resume_takes_the_newest(run: RunDir) -> None:
    assert resume_checkpoint(run) is None
    save(run, 1)
    assert resume_checkpoint(run) == run.last_checkpoint
    save(run, 2)
    assert resume_checkpoint(run) == run.last_checkpoint
    # As a process leaves it that was killed between the two renames.
    run.last_checkpoint.unlink()
    assert resume_checkpoint(run) == run.previous_checkpoint


@DAMAGE
def test_resume_goes_back_from_a_damaged_file_and_says_so(
    run: RunDir, damage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    save(run, 1, 2)
    damage(run.last_checkpoint)
    broken = run.last_checkpoint.read_bytes()
    assert resume_checkpoint(run) == run.previous_checkpoint
    assert (run.checkpoints / "last.ckpt.corrupt").read_bytes() == broken
    assert len(caplog.records) == 1
    message = caplog.records[0].getMessage()
    assert "last.ckpt.corrupt" in message
    assert "going on from last.previous.ckpt" in message
    assert "\n" not in message
    # Saving goes on from there, and the good generation is the one that is kept.
    save(run, 3)
    assert (step_of(run.last_checkpoint), step_of(run.previous_checkpoint)) == (3, 1)


def test_resume_with_no_usable_file_says_so(run: RunDir) -> None:
    save(run, 1, 2)
    cut(run.last_checkpoint)
    cut(run.previous_checkpoint)
    with pytest.raises(GenlabError, match="No usable checkpoint is left"):
        resume_checkpoint(run)
    assert names(run) == {"last.ckpt.corrupt", "last.previous.ckpt.corrupt"}


def test_resume_clears_what_a_killed_writer_left(run: RunDir) -> None:
    save(run, 1)
    (run.checkpoints / ".last.ckpt.0123abcd.partial").write_bytes(b"half")
    resume_checkpoint(run)
    assert names(run) == {"last.ckpt"}


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (np.float64(1.0), r"callbacks\.best\[1\]"),
        (Path("x"), r"callbacks\.best\[1\]"),
        (SimpleNamespace(a=1), r"callbacks\.best\[1\]"),
        ({Path("x"): 1}, r"callbacks\.best\[1\] \(key\)"),
    ],
)
def test_what_could_not_be_loaded_is_not_saved(run: RunDir, value: object, key: str) -> None:
    with pytest.raises(TypeError, match=key):
        AtomicCheckpointIO().save_checkpoint({"callbacks": {"best": [0, value]}}, run.last_checkpoint)
    assert names(run) == set()


def test_what_is_called_plain_can_be_loaded(tmp_path: Path) -> None:
    layer = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    state = {
        "state_dict": layer.state_dict(),
        "optimizer": optimizer.state_dict(),
        "leaves": [None, True, 1, 1.5, 1j, "a", b"a", torch.bfloat16, torch.device("cpu"), layer.weight],
        "containers": [(1,), {1}, torch.Size([1])],
    }
    assert_plain(state)
    AtomicCheckpointIO().save_checkpoint(state, tmp_path / "all.ckpt")
    assert load_checkpoint(tmp_path / "all.ckpt").keys() == state.keys()


def test_lightning_trains_and_resumes_through_it(run: RunDir) -> None:
    from pytorch_lightning import Trainer
    from pytorch_lightning.callbacks import ModelCheckpoint
    from pytorch_lightning.demos.boring_classes import BoringModel

    def trainer(steps: int) -> Trainer:
        return Trainer(
            max_steps=steps,
            accelerator="cpu",
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            limit_val_batches=0,
            plugins=[AtomicCheckpointIO()],
            callbacks=[ModelCheckpoint(run.checkpoints, filename="last", every_n_train_steps=1, save_top_k=1,
                                       enable_version_counter=False)],
        )  # fmt: skip

    trainer(2).fit(BoringModel())
    assert [load_checkpoint(path)["global_step"] for path in (run.last_checkpoint, run.previous_checkpoint)] == [2, 1]
    resumed = trainer(3)
    resumed.fit(BoringModel(), ckpt_path=resume_checkpoint(run))
    assert resumed.global_step == 3
    assert load_checkpoint(run.last_checkpoint)["global_step"] == 3
