"""What SLURM says of jobs, by stand-ins for its programs: a real cluster is in ``tests/command/test_slurm.py``."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from genlab.sweeps.slurm_states import SlurmStates

Programs = Callable[[str, str], None]


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    """Makes ``sacct`` and ``squeue`` of lines of shell; an empty text removes one."""

    def make(sacct: str, squeue: str) -> None:
        for name, text in (("sacct", sacct), ("squeue", squeue)):
            file = tmp_path / name
            file.unlink(missing_ok=True)
            if text:
                file.write_text(f"#!/bin/sh\necho {name} >> {tmp_path}/asked\n{text}\n")
                file.chmod(0o755)

    monkeypatch.setenv("PATH", str(tmp_path))
    return make


def said(states: SlurmStates, *jobs: str) -> list[tuple[str, bool]]:
    """State of each job, and whether it is over."""
    for job in jobs:
        states.register_job(job)
    states.update()
    return [(states.get_state(job, "cache"), states.is_done(job, "cache")) for job in jobs]


def test_accounting_is_believed_and_the_queue_is_left_alone(programs: Programs, tmp_path: Path) -> None:
    rows = r"JobID|State|NodeList\n7_0|COMPLETED|n\n7_1|CANCELLED by 1000|n\n7_[2-3%%4]|PENDING|\n7_4|CONFIGURING|n"
    programs(f"printf '{rows}'", "exit 1")
    states = SlurmStates()
    assert said(states, *(f"7_{task}" for task in range(5))) == [
        ("COMPLETED", True),
        ("CANCELLED by 1000", True),
        ("PENDING", False),
        ("PENDING", False),
        ("CONFIGURING", False),
    ]
    assert (tmp_path / "asked").read_text() == "sacct\n"


@pytest.mark.parametrize("sacct", ["", "echo 'Slurm accounting storage is disabled' >&2; exit 1"])
def test_without_accounting_the_queue_says_what_became_of_a_job(
    programs: Programs, sacct: str, capfd: pytest.CaptureFixture[str]
) -> None:
    states = SlurmStates()
    programs(sacct, r"printf '7_0|RUNNING\n7_1|OUT_OF_MEMORY\n7_2|PREEMPTED\n6|FAILED\n'")
    assert said(states, "7_0", "7_1", "7_2", "8") == [
        ("RUNNING", False),
        ("OUT_OF_MEMORY", True),
        ("PREEMPTED", False),
        ("UNKNOWN", False),
    ]
    programs(sacct, "echo 'Unable to contact slurm controller' >&2; exit 1")
    assert said(states, "7_0") == [("RUNNING", False)], "no answer is no news"
    programs(sacct, r"printf '7_2|PENDING\n'")
    assert said(states, "7_0", "7_2", "8") == [("GONE", True), ("PENDING", False), ("UNKNOWN", False)]
    assert capfd.readouterr().err == ""


def test_the_queue_is_asked_for_the_jobs_of_this_user(programs: Programs, tmp_path: Path) -> None:
    programs("exit 1", f'echo "$*" > {tmp_path}/options; printf "7|RUNNING"')
    said(SlurmStates(), "7")
    assert f"--users={os.getuid()}" in (tmp_path / "options").read_text().split()


def test_what_has_ended_is_asked_no_more(programs: Programs, tmp_path: Path) -> None:
    programs("exit 1", "printf '7|FAILED'")
    states = SlurmStates()
    said(states, "7")
    (tmp_path / "asked").unlink()
    states.update()
    assert not (tmp_path / "asked").exists()


def test_the_queue_is_seen_again_within_seconds(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("time.time", lambda: now[0])
    programs("exit 1", "printf '7|RUNNING'")
    states = SlurmStates()
    said(states, "7")
    now[0] += 3600  # an hour later submitit would leave accounting alone for ten minutes
    assert not states.is_done("7")
    programs("exit 1", "printf '7|FAILED'")
    now[0] += 16
    assert states.is_done("7")
