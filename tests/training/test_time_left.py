"""The time left that is told of a whole run, against what the run then takes; by a clock that only the test turns."""

from __future__ import annotations

import io
import random
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console

from genlab.core.finite import FiniteGuard
from genlab.core.timetable import Phase, Timetable
from genlab.data.images import Digits
from genlab.processes.display import Display
from genlab.training.callbacks.budget import NEVER, Budget
from genlab.training.callbacks.display import ShowProgress

EVALUATION = {"likelihood": (10_000, 90.0), "samples": (1_000, 25.0), "features": (70_000, 45.0), "floor": (1, 12.0)}
"""Units and seconds of each phase."""


class Foresight:
    """Knows what follows, and foretells it a little wrong."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.rehearsals = 0

    def evaluation(self, *_: object, twice: bool) -> list[Phase]:
        return [Phase(name, units) for name, (units, _) in EVALUATION.items()]

    def rehearse(self, trainer: object, model: object, timetable: Timetable, training_seconds: float) -> None:
        self.rehearsals += 1
        self.run.turn(4.0)
        for name, (units, seconds) in EVALUATION.items():
            timetable.foretell(name, units, 1.1 * seconds)
        if "validating" not in timetable.known():
            timetable.foretell("validating", 1, 0.8 * self.run.validation)


class Run:
    """A run whose steps, validations and evaluation take what is given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, step: float, validation: float, **budget: Any) -> None:
        self.now, self.step, self.validation = 500.0, step, validation
        self.random = random.Random(0)
        monkeypatch.setattr("genlab.training.callbacks.budget.time.monotonic", lambda: self.now)
        self.timetable = Timetable(lambda: self.now)
        self.display = Display(self.timetable, Console(file=io.StringIO()))
        self.budget = Budget(**budget, batch_size=10)
        self.foresight = Foresight(self)
        metrics, saving = SimpleNamespace(latest={}), SimpleNamespace(last_is_best=True)
        self.show = ShowProgress(self.budget, metrics, saving, self.display, self.foresight)
        self.budget.hardware["peak_memory_bytes"] = 0
        alone = {"reduce_boolean_decision": lambda here, all: here, "barrier": lambda: None}
        self.strategy: Any = SimpleNamespace(**alone, root_device=torch.device("cpu"))
        options = {"is_global_zero": True, "world_size": 1, "should_stop": False, "val_check_batch": NEVER}
        self.trainer: Any = SimpleNamespace(**options, strategy=self.strategy, datamodule=None)
        self.model: Any = SimpleNamespace(
            monitor="val/fid", progress=self.budget.progress, guard=FiniteGuard(), spec=Digits.spec
        )
        self.told: list[tuple[float, float, float | None]] = []

    def turn(self, seconds: float) -> None:
        self.now += seconds

    def train(self, until: float = 1.0) -> None:
        self.budget._resumed_at = self.now - self.budget.progress.seconds
        self.show.on_train_start(self.trainer, self.model)
        first = True
        while self.budget.progress.fraction < until:
            self.turn((20 if first else 1) * self.step * self.random.uniform(0.7, 1.3))
            first = False
            for callback in (self.budget, self.show):
                callback.on_train_batch_end(self.trainer, self.model, {}, None, 0)
            if self.trainer.val_check_batch == 1:
                self.validate()
            self.told.append((self.now, self.budget.progress.fraction, self.timetable.left()))

    def validate(self) -> None:
        for callback in (self.budget, self.show):
            callback.on_validation_start(self.trainer, self.model)
        with self.timetable.apart():
            self.turn(17.0 * (self.show.validating.done == 0))  # features of real examples, once
        self.turn(self.validation * self.random.uniform(0.9, 1.1))
        for callback in (self.budget, self.show):
            callback.on_validation_end(self.trainer, self.model)

    def evaluate(self) -> None:
        for name, (units, seconds) in EVALUATION.items():
            with self.timetable.phase(name, units):
                for _ in range(10):
                    self.turn(seconds / 10)
                    self.timetable.advance(units / 10)
                    self.told.append((self.now, 1.0, self.timetable.left()))

    def worst(self) -> float:
        """The largest relative error of what was told since a tenth of the training; the last seconds aside."""
        errors = [
            abs(left - (self.now - at)) / (self.now - at) if left is not None else float("inf")
            for at, fraction, left in self.told
            if fraction > 0.1 and self.now - at > 5
        ]
        return max(errors)


BUDGETS: dict[str, dict[str, Any]] = {
    "by examples": {"examples": 20_000, "minutes": None, "validations": 10},
    "by minutes": {"examples": None, "minutes": 12.0, "validations": 10},
    "by examples, before the minutes": {"examples": 20_000, "minutes": 100.0, "validations": 10},
    "by minutes, before the examples": {"examples": 200_000, "minutes": 8.0, "validations": 10},
    "with few validations": {"examples": 20_000, "minutes": None, "validations": 2},
    "with one validation": {"examples": 20_000, "minutes": None, "validations": 1},
}


@pytest.mark.parametrize("budget", BUDGETS.values(), ids=BUDGETS)
@pytest.mark.parametrize(("step", "validation"), [(0.3, 40.0), (0.5, 2.0), (0.2, 90.0)])
def test_time_left_is_true_within_a_fifth_once_a_tenth_is_trained(
    monkeypatch: pytest.MonkeyPatch, budget: dict[str, Any], step: float, validation: float
) -> None:
    run = Run(monkeypatch, step, validation, **budget)
    run.train()
    run.evaluate()
    assert run.worst() < 0.2
    assert run.foresight.rehearsals == 2


def test_a_run_that_goes_on_knows_what_its_first_start_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    budget = BUDGETS["by examples"]
    first = Run(monkeypatch, 0.3, 40.0, **budget)
    first.train(until=0.6)
    second = Run(monkeypatch, 0.3, 40.0, **budget)
    second.budget.progress = first.budget.progress
    second.show.load_state_dict(first.show.state_dict())
    second.train()
    second.evaluate()
    assert second.told[0][2] is not None, "from the first step on"
    assert second.worst() < 0.2
    assert second.display.elapsed == pytest.approx(first.display.elapsed + second.now - 500.0)


def test_a_run_that_goes_on_from_a_checkpoint_without_paces_learns_them(monkeypatch: pytest.MonkeyPatch) -> None:
    first = Run(monkeypatch, 0.3, 40.0, **BUDGETS["by examples"])
    first.train(until=0.6)
    second = Run(monkeypatch, 0.3, 40.0, **BUDGETS["by examples"])
    second.budget.progress = first.budget.progress
    second.train()
    second.evaluate()
    assert second.foresight.rehearsals == 1
    assert max(abs(left - (second.now - at)) / (second.now - at) for at, _, left in second.told[200:-2]) < 0.2


def test_what_is_not_training_does_not_spend_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, 0.3, 40.0, **BUDGETS["by minutes"])
    run.train()
    assert run.budget.progress.seconds == pytest.approx(12.0 * 60, abs=0.5)


def test_until_the_evaluation_is_rehearsed_no_time_is_told_that_leaves_it_out(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, 0.3, 40.0, **BUDGETS["by examples"])
    run.train(until=0.015)
    assert run.timetable.left() is None
    assert run.timetable.left_of_phase() == pytest.approx(0.985 * 20_000 / 10 * 0.3, rel=0.1)
