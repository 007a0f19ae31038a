"""A study that several processes or machines share: no trial is lost or done twice, whoever dies."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState

from genlab.core.errors import GenlabError
from genlab.runs.locks import IN_USE
from genlab.sweeps import owners
from genlab.sweeps.jobs import Job, Outcome
from genlab.sweeps.objectives import Objective
from genlab.sweeps.search import open_study
from genlab.sweeps.shared_study import shown_url
from tests import forkserver
from tests.sweeps.postgresql import PASSWORD, postgresql_server, program
from tests.sweeps.searching import ONE_POINT, FakeLauncher, bowl, plan, search_once, trials_of

ROOT = Path(__file__).parents[2]


def start(url: str, folder: Path, trials: int, kill_after: int = 0) -> Any:
    command = [sys.executable, "-m", "tests.sweeps.searching", url, str(folder), str(trials), str(kill_after)]
    return forkserver.start(command, cwd=ROOT)


def finished(process: Any, code: int = 0) -> None:
    _, errors = process.communicate(timeout=250)
    assert process.returncode == code, errors


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 200
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def check_shared(url: str, folder: Path, total: int) -> None:
    """Two processes on one study: neither a trial lost nor one done twice."""
    both = [start(url, folder, total) for _ in range(2)]

    # Each waits within its first trial until the other is in the study as well.
    def are_in() -> bool:
        assert all(process.poll() is None for process in both), [p.communicate()[1] for p in both if p.poll()]
        return len({path.name.rpartition("-")[2] for path in folder.glob("begun-*")}) == 2

    wait_for(are_in)
    (folder / "go").touch()
    for process in both:
        finished(process)
    begun = sorted(int(path.name.split("-")[1]) for path in folder.glob("begun-*"))
    assert begun == list(range(total))
    trials = trials_of(plan(folder, storage=url))
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * total
    assert len({trial.params["lr"] for trial in trials}) == total, "two processes proposed the same"
    for trial in trials:
        assert trial.value == pytest.approx(bowl(trial.params))


def test_two_processes_share_a_study(tmp_path: Path) -> None:
    check_shared(f"sqlite:///{tmp_path / 'study.db'}", tmp_path, total=12)


def test_machines_share_a_study_in_postgresql(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    if program("initdb") is None:
        pytest.skip("PostgreSQL is not installed")
    pytest.importorskip("pg8000", reason="there is no driver: pip install 'genlab[postgresql]'")
    with postgresql_server() as url:
        check_shared(url, tmp_path, total=12)
        finished(start(url, tmp_path, 15, kill_after=2), code=-9)
        left = trials_of(plan(tmp_path, storage=url))
        assert [trial.state for trial in left[12:]] == [TrialState.COMPLETE, TrialState.RUNNING]
        finished(start(url, tmp_path, 15))
        assert [trial.state for trial in trials_of(plan(tmp_path, storage=url))] == [TrialState.COMPLETE] * 15
        with pytest.raises(GenlabError) as wrong:
            open_study(plan(tmp_path, storage=url.replace(PASSWORD, "another-secret"), study="x"))
    assert "secret" not in f"{wrong.value} {capfd.readouterr()}"


def test_a_silent_machine_is_waited_for_and_then_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be seen from here is dead when its heartbeat is old, and not before."""
    made = plan(tmp_path, trials=1)
    away = open_study(made, beat_seconds=1, grace_seconds=2)
    trial = away.claim()
    monkeypatch.setattr(owners, "machine", lambda: "elsewhere")
    with open_study(made, beat_seconds=1, grace_seconds=2) as here:
        beats = time.monotonic() + 3
        while time.monotonic() < beats:
            assert here.claim() is None, "it lives: its heart beats"
            time.sleep(0.2)
        away._closed.set()  # its heart stops, but it does not say good-bye
        away._heart.join()
        taken: list[Any] = []

        def takes_over() -> bool:
            taken.append(here.claim())
            return taken[-1] is not None

        wait_for(takes_over)
        assert not away.finish(trial, [0.5], TrialState.COMPLETE), "it is no longer its trial"
        assert trials_of(made)[0].state is TrialState.RUNNING
        here.finish(taken[-1], [0.7], TrialState.COMPLETE)
        assert away.report(trial, 0.5, 1), "its job has nothing to do any more, and its search goes on"
    assert trials_of(made)[0].value == 0.7


def test_another_search_under_the_same_name_is_refused(tmp_path: Path) -> None:
    search_once(plan(tmp_path, trials=1), FakeLauncher(tmp_path))
    with pytest.raises(GenlabError, match="another search: it differs in space"):
        open_study(plan(tmp_path, about={"space": "another"}))
    with pytest.raises(GenlabError, match="directions"):
        open_study(plan(tmp_path, objectives=(Objective("val/recall", True),)))


def test_a_database_that_cannot_be_used_is_one_line_without_the_password(
    tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    url = "postgresql+nosuchdriver://me:hunter2secret@127.0.0.1:9/none"
    with pytest.raises(GenlabError) as error:
        open_study(plan(tmp_path, storage=url))
    assert "hunter2secret" not in f"{error.value} {capfd.readouterr()}"
    assert "me:***@127.0.0.1" in str(error.value)
    assert shown_url("postgresql+pg8000://me@host/db?password=hunter2secret") == "postgresql+pg8000://me@host/db"
    (tmp_path / "text.db").write_text("not a database, but long enough to be looked at as one" * 100)
    with pytest.raises(GenlabError, match="Cannot use the database"):
        open_study(plan(tmp_path, storage=f"sqlite:///{tmp_path / 'text.db'}"))
    for url in ("sqlite://", "no address"):
        with pytest.raises(GenlabError, match=r"hydra\.sweeper\.storage"):
            open_study(plan(tmp_path, storage=url))


def test_a_process_id_that_passed_to_another_process_is_not_its_former_owner() -> None:
    me = owners.this_process()
    assert owners.is_alive(me)
    assert not owners.is_alive({**me, "started": "1"})
    assert owners.is_alive({**me, "machine": "elsewhere"}) is None
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert not owners.is_alive({**me, "pid": ended.pid})
    assert os.getpid() == me["pid"]


def test_a_trial_waits_for_one_of_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = plan(tmp_path, trials=2, space={key: CategoricalDistribution([v]) for key, v in ONE_POINT.items()})
    with open_study(made) as elsewhere:
        earlier = elsewhere.claim()
        looks: list[float] = []

        def look(seconds: float) -> None:
            looks.append(seconds)
            if len(looks) == 3:
                elsewhere.finish(earlier, [1.0], TrialState.COMPLETE)

        class InUse(FakeLauncher):
            def run(self, job: Job, watch: Any) -> Outcome:
                if earlier.number in {t.number for t in trials_of(made) if t.state is TrialState.RUNNING}:
                    return Outcome(job, 2, None, f"The run in x {IN_USE} process 1.", 0.1, tmp_path / "log")
                return super().run(job, watch)

        # The other study is of this process too: it must not be taken for dead, nor for ours.
        monkeypatch.setattr("genlab.sweeps.search.time.sleep", look)
        launcher = InUse(tmp_path)
        search_once(made, launcher)
    assert len(looks) == 3
    assert [job.number for job in launcher.jobs] == [1, 1]
    assert {trial.state for trial in trials_of(made)} == {TrialState.COMPLETE}


def test_killed_in_the_middle_it_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    (tmp_path / "go").touch()
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir(), killed.mkdir()
    (killed / "go").touch()
    search_once(plan(whole), FakeLauncher(whole))
    made = plan(killed)
    finished(start(made.storage, killed, 8, kill_after=4), code=-9)
    assert [trial.state for trial in trials_of(made)][3:] == [TrialState.RUNNING]
    launcher = FakeLauncher(killed)
    search_once(made, launcher)
    assert [job.number for job in launcher.jobs] == [3, 4, 5, 6, 7], "the trial that died is taken up, at once"
    expected, found = trials_of(plan(whole)), trials_of(made)
    assert [t.params for t in found] == [t.params for t in expected]
    assert [t.values for t in found] == [t.values for t in expected]


def test_a_stopped_search_leaves_its_trials_to_others(tmp_path: Path) -> None:
    def stop(job):  # type: ignore[no-untyped-def]
        if job.number == 2:
            raise KeyboardInterrupt

    made = plan(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        search_once(made, FakeLauncher(tmp_path, before=stop))
    left = trials_of(made)[2]
    assert left.state is TrialState.RUNNING
    assert left.user_attrs["owner"] is None
    launcher = FakeLauncher(tmp_path)
    search_once(made, launcher)
    assert launcher.jobs[0].number == 2
    assert trials_of(made)[2].params == left.params
