"""Training steps that are recorded and replayed, against plain ones; a stand-in replaces CUDA's graphs."""

from __future__ import annotations

import gc
import logging
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from genlab.core.batch import Batch
from genlab.core.finite import NonFiniteError
from genlab.core.recorded_graph import RecordedGraph
from genlab.models.base import GenerativeModel
from genlab.models.steps import Progress
from genlab.training import captured_gradients, captured_step
from genlab.training.captured_gradients import CapturedGradients
from tests.contract.families import (
    BINARY,
    PLANE,
    SMALL_VAE,
    Case,
    make_batch,
    make_model,
)
from tests.training.steps import FAMILIES, VAE, Training, assert_same


class Counting(RecordedGraph):
    """Counts the replays of all graphs."""

    replays = 0

    def replay(self) -> None:
        Counting.replays += 1
        super().replay()


@pytest.fixture(autouse=True)
def no_replays_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Counting, "replays", 0)


@pytest.mark.parametrize("case", FAMILIES, ids=lambda case: case.id)
def test_replayed_steps_train_as_plain_ones_do(case: Case) -> None:
    """Batches, noise, learning rates and the spent budget differ from step to step."""
    plain, replayed = Training(make_model(case), None), Training(make_model(case), Counting)
    for training in (plain, replayed):
        training.steps(0, 7)
    assert Counting.replays == 4, "one is compared with the plain step, and the rest are the training"
    # Where the budget enters, it is a number in one and a tensor in the other.
    assert_same(replayed, plain, 1e-6 if "objective.kl_warmup=0.5" in case.overrides else 0.0)


def test_steps_that_a_graph_can_hold_are_those_that_others_take() -> None:
    """The optimizer of a graph rounds otherwise, and is no other."""
    held, usual = Training(make_model(VAE), None), Training(make_model(VAE), None)
    held.steps(0, 5)
    for number in range(5):
        usual.model.progress = Progress(6 * number, number, 0.5 * number, number / 20)
        torch.manual_seed(number)
        usual.optimizer.param_groups[0]["lr"] = 0.01 / (1 + number)
        usual.plain(make_batch(BINARY, 6, seed=number))
    for ours, theirs in zip(held.model.parameters(), usual.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_batch_of_another_shape_trains_plainly_in_between() -> None:
    plain, replayed = Training(make_model(VAE), None), Training(make_model(VAE), Counting)
    for training in (plain, replayed):
        training.steps(0, 5)
        training.steps(5, 7, size=3)
        training.steps(7, 9)
    assert Counting.replays == 4
    assert_same(replayed, plain)


def test_a_training_that_goes_on_elsewhere_is_the_same() -> None:
    whole, cut = Training(make_model(VAE), Counting), Training(make_model(VAE), Counting)
    whole.steps(0, 12)
    cut.steps(0, 6)
    resumed = Training(make_model(VAE), Counting)
    resumed.model.load_state_dict(cut.model.state_dict())
    resumed.optimizer.load_state_dict(cut.optimizer.state_dict())
    resumed.outputs, resumed.norms = cut.outputs, cut.norms
    resumed.counts.load_state_dict(cut.counts.state_dict())
    resumed.steps(6, 12)
    assert_same(resumed, whole)


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.WARNING, "genlab")
    return lambda: caplog.messages


def weighted(monkeypatch: pytest.MonkeyPatch, model: GenerativeModel, weight: Callable[[], float]) -> None:
    """Have a model weight its loss by a number of Python."""
    loss = model._loss
    monkeypatch.setattr(model, "_loss", lambda batch: {"loss": weight() * loss(batch)["loss"]})


@pytest.mark.parametrize("counts", ["examples", "batches", "seconds", "calls"])
def test_a_number_that_python_computes_at_each_step_is_noticed(
    counts: str, monkeypatch: pytest.MonkeyPatch, warnings: Callable[[], list[str]]
) -> None:
    """However little it changes from step to step."""
    trainings = Training(make_model(VAE), None), Training(make_model(VAE), Counting)
    for training in trainings:
        calls = iter(range(1000))
        number = (
            (lambda c=calls: next(c)) if counts == "calls" else lambda m=training.model: getattr(m.progress, counts)
        )
        slow = 0.1 if counts == "calls" else 1e-6
        weighted(monkeypatch, training.model, lambda n=number, s=slow: 1 + s * n())
        training.steps(0, 8)
    if counts != "calls":  # of which recording makes one more
        assert_same(trainings[1], trainings[0], 1e-5)
    (message,) = warnings()
    assert message.startswith("Steps of vae go on without CUDA graphs: a replayed step has another gradient of ")


def test_the_spent_budget_is_a_tensor_while_a_step_is_recorded(
    monkeypatch: pytest.MonkeyPatch, warnings: Callable[[], list[str]]
) -> None:
    training = Training(make_model(VAE), Counting)
    weighted(monkeypatch, training.model, lambda: 1 + float(training.model.progress.fraction))
    training.steps(0, 6)
    assert Counting.replays == 0
    assert "_local_scalar_dense" in warnings()[0]


def fails(error: Exception, at: str) -> Callable[..., RecordedGraph]:
    class Failing(Counting):
        def capture(self, work: Callable[[], Any]) -> Any:
            def failing() -> None:
                work()
                if at == "capture":
                    raise error

            return super().capture(failing if at == "capture" else work)

        def replay(self) -> None:
            super().replay()
            raise error

    return Failing


def test_an_optimizer_that_steps_by_a_number_of_python_is_noticed(
    monkeypatch: pytest.MonkeyPatch, warnings: Callable[[], list[str]]
) -> None:
    training = Training(make_model(VAE), Counting)
    step, made = training.optimizer.step, iter(range(100))

    def slower(*given: Any) -> None:
        step(*given)
        with torch.no_grad():
            torch._foreach_mul_(list(training.model.parameters()), 1 - 0.01 * next(made))

    monkeypatch.setattr(training.optimizer, "step", slower)
    training.steps(0, 4)
    assert warnings() == ["Steps of vae go on without CUDA graphs: a replayed step changes the weights otherwise."]


def test_a_step_that_replaces_a_tensor_is_not_recorded_and_keeps_it(
    monkeypatch: pytest.MonkeyPatch, warnings: Callable[[], list[str]]
) -> None:
    """A replay would begin with the first one each time."""
    plain, replayed = Training(make_model(VAE), None), Training(make_model(VAE), Counting)
    for training in (plain, replayed):
        training.model.register_buffer("mean_loss", torch.zeros(()))
        loss = training.model._loss

        def followed(batch: Batch, model: GenerativeModel = training.model, loss: Any = loss) -> dict[str, Tensor]:
            parts = loss(batch)
            model.mean_loss = 0.9 * model.mean_loss + 0.1 * parts["loss"].detach()
            return {**parts, "loss": parts["loss"] + 0.1 * model.mean_loss}

        monkeypatch.setattr(training.model, "_loss", followed)
        training.steps(0, 6)
    assert warnings() == [
        "Steps of vae go on without CUDA graphs: a step puts another tensor in the place of mean_loss."
    ]
    assert_same(replayed, plain, 1e-5)


def test_only_a_few_kinds_of_step_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, replayed = Training(make_model(VAE), None), Training(make_model(VAE), Counting)
    monkeypatch.setattr(captured_step, "MOST_KINDS", 2)
    monkeypatch.setattr(replayed.model, "step_kind", lambda: min(replayed.model.progress.batches // 4, 2))
    for training in (plain, replayed):
        training.steps(0, 14)
    assert Counting.replays == 2, "only comparisons: four steps of the two first kinds, and no graph of the third"
    assert_same(replayed, plain)


@pytest.mark.parametrize("at", ["capture", "replay"])
@pytest.mark.parametrize("error", [torch.OutOfMemoryError("no room"), ValueError("no graph\nat all")], ids=type)
def test_what_cannot_be_captured_goes_on_plainly_without_a_trace(
    at: str, error: Exception, warnings: Callable[[], list[str]]
) -> None:
    plain, replayed = Training(make_model(VAE), None), Training(make_model(VAE), fails(error, at))
    tried = {"capture": 3, "replay": 4}[at]
    plain.steps(0, tried)
    replayed.steps(0, tried)
    assert_same(replayed, plain)
    replayed.steps(tried, tried + 2)
    reason = str(error).splitlines()[0]
    assert warnings() == [f"Steps of vae go on without CUDA graphs: {reason}."], "once"
    assert all(state["step"].device.type == "cpu" for state in replayed.optimizer.state.values())


def test_a_plain_step_that_has_no_room_beside_a_graph_is_made_without_it(warnings: Callable[[], list[str]]) -> None:
    plain, replayed = Training(make_model(VAE), None), Training(make_model(VAE), Counting)
    plain.steps(0, 3)
    replayed.steps(0, 3)
    step, full = replayed.plain, [True]

    def crowded(batch: Batch) -> dict[str, Tensor]:
        parts = step(batch)
        if full and full.pop():
            raise torch.OutOfMemoryError("no room")
        return parts

    replayed.plain = crowded
    replayed.steps(3, 4)
    plain.steps(3, 4)
    assert_same(replayed, plain, 1e-6)  # the usual optimizer's
    assert warnings() == ["Steps of vae go on without CUDA graphs: no room."]


@pytest.fixture
def no_collector() -> Iterator[None]:
    """What only a cycle keeps alive stays."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("call", [3, 4], ids=["recorded", "compared"])
def test_what_a_step_without_room_took_is_given_back_before_the_next(
    call: int, no_collector: None, monkeypatch: pytest.MonkeyPatch, warnings: Callable[[], list[str]]
) -> None:
    """Or there were no room for that one either."""
    taken: weakref.WeakSet[Any] = weakref.WeakSet()

    class Noted(RecordedGraph):
        def __init__(self) -> None:
            super().__init__()
            taken.add(self)

    class State(captured_step._State):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            taken.add(self)

    monkeypatch.setattr(captured_step, "_State", State)
    training = Training(make_model(VAE), Noted)
    step, left = training.plain, []

    def crowded(batch: Batch) -> dict[str, Tensor]:
        if len(left) == call:
            parts = step(batch)
            taken.add(parts["loss"])
            left.append(len(taken))
            raise torch.OutOfMemoryError("no room")
        left.append(len(taken))
        return step(batch)

    training.plain = crowded
    training.steps(0, call + 1)
    assert left[call] > 0
    assert left[call + 1 :] == [0] * (call - 2)
    assert warnings() == ["Steps of vae go on without CUDA graphs: no room."]


def test_gradients_of_a_step_without_room_are_no_part_of_those_of_the_next_try(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one device of several, whose optimizer has set them to zero before, once."""
    monkeypatch.setattr(captured_gradients.distributed, "all_reduce", lambda *_: None)
    monkeypatch.setattr(captured_gradients.distributed, "get_world_size", lambda: 1)
    model, full = make_model(VAE), [True]
    captured = CapturedGradients(model, RecordedGraph, 1e-5)

    def local(batch: Batch) -> dict[str, Tensor]:
        parts = model.training_step(batch, 0)
        parts["loss"].backward()
        return {name: value.detach() for name, value in parts.items()}

    def crowded(batch: Batch) -> dict[str, Tensor]:
        parts = local(batch)
        if full.pop():
            raise torch.OutOfMemoryError("no room")
        return parts

    found = []
    for number, plain in enumerate([local, local, local, crowded]):
        full = [False, True]
        for train in (local, lambda batch, plain=plain: captured.train(batch, plain)):
            model.zero_grad()
            torch.manual_seed(number)
            train(make_batch(BINARY, 6, seed=number))
            found.append({name: parameter.grad.clone() for name, parameter in model.named_parameters()})
        torch.testing.assert_close(found[-1], found[-2], rtol=0, atol=0)
    assert full == []
    assert captured.stopped


def test_a_step_that_is_not_finite_is_no_fault_of_the_graph(
    monkeypatch: pytest.MonkeyPatch, warnings: Callable[[], list[str]]
) -> None:
    """Where the answers come late it is compared with its replay before the run ends."""
    monkeypatch.setattr("genlab.core.finite.lag_on", lambda device: 8)
    training = Training(make_model(Case("vae", PLANE, SMALL_VAE)), Counting)
    training.steps(0, 3)
    training.captured.train(Batch(torch.full((6, 2), torch.inf), make_batch(PLANE, 6).y), training.plain)
    assert warnings() == [
        "Steps of vae go on without CUDA graphs: the plain step that it is compared with is not finite."
    ]
    with pytest.raises(NonFiniteError, match="the loss is not finite"):
        training.model.guard.settle()


def test_a_number_that_is_not_finite_in_a_replayed_step_names_the_step() -> None:
    case = Case("vae", PLANE, SMALL_VAE)
    training = Training(make_model(case), Counting)
    training.steps(0, 6)
    training.model.progress = Progress(36, 6)
    with pytest.raises(NonFiniteError, match=r"at step 7 \(36 examples seen\): the loss is not finite \(part: "):
        training.captured.train(Batch(torch.full((6, 2), torch.inf), make_batch(PLANE, 6).y), training.plain)


def test_a_step_that_is_taken_back_takes_back_what_a_device_without_a_number_drew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gpu = torch.Generator()
    monkeypatch.setattr(torch.cuda, "default_generators", (gpu,))
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    state = captured_step._State({}, torch.device("cuda"))
    drawn = torch.rand(2, generator=gpu)
    state.restore()
    assert torch.equal(torch.rand(2, generator=gpu), drawn)
