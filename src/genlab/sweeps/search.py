"""A search: claims trials from a shared study, runs them as jobs, prunes hopeless ones, records how each ended."""

from __future__ import annotations

import hashlib
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import Trial, TrialState

from genlab.core.errors import GenlabError, nearest
from genlab.core.secrets import redact_text
from genlab.measure.finished_run import FinishedRun
from genlab.runs.locks import IN_USE
from genlab.sweeps.jobs import Job, Outcome
from genlab.sweeps.objectives import Objective, values_of
from genlab.sweeps.shared_study import SharedStudy

__all__ = ["PRUNERS", "SAMPLERS", "SearchPlan", "open_study", "override_of", "run_search"]

Watch = Callable[[Job, Mapping[str, Any]], bool]
Stream = Callable[[Iterable[Job], Watch | None], Iterable[Outcome]]

TWIN_SECONDS = 2.0
"""Between two looks whether the run of a trial is free."""

FIRST_PAUSE, LONGEST_PAUSE = 2.0, 300.0
"""Seconds before a trial is tried again whose run is in use by nobody that the study knows, such as a job of an
earlier start in a cluster's queue. Each time that is twice as long."""

_STOPPED = {130, 143}
"""Exit codes of a job that SIGINT or SIGTERM ended, after it saved its checkpoint."""

SAMPLERS: dict[str, Callable[[int], optuna.samplers.BaseSampler]] = {
    "tpe": lambda seed: optuna.samplers.TPESampler(seed=seed),
    "gp": lambda seed: optuna.samplers.GPSampler(seed=seed),
    "nsgaii": lambda seed: optuna.samplers.NSGAIISampler(seed=seed),
    "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
}
"""Samplers by name, made from a seed."""

PRUNERS: dict[str, Callable[[int], optuna.pruners.BasePruner]] = {
    # Before three tenths of the budget curves cross too often, and the learning rate still warms up.
    "median": lambda validations: optuna.pruners.MedianPruner(5, n_warmup_steps=math.ceil(0.3 * validations)),
    # The best third goes on after a tenth, three tenths and nine tenths of the budget (with ten validations).
    "successive_halving": lambda validations: optuna.pruners.SuccessiveHalvingPruner(
        min_resource=max(1, round(0.1 * validations)), reduction_factor=3
    ),
    "none": lambda validations: optuna.pruners.NopPruner(),
}
"""Pruners by name, made from the number of validations in a run. Their resource is the validation's number."""


@dataclass(frozen=True)
class SearchPlan:
    """What a search does.

    Attributes:
        study: Name of the study.
        storage: SQLAlchemy's address of its database; may hold a password, so it is never shown.
        trials: Trials in all, over all processes and starts.
        objectives: One or two.
        monitor: The metric by which a run chooses its checkpoint.
        sampler: A name in `SAMPLERS`.
        pruner: A name in `PRUNERS`.
        seed: Of the sampler.
        space: Distribution of each parameter by its key.
        fixed: Overrides that all trials have.
        validations: Validations in a run.
        about: What the study searches, as plain values.
        written: How an argument names a parameter, where that is not its key: ``+key`` of one that is new.
        measured_by: Overrides that its trials have beside all others, and no recipe: by them they measure validation.
    """

    study: str
    storage: str
    trials: int
    objectives: tuple[Objective, ...]
    monitor: str
    sampler: str
    pruner: str
    seed: int
    space: Mapping[str, BaseDistribution]
    fixed: tuple[str, ...]
    validations: int
    about: Mapping[str, Any]
    written: Mapping[str, str] = field(default_factory=dict)
    measured_by: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for key, value, known in (("sampler", self.sampler, SAMPLERS), ("pruner", self.pruner, PRUNERS)):
            if value not in known:
                raise GenlabError(
                    f"hydra.sweeper.{key} is '{value}', expected {', '.join(known)}.{nearest(str(value), known)}"
                )
        for key, value, least in (("trials", self.trials, 1), ("seed", self.seed, 0)):
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise GenlabError(f"hydra.sweeper.{key} is {value!r}, expected a whole number >= {least}.")
        if not self.space:
            raise GenlabError(
                "There is nothing to search: choose search=<family>, or give keys a space, such as "
                "'model.lr=tag(log, interval(1e-4, 1e-2))'."
            )

    @property
    def prunes(self) -> bool:
        """Whether trials are judged while they run: by one validation metric."""
        return self.pruner != "none" and len(self.objectives) == 1

    def overrides(self, parameters: Mapping[str, Any]) -> tuple[str, ...]:
        """Return a trial's settings as arguments: what all runs of the search have, and its parameters."""
        own = (override_of(self.written.get(key, key), parameters[key]) for key in self.space)
        return (*self.fixed, *own)


def open_study(plan: SearchPlan, **times: int) -> SharedStudy:
    """Open the study of a plan; see `SharedStudy`.

    Args:
        plan: What the search does.
        **times: Seconds between heartbeats and until a silent process counts as dead.
    """

    def make_sampler(number: int) -> optuna.samplers.BaseSampler:
        digest = hashlib.sha256(f"{plan.seed} {number}".encode()).digest()
        return SAMPLERS[plan.sampler](int.from_bytes(digest[:4], "big"))

    pruner = PRUNERS[plan.pruner if plan.prunes else "none"](plan.validations)
    directions = [objective.direction for objective in plan.objectives]
    return SharedStudy(
        plan.storage, plan.study, directions, plan.space, plan.trials, make_sampler, pruner, plan.about, **times
    )


def override_of(key: str, value: Any) -> str:
    """Return a parameter as an argument: exactly, so that the same value is the same run."""
    return f"{key}={value if isinstance(value, str) else repr(value)}"


def run_search(plan: SearchPlan, study: SharedStudy, stream: Stream) -> None:
    """Run trials until the study has all of them, or the others are in work elsewhere.

    Args:
        plan: What the search does.
        study: From `open_study`.
        stream: Runs jobs, each taken when there is room for it, and yields how they ended.
    """
    _Search(plan, study).run(stream)


class _Search:
    def __init__(self, plan: SearchPlan, study: SharedStudy) -> None:
        self.plan = plan
        self.study = study
        self.running: dict[int, Trial] = {}
        self.judged: dict[int, int] = {}
        self.released = False
        self.waiting: dict[int, Trial] = {}  # ours, whose run another process trains
        self.refusals: Counter[int] = Counter()
        self.due: dict[int, float] = {}
        self.ahead: Trial | None = None

    def run(self, stream: Stream) -> None:
        again = True
        while again:
            self.released = False
            for outcome in stream(self.jobs(), self.watch if self.plan.prunes else None):
                self.record(outcome)
            while self.waiting and self.ahead is None:
                if (trial := self._next()) is None:
                    time.sleep(TWIN_SECONDS)
                self.ahead = trial
            again = self.released or self.ahead is not None

    def _next(self) -> Trial | None:
        if self.ahead is not None:
            ahead, self.ahead = self.ahead, None
            return ahead
        for number, trial in list(self.waiting.items()):  # joblib asks from another thread
            if time.monotonic() >= self.due[number] and not self._has_twin(trial):
                return self.waiting.pop(number)
        return self.study.claim()

    def _has_twin(self, trial: Trial) -> bool:
        """Whether an earlier trial in work has the same parameters: the same run, which one process trains at a time.

        Of an earlier one alone, so that no two wait for each other.
        """
        earlier = self.study.trials()[: trial.number]
        return any(other.state is TrialState.RUNNING and other.params == trial.params for other in earlier)

    def _put_off(self, trial: Trial) -> None:
        """Keep a trial whose run is in use: by a process that lives, since the lock would end with it."""
        number = trial.number
        pause = 0.0 if self._has_twin(trial) else FIRST_PAUSE * 2 ** min(self.refusals[number], 10)
        self.refusals[number] += 1
        self.due[number] = time.monotonic() + min(pause, LONGEST_PAUSE)
        self.waiting[number] = trial

    def jobs(self) -> Iterator[Job]:
        while (trial := self._next()) is not None:
            self.running[trial.number] = trial
            self.judged[trial.number] = self.study.last_step(trial)
            yield Job(trial.number, (*self.plan.overrides(trial.params), *self.plan.measured_by))

    def watch(self, job: Job, report: Mapping[str, Any]) -> bool:
        trial = self.running[job.number]
        value = (report.get("metrics") or {}).get(self.plan.objectives[0].name)
        # Budgets may be spent in unequal steps, but validations are numbered alike in all trials.
        step = int(report.get("fraction", 0.0) * self.plan.validations + 1e-9)
        if value is None or step <= self.judged[job.number]:
            return False
        self.judged[job.number] = step
        return self.study.report(trial, float(value), step)

    def record(self, outcome: Outcome) -> None:
        trial = self.running.pop(outcome.job.number)
        if outcome.code != 0 and IN_USE in (outcome.error or "") and not outcome.stopped:
            self._put_off(trial)
            return
        if outcome.stopped or (not outcome.pruned and outcome.code in _STOPPED):
            self.study.release(trial, asked=outcome.stopped)
            self.released = not outcome.stopped
            return
        facts: dict[str, Any] = {"seconds": round(outcome.seconds, 1), "log": str(outcome.log)}
        finished = outcome.finished
        if finished is not None:
            facts["run_dir"] = str(finished.place.path)
            facts["code"] = [code.as_dict() for code in finished.result.trained_by]
        if outcome.pruned and outcome.code != 0:
            self.study.finish(trial, None, TrialState.PRUNED, **facts)
            return
        values, error = self._values(outcome, finished)
        if values is None:
            self.study.finish(trial, None, TrialState.FAIL, error=redact_text(error), **facts)
        else:
            self.study.finish(trial, values, TrialState.COMPLETE, **facts)

    def _values(self, outcome: Outcome, finished: FinishedRun | None) -> tuple[list[float] | None, str]:
        if outcome.code != 0 or finished is None:
            ended = outcome.signal_name or f"exit code {outcome.code}"
            return None, outcome.error or f"Ended by {ended} without a result."
        try:
            return values_of(finished, self.plan.objectives, self.plan.monitor), ""
        except (GenlabError, OSError, ValueError) as error:
            return None, str(error)
