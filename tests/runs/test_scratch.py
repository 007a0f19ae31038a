"""Folders for the time being: what killed processes left is removed, and nothing else."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from genlab.runs.scratch import scratch_folder

HOLD = """
import sys
from pathlib import Path
from genlab.runs.scratch import scratch_folder
with scratch_folder(Path(sys.argv[1]), ".pull-") as folder:
    (folder / "half").write_text("of a file")
    print(folder.name, flush=True)
    sys.stdin.read()
"""


def left_of(parent: Path, killed: bool = True) -> Path:
    """The folder of a process that was killed, or that had not yet locked it then."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(parent)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        folder = parent / holder.stdout.readline().strip()
        assert (folder / "half").is_file()
        with scratch_folder(parent, ".pull-"):
            assert (folder / "half").is_file(), "its owner lives"
        if killed:
            holder.send_signal(signal.SIGKILL)
    return folder


def names(parent: Path) -> set[str]:
    return {path.name for path in parent.iterdir()}


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    parent, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    parent.mkdir()
    left = left_of(parent)
    left.rename(elsewhere)
    (parent / left.name).symlink_to(elsewhere, target_is_directory=True)
    (parent / ".pull-aaaaaaaa").mkdir()
    (parent / ".pull-aaaaaaaa" / "mine").touch()
    (parent / ".pull-bbbbbbbb").touch()
    (parent / ".pull-cccccccc").mkdir()
    (parent / ".pull-cccccccc" / ".in_use").symlink_to(elsewhere / ".in_use")
    (parent / ".pull-dddddddd").mkdir()
    (parent / ".pull-dddddddd" / ".in_use").touch()  # that of one that is about to lock it
    others = names(parent)
    for name in (".pull-again000", ".export-aaaaaaaa", ".pull-cursory"):
        (parent / name).mkdir()
        (parent / name / ".in_use").write_bytes((elsewhere / ".in_use").read_bytes())
    with scratch_folder(parent, ".pull-") as folder:
        assert names(parent) == others | {".export-aaaaaaaa", ".pull-cursory", folder.name}
    assert names(parent) == others | {".export-aaaaaaaa", ".pull-cursory"}
    assert names(elsewhere) == {"half", ".in_use"}


def test_of_two_pulls_each_leaves_the_other_alone(tmp_path: Path) -> None:
    with scratch_folder(tmp_path, ".pull-") as first, scratch_folder(tmp_path, ".pull-") as second:
        assert names(tmp_path) == {first.name, second.name}
    assert not names(tmp_path)
    assert not left_of(tmp_path, killed=False).exists()


def test_where_there_are_no_locks_nothing_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    left = left_of(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", no_locks)
        with scratch_folder(tmp_path, ".pull-") as folder:
            assert names(tmp_path) == {left.name, folder.name}
            patch.undo()
            with scratch_folder(tmp_path, ".pull-") as other:
                assert names(tmp_path) == {folder.name, other.name}, "it does not say that it can be told"
