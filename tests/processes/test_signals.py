"""Signals that end a run: what is open is closed, then a cluster's job is queued again, once, by one process."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from genlab.core.errors import Interrupted
from genlab.processes.job_reports import REPORT_VARIABLE, take_report
from genlab.processes.signals import STOP_SIGNALS, stoppable

SCONTROL = """#!/bin/sh
echo "$*" >> {calls}
case "$1" in
  show) echo "   StartTime=2024-05-01T10:00:00 PreemptEligibleTime=2024-05-01T10:00:00 PreemptTime={preempted}" ;;
  requeue) {requeue} ;;
esac
"""


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A SLURM job of one process; what `scontrol` was asked stands in the file that this returns."""
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    monkeypatch.setenv("SLURM_JOB_NAME", "train")
    monkeypatch.setenv("SLURM_NTASKS", "2")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    scheduler(tmp_path / "calls")
    return tmp_path / "calls"


def scheduler(calls: Path, preempted: str = "None", requeue: str = "true") -> None:
    file = calls.parent / "bin" / "scontrol"
    file.parent.mkdir(exist_ok=True)
    file.write_text(SCONTROL.format(calls=calls, preempted=preempted, requeue=requeue))
    file.chmod(0o755)


def asked(calls: Path) -> list[str]:
    return calls.read_text().splitlines() if calls.exists() else []


def send(*signals: signal.Signals) -> None:
    for signum in signals:
        os.kill(os.getpid(), signum)


@contextmanager
def closing(log: list[str], *meanwhile: signal.Signals) -> Iterator[None]:
    """Stands for what a run has open, and is sent more signals while it closes that."""
    try:
        yield
    finally:
        send(*meanwhile)
        log.append("closed")


@pytest.mark.parametrize("signum", STOP_SIGNALS)
def test_a_signal_leaves_and_the_handlers_before_are_back(signum: signal.Signals) -> None:
    before = [signal.getsignal(s) for s in STOP_SIGNALS]
    with pytest.raises(Interrupted, match=signum.name) as stopped, stoppable():
        send(signum)
    assert stopped.value.signum == signum
    assert [signal.getsignal(s) for s in STOP_SIGNALS] == before


@pytest.mark.parametrize("signum", [signal.SIGUSR1, signal.SIGUSR2])
@pytest.mark.parametrize("array", [False, True])
def test_a_cluster_job_is_queued_again(
    cluster: Path, monkeypatch: pytest.MonkeyPatch, signum: signal.Signals, array: bool
) -> None:
    if array:
        monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "70")
        monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    with pytest.raises(Interrupted), stoppable():
        send(signum)
    assert asked(cluster) == ["requeue 70_3" if array else "requeue 77"]


def test_sigterm_requeues_a_preempted_job_and_not_a_cancelled_one(cluster: Path) -> None:
    with pytest.raises(Interrupted), stoppable():
        send(signal.SIGTERM)
    assert asked(cluster) == ["show job 77"]
    scheduler(cluster, preempted="2024-05-01T10:30:00")
    with pytest.raises(Interrupted), stoppable():
        send(signal.SIGTERM)
    assert asked(cluster) == ["show job 77", "show job 77", "requeue 77"]


@pytest.mark.parametrize(
    "variables",
    [
        {"SLURM_PROCID": "1"},  # a helper of srun's
        {"TORCHELASTIC_RUN_ID": "none", "RANK": "3", "WORLD_SIZE": "4"},  # of torchrun's
        {"SLURM_JOB_NAME": "interactive"},  # a user types in it
    ],
)
def test_who_does_not_speak_for_the_job_queues_nothing(
    cluster: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Interrupted), stoppable():
        send(signal.SIGUSR1)
    assert asked(cluster) == []


def test_a_job_of_a_sweep_leaves_the_requeue_to_the_sweep(cluster: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(REPORT_VARIABLE, "job.jsonl")
    take_report()
    try:
        with pytest.raises(Interrupted), stoppable():
            send(signal.SIGUSR1)
    finally:
        take_report()
    assert asked(cluster) == []


def test_outside_a_cluster_nothing_is_queued(cluster: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID")
    with pytest.raises(Interrupted), stoppable():
        send(signal.SIGUSR1)
    assert asked(cluster) == []


def test_a_refused_requeue_is_told(cluster: Path, capfd: pytest.CaptureFixture) -> None:
    scheduler(cluster, requeue="echo 'Requested operation is presently disabled' >&2; exit 1")
    with pytest.raises(Interrupted), stoppable():
        send(signal.SIGUSR1)
    (line,) = capfd.readouterr().err.splitlines()
    assert "77" in line
    assert "presently disabled" in line


def test_what_is_open_is_closed_first_and_no_second_signal_cuts_it_short(cluster: Path) -> None:
    log: list[str] = []
    # SLURM sends SIGTERM when the time that SIGUSR1 left is over.
    with pytest.raises(Interrupted), stoppable(), closing(log, signal.SIGUSR2, signal.SIGTERM):
        send(signal.SIGUSR1)
    assert log == ["closed"]
    assert asked(cluster) == ["requeue 77"]


def test_a_signal_that_python_dropped_is_raised_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    class Finalized:
        def __del__(self) -> None:
            send(signal.SIGTERM)

    with stoppable():
        monkeypatch.setattr(sys, "unraisablehook", lambda dropped: None)
        Finalized()
        send(signal.SIGTERM)  # at once: taken for a second signal to a run that leaves
        monkeypatch.setattr("genlab.processes.signals.LEAVING_SECONDS", 0.0)
        with pytest.raises(Interrupted):
            send(signal.SIGTERM)


def test_only_the_outermost_requeues(cluster: Path) -> None:
    log: list[str] = []
    with pytest.raises(Interrupted), stoppable(), closing(log):
        inner(log, cluster)
    assert log == ["nothing asked yet", "closed"]
    assert asked(cluster) == ["requeue 77"]


def inner(log: list[str], cluster: Path) -> None:
    try:
        with stoppable():
            send(signal.SIGUSR1)
    finally:
        log += [] if asked(cluster) else ["nothing asked yet"]


@pytest.mark.parametrize("preempted", [False, True])
def test_who_had_a_handler_is_handed_the_signal(cluster: Path, preempted: bool) -> None:
    # submitit handles SIGUSR2: it keeps count of the requeues, and does them itself.
    log: list[object] = []
    before = signal.signal(signal.SIGUSR2, lambda signum, frame: log.append(signal.Signals(signum)))
    scheduler(cluster, preempted="2024-05-01T10:30:00")
    signum = signal.SIGTERM if preempted else signal.SIGUSR2
    try:
        with pytest.raises(Interrupted), stoppable(), closing(log):  # type: ignore[arg-type]
            send(signum)
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert log == ["closed", signum]
    assert "requeue 77" not in asked(cluster)
