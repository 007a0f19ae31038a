"""Averaged weights and budgets, against arithmetic by hand."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from genlab.core.errors import Interrupted
from genlab.core.finite import FiniteGuard
from genlab.models.steps import Progress
from genlab.processes.signals import stoppable
from genlab.training.callbacks.budget import NEVER, Budget
from genlab.training.callbacks.counter_noise import CounterNoise
from genlab.training.callbacks.ema import EMA
from genlab.training.callbacks.log_metrics import LogMetrics
from genlab.training.callbacks.saving import SaveCheckpoints
from genlab.training.callbacks.stopping import SaveOnSignal


class Module(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([1.0]))
        self.register_buffer("constant", torch.tensor([5.0]))
        self.progress = Progress()


def step(ema: EMA, module: Module, value: float) -> None:
    module.weight.data.fill_(value)
    ema.on_train_batch_end(None, module, None, None, 0)


def test_the_average_is_the_recurrence() -> None:
    ema, module = EMA(decay=0.5), Module()
    ema.on_train_start(None, module)
    expected = 1.0
    for n, value in enumerate([3.0, -2.0, 10.0, 4.0, 0.5] * 4):
        step(ema, module, value)
        decay = min(0.5, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * value
    checkpoint: dict[str, Any] = {"state_dict": module.state_dict()}
    ema.on_save_checkpoint(None, module, checkpoint)
    assert checkpoint["state_dict"]["weight"].item() == pytest.approx(expected, rel=1e-6)
    assert checkpoint["state_dict"]["constant"].item() == 5.0
    assert checkpoint["current_model_state"]["weight"].item() == 0.5


def test_validation_sees_the_average_and_training_goes_on_from_the_trained_weights() -> None:
    ema, module = EMA(decay=0.9), Module()
    ema.on_train_start(None, module)
    ema.on_validation_epoch_start(None, module)
    assert module.weight.item() == 1.0, "before the first step the average is the starting weights"
    ema.on_validation_epoch_end(None, module)
    step(ema, module, 2.0)
    ema.on_validation_epoch_start(None, module)
    assert module.weight.item() == pytest.approx(0.1 * 1.0 + 0.9 * 2.0)
    ema.on_validation_epoch_end(None, module)
    assert module.weight.item() == 2.0


def test_a_saved_average_goes_on() -> None:
    def trained(ema: EMA, module: Module, values: list[float]) -> float:
        for value in values:
            step(ema, module, value)
        checkpoint: dict[str, Any] = {"state_dict": module.state_dict()}
        ema.on_save_checkpoint(None, module, checkpoint)
        return checkpoint["state_dict"]["weight"].item()

    whole, first, second = EMA(0.8), EMA(0.8), EMA(0.8)
    module = Module()
    whole.on_train_start(None, module)
    expected = trained(whole, module, [2.0, 4.0, 8.0])

    module = Module()
    first.on_train_start(None, module)
    trained(first, module, [2.0])
    checkpoint: dict[str, Any] = {"state_dict": module.state_dict()}
    first.on_save_checkpoint(None, module, checkpoint)
    resumed = Module()
    second.load_state_dict(first.state_dict())
    second.on_load_checkpoint(None, resumed, checkpoint)
    second.on_train_start(None, resumed)
    assert resumed.weight.item() == 2.0
    assert trained(second, resumed, [4.0, 8.0]) == expected


def batches(budget: Budget, count: int) -> list[tuple[float, bool, bool]]:
    """Fraction spent, whether a validation is due and whether to stop, after each batch."""
    trainer = SimpleNamespace(should_stop=False, val_check_batch=NEVER, world_size=1)
    budget._resumed_at = 0.0
    after = []
    for _ in range(count):
        budget.on_train_batch_end(trainer, None, None, None, 0)
        after.append((budget.progress.fraction, trainer.val_check_batch == 1, trainer.should_stop))
    return after


def test_a_budget_of_examples_validates_evenly_and_stops() -> None:
    budget = Budget(examples=100, minutes=None, validations=4, batch_size=10)
    after = batches(budget, 10)
    assert [fraction for fraction, _, _ in after] == pytest.approx([0.1 * i for i in range(1, 11)])
    assert [i + 1 for i, (_, due, _) in enumerate(after) if due] == [3, 5, 8, 10]
    assert [stop for _, _, stop in after] == [False] * 9 + [True]
    assert budget.stopped_by == "examples"


def test_whichever_is_spent_first_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(1, 100))
    monkeypatch.setattr("genlab.training.callbacks.budget.time.monotonic", lambda: 10.0 * next(clock))
    budget = Budget(examples=1000, minutes=1.0, validations=2, batch_size=10)
    after = batches(budget, 6)
    assert [round(fraction, 3) for fraction, _, _ in after] == [0.167, 0.333, 0.5, 0.667, 0.833, 1.0]
    assert after[-1][2]
    assert budget.stopped_by == "minutes"


def test_every_device_that_a_run_used_is_named() -> None:
    budget = Budget(examples=100, minutes=None, validations=1, batch_size=10)
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    for precision in ("bf16-mixed", "32-true", "32-true"):
        budget.on_train_start(SimpleNamespace(strategy=strategy, world_size=1, precision=precision), None)
    assert budget.hardware["precision"] == "bf16-mixed, then 32-true"
    assert ", then" not in budget.hardware["device"], "the same device again is named once"


def test_the_memory_of_a_training_on_a_gpu_is_that_of_its_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A validation forgets the peak, to learn what its own batches of samples take, as much as is free."""
    gpu = {"peak": 0}
    place = "genlab.training.callbacks.budget"
    monkeypatch.setattr(f"{place}.device_name", lambda *_: "a GPU")
    monkeypatch.setattr(f"{place}.peak_memory_bytes", lambda device: gpu["peak"])
    monkeypatch.setattr("torch.cuda.reset_peak_memory_stats", lambda device=None: gpu.update(peak=0))
    strategy = SimpleNamespace(root_device=torch.device("cuda"))
    trainer: Any = SimpleNamespace(strategy=strategy, world_size=1, precision="32-true")
    budget = Budget(examples=100, minutes=None, validations=2, batch_size=10)
    budget.on_train_start(trainer, None)
    for of_steps, of_validation in ((10, 70), (12, 80), (11, 0)):
        gpu["peak"] = of_steps
        budget.on_validation_start(trainer, None)
        torch.cuda.reset_peak_memory_stats()
        gpu["peak"] = of_validation
        budget.on_validation_end(trainer, None)
        budget.on_save_checkpoint(trainer, None, {})
    assert budget.hardware["peak_memory_bytes"] == 12


def test_writing_checkpoints_is_no_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def write(path: Path, weights_only: bool) -> None:
        nonlocal now
        now += 30

    monkeypatch.setattr("genlab.training.callbacks.budget.time.monotonic", lambda: now)
    trainer: Any = SimpleNamespace(
        strategy=SimpleNamespace(root_device=torch.device("cpu"), reduce_boolean_decision=lambda here, all: here),
        lightning_module=SimpleNamespace(guard=FiniteGuard()),
        save_checkpoint=write,
        **{"world_size": 1, "precision": "32-true", "should_stop": False, "val_check_batch": NEVER},
    )
    budget = Budget(examples=100, minutes=None, validations=1, batch_size=10)
    checkpoints = SaveCheckpoints(tmp_path, 1.0, budget)
    for callback in (budget, checkpoints):
        callback.on_train_start(trainer, None)
    for _ in range(2):
        now += 100
        for callback in (budget, checkpoints):
            callback.on_train_batch_end(trainer, None, {}, None, 0)
    assert (now, budget.progress.seconds) == (260, 200)


def test_noise_depends_on_seed_rank_and_step_alone() -> None:
    def drawn(seed: int, rank: int, step: int) -> float:
        torch.rand(17)  # whatever was drawn before
        module = Module()
        module.progress.batches = step
        strategy = SimpleNamespace(root_device=torch.device("cpu"))
        CounterNoise(seed).on_train_batch_start(SimpleNamespace(global_rank=rank, strategy=strategy), module, None, 0)
        return torch.rand(()).item()

    assert drawn(0, 0, 5) == drawn(0, 0, 5)
    assert len({drawn(0, 0, 5), drawn(1, 0, 5), drawn(0, 1, 5), drawn(0, 0, 6)}) == 4


@pytest.fixture
def training() -> Iterator[SaveOnSignal]:
    """Within `stoppable` and a fit, in which Lightning has installed a handler of its own."""
    with stoppable():
        callback = SaveOnSignal(None, None)
        callback.on_fit_start(None, None)
        signal.signal(signal.SIGTERM, lambda *_: pytest.fail("Lightning's handler came back"))
        callback.on_train_start(None, None)
        yield callback


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_after_the_last_validation_is_acted_upon(training: SaveOnSignal, signum: signal.Signals) -> None:
    os.kill(os.getpid(), signum)
    with pytest.raises(Interrupted, match=signum.name) as stopped:
        training.on_train_end(None, Module())
    assert (stopped.value.signum, stopped.value.together) == (signum, True)
    # What closes the run meanwhile is not cut short.
    os.kill(os.getpid(), signal.SIGTERM)


def test_of_two_processes_with_different_signals_both_leave_to_be_queued_again() -> None:
    told: list[torch.Tensor] = []

    def reduce(received: torch.Tensor, reduce_op: str) -> torch.Tensor:
        told.append(received)
        return torch.stack(told).max()

    strategy = SimpleNamespace(root_device=torch.device("cpu"), reduce=reduce)
    for received in (signal.SIGTERM, signal.SIGUSR2):
        callback = SaveOnSignal(None, None)
        callback._receive(received, None)
        with pytest.raises(Interrupted) as stopped:
            callback._leave(SimpleNamespace(strategy=strategy), Module())
    assert stopped.value.signum == signal.SIGUSR2


def test_a_signal_after_training_leaves_at_once(training: SaveOnSignal) -> None:
    training.on_train_end(None, Module())
    with pytest.raises(Interrupted) as stopped:
        os.kill(os.getpid(), signal.SIGTERM)
    assert not stopped.value.together


def test_a_thread_which_hears_no_signals_trains_too() -> None:
    def fit() -> None:
        callback = SaveOnSignal(None, None)
        callback.on_fit_start(None, None)
        callback.on_train_start(None, None)
        callback.on_train_end(None, None)

    with ThreadPoolExecutor(1) as pool:
        pool.submit(fit).result()


def test_a_part_that_only_some_batches_have_is_averaged_over_those() -> None:
    rows: list[dict[str, float]] = []
    logger = SimpleNamespace(log_metrics=lambda figures, step: rows.append(figures))
    optimizer = SimpleNamespace(param_groups=[{"lr": 0.1}])
    trainer: Any = SimpleNamespace(should_stop=False, loggers=[logger], optimizers=[optimizer], world_size=1)
    model: Any = SimpleNamespace(progress=Progress(), grad_norm=None, guard=FiniteGuard())
    metrics = LogMetrics(every=4)
    for number in range(8):
        parts = {"d_loss": torch.tensor(float(number))} | ({"g_loss": torch.tensor(6.0)} if number % 2 else {})
        model.progress.batches = number + 1
        metrics.on_train_batch_end(trainer, model, parts, None, number)
    assert [row["train/d_loss"] for row in rows] == [1.5, 5.5]
    assert [row["train/g_loss"] for row in rows] == [6.0, 6.0]


def test_a_row_that_a_checkpoint_cuts_is_the_row_of_a_run_that_went_on() -> None:
    def rows(cut_after: int | None) -> list[dict[str, float]]:
        found: list[dict[str, float]] = []
        logger = SimpleNamespace(log_metrics=lambda figures, step: found.append(figures))
        optimizer = SimpleNamespace(param_groups=[{"lr": 0.1}])
        strategy = SimpleNamespace(root_device=torch.device("cpu"))
        options = {"should_stop": False, "loggers": [logger], "optimizers": [optimizer], "world_size": 1}
        trainer: Any = SimpleNamespace(**options, strategy=strategy)
        model: Any = SimpleNamespace(progress=Progress(), grad_norm=None, guard=FiniteGuard())
        metrics, checkpoint = LogMetrics(every=4), {}
        metrics.on_train_start(trainer, model)
        for number, loss in enumerate([5.1, 3.3, 2.7, 0.1, 7.9, 1.3, 2.2, 9.4]):
            model.progress = Progress(examples=10 * (number + 1), batches=number + 1, seconds=number + 1.0)
            metrics.on_train_batch_end(trainer, model, {"loss": torch.tensor(loss)}, None, number)
            if number == cut_after:
                metrics.on_save_checkpoint(trainer, model, checkpoint)
                metrics = LogMetrics(every=4)
                metrics.on_load_checkpoint(trainer, model, checkpoint)
                metrics.on_train_start(trainer, model)
        return found

    whole = rows(None)
    assert [row["train/examples_per_second"] for row in whole] == [10.0, 10.0]
    assert all(rows(cut) == whole for cut in range(8))
