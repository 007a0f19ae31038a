"""The search: each trial once and in all as many as asked for, whatever fails, is killed or is pruned."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState

from genlab.core.errors import GenlabError
from genlab.measure.finished_run import FinishedRun
from genlab.runs.locks import IN_USE, RunLock
from genlab.runs.metrics_csv import MetricsCsv
from genlab.sweeps.jobs import Job, Outcome
from genlab.sweeps.objectives import Objective, parse_objectives, values_of
from genlab.sweeps.search import SAMPLERS, open_study, override_of
from genlab.sweeps.shared_study import INTERRUPTIONS, MOST_INTERRUPTIONS
from genlab.sweeps.study_plots import draw_importance
from tests.comparison.results import finished
from tests.sweeps.searching import MONITOR, ONE_POINT, FakeLauncher, bowl, parameters_of, plan, search_once, trials_of


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


@pytest.mark.parametrize("bad", [None, math.nan, math.inf, "raises"], ids=["fails", "nan", "infinite", "no metrics"])
def test_a_trial_that_fails_counts_and_ends_nothing(bad: object, tmp_path: Path) -> None:
    class Launcher(FakeLauncher):
        def run(self, job, watch):  # type: ignore[no-untyped-def]
            outcome = super().run(job, watch)
            if bad == "raises" and job.number % 2:
                (outcome.finished.place.path / "metrics.csv").unlink()
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


def test_a_run_that_is_still_in_use_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The jobs of a search that was stopped may still be saving, or go on in a cluster, when it is started again."""
    monkeypatch.setattr("genlab.sweeps.search.FIRST_PAUSE", 0.0)
    with RunLock(tmp_path / "run.lock"), pytest.raises(GenlabError) as busy:
        RunLock(tmp_path / "run.lock").acquire()
    refused = MOST_INTERRUPTIONS + 2
    starts = iter([2] * refused)

    class Launcher(FakeLauncher):
        def run(self, job, watch):  # type: ignore[no-untyped-def]
            if code := next(starts, 0):
                return Outcome(job, code, None, str(busy.value), 0.1, self.folder / "log")
            return super().run(job, watch)

    made, launcher = plan(tmp_path, trials=1), Launcher(tmp_path)
    search_once(made, launcher)
    assert len(launcher.jobs) == refused + 1
    assert [trial.state for trial in trials_of(made)] == [TrialState.COMPLETE]


def test_a_job_that_is_interrupted_again_and_again_fails(tmp_path: Path) -> None:
    class Launcher(FakeLauncher):
        def run(self, job, watch):  # type: ignore[no-untyped-def]
            return Outcome(job, 143, None, "Stopped.", 0.1, self.folder / "log")

    made, launcher = plan(tmp_path, trials=1), Launcher(tmp_path)
    search_once(made, launcher)
    assert len(launcher.jobs) == MOST_INTERRUPTIONS + 1
    assert {trial.state for trial in trials_of(made)} == {TrialState.FAIL}


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
    rows = MetricsCsv(tmp_path / "metrics.csv")
    for examples, bits, fid in ((1, 3.0, 9.0), (2, math.nan, 1.0), (3, 2.0, 7.0), (4, 2.5, 5.0)):
        rows.log({MONITOR: bits, "val/fid": fid}, examples)
        rows.log({"train/loss": 1.0}, examples)
    run = FinishedRun.of(finished(tmp_path, sampling__nfe=35, sampling__ms_per_sample=None))
    objectives = (Objective("val/fid"), Objective("sampling.nfe"))
    assert values_of(run, objectives, MONITOR) == [7.0, 35.0]
    with pytest.raises(GenlabError, match="val/recall"):
        values_of(run, (Objective("val/recall", True),), MONITOR)
    with pytest.raises(GenlabError, match="ms_per_sample is not known: not measured"):
        values_of(run, (Objective("sampling.ms_per_sample"),), MONITOR)


def test_a_metric_is_read_at_the_checkpoint_that_the_family_of_the_trial_chose(tmp_path: Path) -> None:
    """In a search over families the monitor is that of one of them."""
    rows = MetricsCsv(tmp_path / "metrics.csv")
    for examples, fid in ((1, 9.0), (2, 5.0), (3, 7.0)):
        rows.log({"val/fid": fid}, examples)
    run = FinishedRun.of(finished(tmp_path, training__chosen_by="val/fid"))
    assert values_of(run, (Objective("val/fid"),), MONITOR) == [5.0]


def test_objectives_are_of_validation() -> None:
    assert parse_objectives(None, "val/fid") == (Objective("val/fid"),)
    assert parse_objectives(["val/fid", "val/recall"], "val/fid")[1].direction == "maximize"
    for wrong in (["likelihood.bits_per_dim"], ["test/fid"], ["sampling.nfe"], [], ["val/fid"] * 2, ["val/fidd"]):
        with pytest.raises(GenlabError, match=r"hydra\.sweeper\.objective"):
            parse_objectives(wrong, "val/fid")


@pytest.mark.parametrize(
    "change",
    [{"sampler": "tpee"}, {"pruner": "x"}, {"trials": 0}, {"trials": None}, {"seed": -1}, {"space": {}}],
    ids=str,
)
def test_a_plan_that_means_nothing_is_refused(change: dict, tmp_path: Path) -> None:
    with pytest.raises(GenlabError):
        plan(tmp_path, **change)


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
