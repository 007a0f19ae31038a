"""The search: each trial once and in all as many as asked for, whatever fails, is killed, or happens at once."""

from __future__ import annotations

import math
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState

from genlab.errors import GenlabError
from genlab.locks import IN_USE, RunLock
from genlab.sweeps import owners
from genlab.sweeps.jobs import Job, Outcome
from genlab.sweeps.objectives import Objective, parse_objectives
from genlab.sweeps.search import SAMPLERS, SearchPlan, open_study, override_of
from genlab.sweeps.shared_study import INTERRUPTIONS, MOST_INTERRUPTIONS
from genlab.sweeps.study_plots import draw_importance
from tests.sweeps.postgresql import PASSWORD, postgresql_server, program
from tests.sweeps.searching import MONITOR, FakeLauncher, bowl, parameters_of, plan, search_once

ROOT = Path(__file__).parents[2]
ONE_POINT = {"lr": "0.01", "layers": "4", "kind": "a"}


def trials_of(made: SearchPlan) -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name=made.study, storage=made.storage).trials


def start(url: str, folder: Path, trials: int, kill_after: int = 0) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.sweeps.searching", url, str(folder), str(trials), str(kill_after)]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def finished(process: subprocess.Popen[str], code: int = 0) -> None:
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


def test_a_search_does_as_many_trials_as_asked_for_and_finds_the_best(tmp_path: Path) -> None:
    made, launcher = plan(tmp_path, trials=6), FakeLauncher(tmp_path)
    search_once(made, launcher)
    trials = trials_of(made)
    assert [job.number for job in launcher.jobs] == list(range(6))
    assert launcher.jobs[2].overrides == ("model=flow", *(override_of(k, trials[2].params[k]) for k in made.space))
    assert min(trial.value for trial in trials) == min(bowl(parameters_of(job)) for job in launcher.jobs)
    search_once(made, launcher)
    assert len(launcher.jobs) == 6, "the total is over all starts"
    search_once(plan(tmp_path, trials=9), launcher)
    assert [job.number for job in launcher.jobs] == list(range(9))


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


@pytest.mark.parametrize("bad", [None, math.nan, math.inf, "raises"], ids=["fails", "nan", "infinite", "no metrics"])
def test_a_trial_that_fails_counts_and_ends_nothing(bad: object, tmp_path: Path) -> None:
    class Launcher(FakeLauncher):
        def run(self, job, watch):  # type: ignore[no-untyped-def]
            outcome = super().run(job, watch)
            if bad == "raises" and job.number % 2:
                (Path(outcome.result["run_dir"]) / "metrics.csv").unlink()
            return outcome

    def function(parameters):  # type: ignore[no-untyped-def]
        return bad if len(launcher.jobs) % 2 == 0 and bad != "raises" else bowl(parameters)

    made, launcher = plan(tmp_path, trials=6), Launcher(tmp_path, function)
    search_once(made, launcher)
    trials = trials_of(made)
    assert [trial.state for trial in trials] == [TrialState.COMPLETE, TrialState.FAIL] * 3
    assert all(trial.user_attrs["error"] for trial in trials[1::2])


def test_a_killed_job_counts_as_failed_and_an_interrupted_one_goes_on(tmp_path: Path) -> None:
    ends = iter([137, 143, 0, 130])

    class Launcher(FakeLauncher):
        def run(self, job, watch):  # type: ignore[no-untyped-def]
            code = next(ends, 0)
            if code:
                return Outcome(job, code, None, "Killed.", 0.1, self.folder / "log")
            return super().run(job, watch)

    made, launcher = plan(tmp_path, trials=3), Launcher(tmp_path)
    search_once(made, launcher)
    assert [job.number for job in launcher.jobs] == [0, 1, 1, 2, 2]
    assert [trial.state for trial in trials_of(made)] == [TrialState.FAIL, TrialState.COMPLETE, TrialState.COMPLETE]


def test_a_run_that_is_still_in_use_is_waited_for(tmp_path: Path) -> None:
    """The jobs of a search that was killed may still be saving when it is started again."""
    with RunLock(tmp_path / "run.lock"), pytest.raises(GenlabError) as busy:
        RunLock(tmp_path / "run.lock").acquire()
    starts = iter([2, 2])

    class Launcher(FakeLauncher):
        def run(self, job, watch):  # type: ignore[no-untyped-def]
            if code := next(starts, 0):
                return Outcome(job, code, None, str(busy.value), 0.1, self.folder / "log")
            return super().run(job, watch)

    made, launcher = plan(tmp_path, trials=1), Launcher(tmp_path)
    search_once(made, launcher)
    assert len(launcher.jobs) == 3
    assert [trial.state for trial in trials_of(made)] == [TrialState.COMPLETE]


def test_a_job_that_is_interrupted_again_and_again_fails(tmp_path: Path) -> None:
    class Launcher(FakeLauncher):
        def run(self, job, watch):  # type: ignore[no-untyped-def]
            return Outcome(job, 143, None, "Stopped.", 0.1, self.folder / "log")

    made, launcher = plan(tmp_path, trials=1), Launcher(tmp_path)
    search_once(made, launcher)
    assert len(launcher.jobs) == MOST_INTERRUPTIONS + 1
    assert {trial.state for trial in trials_of(made)} == {TrialState.FAIL}


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
        wait_for(lambda: here.claim() is not None)
        assert not away.finish(trial, [0.5], TrialState.COMPLETE), "it is no longer its trial"
    assert trials_of(made)[0].state is TrialState.RUNNING


def test_hopeless_trials_are_pruned_by_validation(tmp_path: Path) -> None:
    for pruner in ("median", "successive_halving"):
        folder = tmp_path / pruner
        folder.mkdir()
        made = plan(folder, trials=12, pruner=pruner)
        launcher = FakeLauncher(folder, curve=lambda p, fraction: bowl(p) + 3 * (1 - fraction))
        search_once(made, launcher)
        trials = trials_of(made)
        pruned = [trial for trial in trials if trial.state is TrialState.PRUNED]
        assert pruned
        assert all(bowl(t.params) > min(bowl(other.params) for other in trials) for t in pruned)
        if pruner == "median":
            assert all(max(t.intermediate_values) >= 3 for t in pruned), "none before three tenths of the budget"


def test_two_objectives_are_not_pruned(tmp_path: Path) -> None:
    both = (Objective(MONITOR), Objective("sampling.nfe"))
    made = plan(tmp_path, trials=6, objectives=both, pruner="median")
    launcher = FakeLauncher(tmp_path, curve=lambda p, fraction: bowl(p))
    search_once(made, launcher)
    for trial in trials_of(made):
        assert trial.state is TrialState.COMPLETE
        assert trial.values == [pytest.approx(bowl(trial.params)), trial.params["layers"]]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_searches(sampler: str, tmp_path: Path) -> None:
    made = plan(tmp_path, trials=4, sampler=sampler, seed=3)
    search_once(made, FakeLauncher(tmp_path))
    other = tmp_path / "other"
    other.mkdir()
    search_once(plan(other, trials=4, sampler=sampler, seed=4), FakeLauncher(other))
    assert len(trials_of(made)) == 4
    assert trials_of(made)[0].params != trials_of(plan(other))[0].params, "the seed decides"


def test_a_metric_is_read_at_the_checkpoint_that_validation_chose(tmp_path: Path) -> None:
    from genlab.results import MetricsCsv
    from genlab.sweeps.objectives import values_of

    rows = MetricsCsv(tmp_path / "metrics.csv")
    for examples, bits, fid in ((1, 3.0, 9.0), (2, math.nan, 1.0), (3, 2.0, 7.0), (4, 2.5, 5.0)):
        rows.log({MONITOR: bits, "val/fid": fid}, examples)
        rows.log({"train/loss": 1.0}, examples)
    result = {"run_dir": str(tmp_path), "sampling": {"nfe": 35, "ms_per_sample": None}, "missing": {}}
    objectives = (Objective("val/fid"), Objective("sampling.nfe"))
    assert values_of(result, objectives, MONITOR) == [7.0, 35.0]
    with pytest.raises(GenlabError, match="val/recall"):
        values_of(result, (Objective("val/recall", True),), MONITOR)
    with pytest.raises(GenlabError, match="ms_per_sample is not known"):
        values_of(result, (Objective("sampling.ms_per_sample"),), MONITOR)


def test_objectives_are_of_validation() -> None:
    assert parse_objectives(None, "val/fid") == (Objective("val/fid"),)
    assert parse_objectives(["val/fid", "val/recall"], "val/fid")[1].direction == "maximize"
    for wrong in (["likelihood.bits_per_dim"], ["test/fid"], ["sampling.nfe"], [], ["val/fid"] * 2, ["val/fidd"]):
        with pytest.raises(GenlabError, match=r"hydra\.sweeper\.objective"):
            parse_objectives(wrong, "val/fid")


def test_another_search_under_the_same_name_is_refused(tmp_path: Path) -> None:
    search_once(plan(tmp_path, trials=1), FakeLauncher(tmp_path))
    with pytest.raises(GenlabError, match="another search: it differs in space"):
        open_study(plan(tmp_path, about={"space": "another"}))
    with pytest.raises(GenlabError, match="directions"):
        open_study(plan(tmp_path, objectives=(Objective("val/recall", True),)))


@pytest.mark.parametrize(
    "change",
    [{"sampler": "tpee"}, {"pruner": "x"}, {"trials": 0}, {"trials": None}, {"seed": -1}, {"space": {}}],
    ids=str,
)
def test_a_plan_that_means_nothing_is_refused(change: dict, tmp_path: Path) -> None:
    with pytest.raises(GenlabError):
        plan(tmp_path, **change)


def test_a_database_that_cannot_be_used_is_one_line_without_the_password(
    tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    url = "postgresql+nosuchdriver://me:hunter2secret@127.0.0.1:9/none"
    with pytest.raises(GenlabError) as error:
        open_study(plan(tmp_path, storage=url))
    assert "hunter2secret" not in f"{error.value} {capfd.readouterr()}"
    assert "me:***@127.0.0.1" in str(error.value)
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


def test_a_trial_waits_for_an_earlier_one_of_the_same_parameters(tmp_path: Path) -> None:
    class Twins(FakeLauncher):
        """Begins as many as there are, as a launcher with room for all does; of one run the first has the lock."""

        def stream(self, jobs: Iterable[Job], watch: Any = None) -> Iterator[Outcome]:
            first, *others = jobs
            for job in others:
                self.before(job)
                yield Outcome(job, 2, None, f"The run in x {IN_USE} process 1.", 0.1, tmp_path / "log")
            yield self.run(first, watch)

    begun: list[int] = []
    made = plan(tmp_path, trials=4, space={key: CategoricalDistribution([v]) for key, v in ONE_POINT.items()})
    search_once(made, Twins(tmp_path, before=lambda job: begun.append(job.number)))
    assert begun == [1, 2, 3], "each is refused once, and tried again when the others are done"
    assert {trial.state for trial in trials_of(made)} == {TrialState.COMPLETE}
    assert not any(trial.user_attrs.get(INTERRUPTIONS) for trial in trials_of(made))


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


def test_a_parameter_is_written_as_the_command_line_did(tmp_path: Path) -> None:
    made = plan(tmp_path, trials=1, written={"lr": "+lr"})
    with open_study(made) as study:
        assert made.overrides(study.claim().params)[1].startswith("+lr=")


@pytest.mark.parametrize("maximize", [False, True])
def test_importance_is_for_what_the_search_wants(
    maximize: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = optuna.create_study(direction="maximize" if maximize else "minimize")
    distributions = {"good": FloatDistribution(0, 1), "bad": FloatDistribution(0, 1)}
    rng = random.Random(0)
    for _ in range(300):
        good, bad = rng.random(), rng.random()
        # What is good depends on the one, what is bad on the other.
        loss = -good if good > 0.9 else bad if bad > 0.9 else 0.0
        value = -loss if maximize else loss
        study.add_trial(
            optuna.create_trial(params={"good": good, "bad": bad}, distributions=distributions, value=value)
        )
    found: dict[str, float] = {}
    real = optuna.importance.get_param_importances
    monkeypatch.setattr(
        "optuna.importance.get_param_importances", lambda *given, **named: found.update(real(*given, **named)) or found
    )
    assert draw_importance(tmp_path / "x.png", study, Objective(MONITOR, maximize), "")
    assert found["good"] > 0.9, found
