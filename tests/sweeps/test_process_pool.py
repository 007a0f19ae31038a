"""Jobs as processes: what they get, how they end, and that nothing of them is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from genlab.core.errors import Interrupted
from genlab.sweeps.jobs import Job, Outcome
from genlab.sweeps.places import Place, allowed_cores, make_places
from genlab.sweeps.process_pool import ProcessPool

DEADLINE_SECONDS = 60.0
"""Far beyond what anything here takes: reached only when it never happens."""

SCRIPT = """
import json, os, signal, subprocess, sys, time
kind, *rest = sys.argv[1:]
def report(**line):
    with open(os.environ["GENLAB_JOB_REPORT"], "a") as file: file.write(json.dumps(line) + "\\n")
def family():
    # A child that would run on, Ctrl-C or not, and its number for the test.
    code = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(600)"
    child = subprocess.Popen([sys.executable, "-S", "-c", code])
    with open(rest[0], "a") as file: print(os.getpid(), child.pid, file=file, flush=True)
if kind == "fine": print("fine")
if kind == "raise": raise ValueError("no such thing")
if kind == "kill": os.kill(os.getpid(), signal.SIGKILL)
if kind == "say":
    report(kind="outcome", code=0, error=None, result={"value": 3})
if kind == "see":
    names = ["CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "MKL_NUM_THREADS"]
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    report(kind="outcome", code=0, error=None, result={**{n: os.environ.get(n) for n in names}, "cores": cores})
if kind == "leave": family()
if kind == "progress":
    def leave(*_):
        for step in range(3): report(kind="progress", fraction=1.0, examples=0, metrics={"val/nats": 0.0})
        time.sleep(0.2); sys.exit(143)
    signal.signal(signal.SIGTERM, leave)
    for step in range(1, 10**6):
        report(kind="progress", fraction=step / 10**6, examples=step, metrics={"val/nats": 1.0 / step})
        time.sleep(0.05)
if kind in ("save", "stubborn"):
    def leave(signum, frame):
        if kind == "stubborn": return print("asked", flush=True)
        print("saved", signum, flush=True); time.sleep(0.2); sys.exit(128 + signum)
    signal.signal(signal.SIGINT, leave); signal.signal(signal.SIGTERM, leave)
    family()
    while True: time.sleep(0.05)
"""

SWEEP = """
import sys
from genlab.sweeps.jobs import Job
from genlab.sweeps.places import Place
from genlab.sweeps.process_pool import ProcessPool
script, folder, kind, note, patience = sys.argv[1:]
pool = ProcessPool(lambda o: [sys.executable, "-S", "-c", script, *o], folder, [Place(), Place()],
                   patience_seconds=float(patience))
try:
    for outcome in pool.run([Job(n, (kind, note)) for n in range(3)]):
        print(outcome.job.number, outcome.code, outcome.stopped, outcome.failed, flush=True)
except KeyboardInterrupt:
    sys.exit(130)
"""


def command_for(overrides: Sequence[str]) -> list[str]:
    return [sys.executable, "-S", "-c", SCRIPT, *overrides]


def run(
    folder: Path, jobs: Iterable[Sequence[str]], places: Sequence[Place] = (Place(),), **options: Any
) -> dict[int, Outcome]:
    pool = ProcessPool(command_for, folder, places, **options)
    return {o.job.number: o for o in pool.run(Job(n, tuple(words)) for n, words in enumerate(jobs))}


def wait_for(what: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not (value := what()):
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)
    return value


def alive(pid: int) -> bool:
    """Whether a process runs; one that is dead and not yet collected does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def numbers(note: Path, lines: int) -> list[int]:
    """The processes that so many jobs have noted, themselves and their children."""
    text = note.read_text() if note.exists() else ""
    return [int(word) for word in text.split()] if text.count("\n") >= lines else []


def test_a_job_that_fails_leaves_the_others_going(tmp_path: Path) -> None:
    outcomes = run(tmp_path, [["fine"], ["raise"], ["kill"], ["say"], ["fine"]], [Place(), Place()])
    assert [outcomes[n].code for n in range(5)] == [0, 1, 137, 0, 0]
    assert [outcomes[n].failed for n in range(5)] == [False, True, True, False, False]
    assert outcomes[1].error == "Exit code 1. It said last: ValueError: no such thing"
    assert outcomes[2].error == "Killed by SIGKILL: out of memory?"
    assert (outcomes[2].signal_name, outcomes[1].signal_name) == ("SIGKILL", None)
    assert outcomes[3].result == {"value": 3}
    assert outcomes[0].log == tmp_path / "0.log"
    command, said = outcomes[0].log.read_text().rstrip().rsplit("\n", 1)
    assert command.startswith("$ ")
    assert said == "fine"
    assert sorted(os.listdir(tmp_path)) == [f"{n}.log" for n in range(5)], "reports are gone when they were read"


def test_a_command_that_cannot_be_started_fails_alone(tmp_path: Path) -> None:
    def command(overrides: Sequence[str]) -> list[str]:
        return [str(tmp_path / "nothing")] if overrides == ("none",) else command_for(overrides)

    pool = ProcessPool(command, tmp_path)
    outcomes = list(pool.run([Job(0, ("none",)), Job(1, ("fine",))]))
    assert [outcome.code for outcome in outcomes] == [126, 0]
    assert outcomes[0].error.startswith("Could not be started: ")


def test_the_next_job_is_asked_for_when_a_place_is_free_and_not_before(tmp_path: Path) -> None:
    ended: list[int] = []
    asked: list[int] = []

    def jobs() -> Iterable[Job]:
        for number in range(5):
            asked.append(len(ended))
            yield Job(number, ("fine",))

    for outcome in ProcessPool(command_for, tmp_path, [Place(), Place()]).run(jobs()):
        ended.append(outcome.job.number)
    assert sorted(ended) == [0, 1, 2, 3, 4]
    assert asked[:2] == [0, 0]
    assert all(done >= number - 1 for number, done in enumerate(asked)), "two at a time"


def test_two_sweeps_of_one_second_keep_their_logs_apart(tmp_path: Path) -> None:
    first, second = run(tmp_path, [["fine"]]), run(tmp_path, [["raise"]])
    assert first[0].log != second[0].log
    assert first[0].log.read_text().endswith("\nfine\n")
    assert second[0].log.read_text().endswith("ValueError: no such thing\n")


def test_each_job_sees_its_own_gpus_and_their_share_of_the_threads(tmp_path: Path) -> None:
    places = make_places(None, 2, ["3", "5", "GPU-ab12", "7", "8"], range(8), environment={})
    outcomes = run(tmp_path, [["see"], ["see"]], places)
    seen = [outcomes[n].result for n in range(2)]
    assert [one["CUDA_VISIBLE_DEVICES"] for one in seen] == ["3,5", "GPU-ab12,7"]
    assert [one["OMP_NUM_THREADS"] for one in seen] == ["4", "4"]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system does not pin processes to cores")
def test_each_job_sees_its_own_cores_and_the_sweep_keeps_its_own(tmp_path: Path) -> None:
    cores = allowed_cores()
    outcomes = run(tmp_path, [["see"], ["see"]], make_places(2, cores=[cores[0], cores[-1]], environment={}))
    assert [outcomes[n].result["cores"] for n in range(2)] == [[cores[0]], [cores[-1]]]
    assert {outcomes[n].result["OMP_NUM_THREADS"] for n in range(2)} == {"1"}
    assert {outcomes[n].result["MKL_NUM_THREADS"] for n in range(2)} == {"1"}
    assert allowed_cores() == cores


def test_a_hopeless_job_is_stopped_and_counts_as_pruned(tmp_path: Path) -> None:
    reports: list[dict[str, Any]] = []

    def watch(job: Job, report: Any) -> bool:
        reports.append(report)
        return report["metrics"]["val/nats"] < 0.4

    pool = ProcessPool(command_for, tmp_path)
    outcomes = list(pool.run([Job(0, ("progress",)), Job(1, ("fine",))], watch))
    assert [(o.pruned, o.failed) for o in outcomes] == [(True, False), (False, False)]
    assert outcomes[0].code == 143
    assert [report["examples"] for report in reports[:3]] == [1, 2, 3]
    assert len(reports) == 3, "a job that was asked to stop is not watched any more"


def test_what_a_job_leaves_running_ends_with_it(tmp_path: Path) -> None:
    note = tmp_path / "numbers"
    outcomes = run(tmp_path, [["leave", str(note)]])
    assert outcomes[0].code == 0
    assert not any(alive(pid) for pid in numbers(note, 1))


def test_what_ends_a_sweep_ends_its_jobs(tmp_path: Path) -> None:
    note = tmp_path / "numbers"

    def jobs() -> Iterable[Job]:
        yield Job(0, ("save", str(note)))
        wait_for(lambda: numbers(note, 1))
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        list(ProcessPool(command_for, tmp_path, [Place(), Place()]).run(jobs()))
    assert not any(alive(pid) for pid in numbers(note, 1))
    assert f"saved {int(signal.SIGTERM)}" in (tmp_path / "0.log").read_text(), "it was asked, and not just killed"


def start_sweep(folder: Path, kind: str, patience: float = DEADLINE_SECONDS) -> tuple[subprocess.Popen[str], list[int]]:
    """Start three jobs in two places, and wait until two of them run."""
    note = folder / "numbers"
    command = [sys.executable, "-c", SWEEP, SCRIPT, str(folder), kind, str(note), str(patience)]
    sweep = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    return sweep, wait_for(lambda: numbers(note, 2))


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_jobs_which_save_first(tmp_path: Path, signum: int) -> None:
    sweep, pids = start_sweep(tmp_path, "save")
    sweep.send_signal(signum)
    out, err = sweep.communicate(timeout=DEADLINE_SECONDS)
    code = 128 + signum
    assert sorted(out.splitlines()) == [f"{n} {code} True False" for n in range(2)], err
    assert sweep.returncode == 130 if signum == signal.SIGINT else Interrupted.__name__ in err
    assert len(pids) == 4
    assert not any(map(alive, pids))
    for number in range(2):
        assert (tmp_path / f"{number}.log").read_text().count(f"saved {int(signum)}") == 1
    assert not (tmp_path / "2.log").exists(), "no job begins after the signal"


def test_a_second_ctrl_c_kills_at_once(tmp_path: Path) -> None:
    sweep, pids = start_sweep(tmp_path, "stubborn")
    sweep.send_signal(signal.SIGINT)
    wait_for(lambda: "\nasked\n" in (tmp_path / "1.log").read_text())
    assert sweep.poll() is None
    sweep.send_signal(signal.SIGINT)
    assert sweep.wait(DEADLINE_SECONDS) == 130
    assert not any(map(alive, pids))


def test_a_job_that_does_not_listen_is_killed_when_patience_ends(tmp_path: Path) -> None:
    sweep, pids = start_sweep(tmp_path, "stubborn", patience=0.3)
    sweep.send_signal(signal.SIGINT)
    out, _ = sweep.communicate(timeout=DEADLINE_SECONDS)
    assert sorted(out.splitlines()) == ["0 137 True False", "1 137 True False"]
    assert not any(map(alive, pids))


@pytest.mark.parametrize("kind", ["save", "stubborn"])
def test_no_job_outlives_a_sweep_that_was_killed(tmp_path: Path, kind: str) -> None:
    sweep, pids = start_sweep(tmp_path, kind, patience=DEADLINE_SECONDS if kind == "save" else 0.3)
    sweep.kill()
    sweep.communicate()
    wait_for(lambda: not any(map(alive, pids)))
    if kind == "save":
        assert f"saved {int(signal.SIGTERM)}" in (tmp_path / "0.log").read_text(), "it was asked first"


def test_reports_that_are_broken_harm_nobody(tmp_path: Path) -> None:
    code = "import os; open(os.environ['GENLAB_JOB_REPORT'], 'w').write('{\\n[1]\\n{\"kind\": \"progress\"}\\n' + %r)"
    line = json.dumps({"kind": "outcome", "code": 0, "error": None, "result": {"a": 1}}) + "\n"
    pool = ProcessPool(lambda overrides: [sys.executable, "-S", "-c", code % line], tmp_path)
    (outcome,) = pool.run([Job(0, ())], watch=lambda job, report: pytest.fail("no report of progress"))
    assert outcome.result == {"a": 1}
