"""Searches over a function instead of trainings: plans, and a launcher that answers at once."""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from genlab.runs.metrics_csv import MetricsCsv
from genlab.sweeps.jobs import Job, Outcome
from genlab.sweeps.objectives import Objective
from genlab.sweeps.search import SearchPlan, open_study, run_search
from tests.comparison.results import finished

MONITOR = "val/bits_per_dim"
SPACE = {
    "lr": FloatDistribution(1e-4, 1e-1, log=True),
    "layers": IntDistribution(1, 6),
    "kind": CategoricalDistribution(["a", "b"]),
}
ONE_POINT = {"lr": "0.01", "layers": "4", "kind": "a"}


def plan(folder: Path, **changes: Any) -> SearchPlan:
    settings: dict[str, Any] = {
        "study": "test",
        "storage": f"sqlite:///{folder / 'study.db'}",
        "trials": 8,
        "objectives": (Objective(MONITOR),),
        "monitor": MONITOR,
        "sampler": "random",
        "pruner": "none",
        "seed": 0,
        "space": SPACE,
        "fixed": ("model=flow",),
        "validations": 10,
        "about": {"space": "the test's"},
    }
    return SearchPlan(**(settings | changes))


def bowl(parameters: Mapping[str, Any]) -> float:
    """Lowest, 1, at lr = 1e-2, layers = 4, kind = a."""
    penalty = 0.5 * (parameters["kind"] == "b")
    return 1 + (math.log10(parameters["lr"]) + 2) ** 2 + 0.1 * (parameters["layers"] - 4) ** 2 + penalty


def parameters_of(job: Job) -> dict[str, Any]:
    given = dict(override.split("=", 1) for override in job.overrides)
    return {"lr": float(given["lr"]), "layers": int(given["layers"]), "kind": given["kind"]}


class FakeLauncher:
    """Runs jobs in this process, one at a time.

    Args:
        folder: Where its runs leave their metrics.
        function: The objective; None for a job that fails.
        curve: Validation metrics reported before the end, by fraction of the budget.
        before: Called with each job before it runs.
    """

    def __init__(
        self,
        folder: Path,
        function: Callable[[Mapping[str, Any]], float | None] = bowl,
        curve: Callable[[Mapping[str, Any], float], float] | None = None,
        before: Callable[[Job], None] = lambda job: None,
    ) -> None:
        self.folder = folder
        self.function = function
        self.curve = curve
        self.before = before
        self.jobs: list[Job] = []

    def stream(self, jobs: Iterable[Job], watch: Any = None) -> Iterator[Outcome]:
        for job in jobs:
            self.jobs.append(job)
            self.before(job)
            yield self.run(job, watch)

    def run(self, job: Job, watch: Any) -> Outcome:
        log = self.folder / f"{job.number}.log"
        value = self.function(parameters_of(job))
        if value is None:
            return Outcome(job, 1, None, "It went wrong.", 0.1, log)
        for step in range(1, 11) if watch and self.curve else ():
            metrics = {MONITOR: self.curve(parameters_of(job), step / 10)}
            if watch(job, {"kind": "progress", "fraction": step / 10, "examples": step, "metrics": metrics}):
                return Outcome(job, 143, None, "Stopped.", 0.1, log, pruned=True)
        run = self.folder / "runs" / str(job.number)
        run.mkdir(parents=True, exist_ok=True)
        (run / "metrics.csv").unlink(missing_ok=True)
        MetricsCsv(run / "metrics.csv").log({MONITOR: value, "val/fid": 10 * value}, 100)
        result = finished(run, sampling__nfe=parameters_of(job)["layers"])
        return Outcome(job, 0, result, None, 0.1, log)


def search_once(made: SearchPlan, launcher: FakeLauncher, **times: int) -> None:
    with open_study(made, **times) as study:
        run_search(made, study, launcher.stream)


def trials_of(made: SearchPlan) -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name=made.study, storage=made.storage).trials


def main() -> None:
    """A search as a process of its own: ``python -m tests.sweeps.searching <url> <folder> <trials> <kill after>``.

    Each job leaves a file, which it must be the first to make unless its process was killed.
    """
    url, folder, trials, kill_after = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])

    def before(job: Job) -> None:
        (folder / f"begun-{job.number}-{os.getpid()}").touch(exist_ok=False)
        if len(launcher.jobs) == kill_after:
            os.kill(os.getpid(), signal.SIGKILL)
        # Long enough that two processes are in the study at the same time.
        deadline = time.monotonic() + 200
        while not (folder / "go").exists() and time.monotonic() < deadline:
            time.sleep(0.01)

    launcher = FakeLauncher(folder, before=before)
    search_once(plan(folder, storage=url, trials=trials), launcher)


if __name__ == "__main__":
    main()
