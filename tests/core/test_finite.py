"""The guard that reads a device's answers late."""

from __future__ import annotations

import pytest
import torch

from genlab.core import finite
from genlab.core.finite import Check, FiniteGuard, NonFiniteError, loss_check, zero_if_finite


def watch(guard: FiniteGuard, step: int, good: bool) -> None:
    guard.watch(Check(torch.tensor([good]), lambda answers: None if all(answers) else "bad"), lambda: f"step {step}")


def test_an_answer_that_is_there_is_read_at_once() -> None:
    guard = FiniteGuard()
    watch(guard, 1, True)
    with pytest.raises(NonFiniteError, match="step 2"):
        watch(guard, 2, False)


def test_a_late_answer_names_the_first_bad_step_and_is_no_later_than_the_lag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finite, "lag_on", lambda device: 3)
    guard = FiniteGuard()
    watch(guard, 1, True)
    for step in (2, 3, 4):
        watch(guard, step, False)  # what builds on a bad step is bad as well
    with pytest.raises(NonFiniteError, match="step 2"):
        watch(guard, 5, False)
    guard.settle()  # the answers of the steps after it say nothing new


def test_what_is_owed_is_read_before_something_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finite, "lag_on", lambda device: 3)
    guard = FiniteGuard()
    watch(guard, 1, True)
    guard.settle()
    watch(guard, 2, False)
    with pytest.raises(NonFiniteError, match="step 2"):
        guard.settle()


def test_checks_of_a_recorded_step_are_kept_for_its_replays() -> None:
    guard = FiniteGuard()
    with guard.collecting() as checks:
        watch(guard, 1, False)
    guard.settle()
    with pytest.raises(NonFiniteError, match="step 7: bad"):
        guard.watch(checks[0], lambda: "step 7")


def test_of_a_loss_that_is_not_finite_on_any_device_the_bad_parts_are_named() -> None:
    here = {"loss": torch.tensor(1.0), "kl": torch.tensor(2.0), "nll": torch.tensor(torch.inf)}
    there = {"loss": torch.tensor(torch.nan), "kl": torch.tensor(3.0), "nll": torch.tensor(4.0)}
    good, bad = loss_check(here, zero_if_finite(here)), loss_check(here, zero_if_finite(here) + zero_if_finite(there))
    assert good.explain(good.answers.tolist()) is None, "the loss itself is finite"
    assert bad.explain(bad.answers.tolist()) == "the loss is not finite (part: loss, nll)."
