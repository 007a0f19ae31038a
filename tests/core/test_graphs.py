"""Replayed work, against the same work done plainly: what is baked in, what follows, what is refused."""

from __future__ import annotations

import contextlib
import gc
import logging
import weakref

import pytest
import torch
from torch import Tensor, nn

from genlab.core.graphs import CudaGraph, Replayed, graphs_for
from genlab.core.recorded_graph import RecordedGraph


def test_there_are_no_graphs_on_a_cpu() -> None:
    assert graphs_for(torch.device("cpu")) is None


def test_a_capture_computes_nothing_and_a_replay_all() -> None:
    x, total = torch.arange(3.0), torch.zeros(3)
    generator = torch.Generator().manual_seed(0)
    before = torch.get_rng_state(), generator.get_state()

    def work() -> Tensor:
        total.add_(x)
        return (x * 2 + torch.rand(3) + torch.rand(3, generator=generator)).sum()

    graph = RecordedGraph([generator])
    result = graph.capture(work)
    assert not total.any()
    assert result.isnan(), "its values are those of the first replay"
    assert torch.equal(torch.get_rng_state(), before[0])
    assert torch.equal(generator.get_state(), before[1])
    for x_now in (torch.arange(3.0), torch.ones(3)):
        x.copy_(x_now)
        torch.manual_seed(1)
        generator.manual_seed(2)
        expected_total = total + x
        expected = work()
        total.copy_(expected_total - x)
        torch.manual_seed(1)
        generator.manual_seed(2)
        graph.replay()
        assert torch.equal(result, expected)
        assert torch.equal(total, expected_total)


def test_numbers_of_python_are_baked_in_and_those_in_tensors_are_not() -> None:
    x, in_a_tensor = torch.ones(2), torch.tensor(3.0)
    in_python = 3.0
    graph = RecordedGraph()
    result = graph.capture(lambda: x * in_python + in_a_tensor)
    in_python = 5.0
    in_a_tensor.fill_(10)
    graph.replay()
    assert result.tolist() == [13, 13]


def test_gradients_are_replayed_into_the_same_buffers() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 36, 2))
    x = torch.randn(5, 1, 8, 8)

    def work() -> Tensor:
        network.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
            loss = network(x).square().mean()
        loss.backward()
        return loss.detach()

    graph = RecordedGraph()
    mean = network[1].running_mean.clone()
    loss = graph.capture(work)
    buffers = [parameter.grad for parameter in network.parameters()]
    assert torch.equal(network[1].running_mean, mean)
    for _ in range(2):
        x.normal_()
        start = {name: value.clone() for name, value in network.state_dict().items()}
        graph.replay()
        replayed = [loss.clone(), *(buffer.clone() for buffer in buffers), network[1].running_mean.clone()]
        network.load_state_dict(start)
        plain = [work(), *(parameter.grad for parameter in network.parameters()), network[1].running_mean]
        for one, other in zip(replayed, plain, strict=True):
            assert torch.equal(one, other)


@pytest.mark.parametrize(
    "work",
    [
        lambda x: x * x.max().item(),
        lambda x: x[x > 1],
        lambda x: x.nonzero(),
        lambda x: torch.rand(2, generator=torch.Generator()),
        lambda x: x + torch.tensor([1.0]),
        lambda x: x + x.new_tensor(1.0),
        lambda x: x[[0, 1]],
        lambda x: torch.linalg.cholesky(x.diag() + torch.eye(4)),
    ],
    ids=[
        "a number",
        "a mask",
        "places",
        "a stranger's generator",
        "a list",
        "a new tensor",
        "a list of places",
        "a check",
    ],
)
def test_what_a_graph_cannot_hold_is_refused_without_a_trace(work) -> None:
    x, state = torch.arange(4.0), torch.get_rng_state()

    def changing() -> None:
        x.add_(torch.rand(4))
        work(x)

    with pytest.raises(RuntimeError, match="graph"):
        RecordedGraph().capture(changing)
    assert x.tolist() == [0, 1, 2, 3]
    assert torch.equal(torch.get_rng_state(), state)


def test_a_capture_that_fails_holds_no_tensor_of_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even until the next collection of garbage: what is done instead needs the room."""
    for name in ("current_stream", "set_stream"):
        monkeypatch.setattr(torch.cuda, name, lambda *_: None)
    graph = object.__new__(CudaGraph)  # all but what only a GPU can do
    vars(graph).update(_device=None, _pool=None, _graph=None, _generators=[])
    monkeypatch.setattr(CudaGraph, "_capturing", lambda *_: contextlib.nullcontext())
    for name in ("_end_allocation", "_end_capture_of_generators"):
        monkeypatch.setattr(CudaGraph, name, lambda *_: None)
    made: list[weakref.ref[Tensor]] = []

    def work() -> None:
        values = torch.zeros(2)
        made.append(weakref.ref(values))
        raise torch.OutOfMemoryError("no room")

    gc.disable()
    try:
        with pytest.raises(torch.OutOfMemoryError, match="no room") as raised:
            graph.capture(work)
        assert made[0]() is not None
        del raised
        assert made[0]() is None
    finally:
        gc.enable()


def test_a_replayed_function_follows_its_inputs_and_its_weights() -> None:
    calls: list[torch.Size] = []
    weight = torch.tensor([2.0])

    def function(x: Tensor, y: Tensor | None) -> dict[str, Tensor]:
        calls.append(x.shape)
        return {"value": x * weight if y is None else x * weight + y}

    replayed = Replayed(function, RecordedGraph, most=2)
    assert replayed(torch.ones(2), None)["value"].tolist() == [2, 2]
    captured = len(calls)
    weight.fill_(3)
    assert replayed(torch.full((2,), 5.0), None)["value"].tolist() == [15, 15]
    assert len(calls) == captured, "a call of known shape runs no Python"
    assert replayed(torch.ones(2), torch.ones(2))["value"].tolist() == [4, 4]
    for times in (1, 2):
        before = len(calls)
        assert replayed(torch.full((3,), float(times)), None)["value"].tolist() == [3 * times] * 3
        assert len(calls) == before + 1, "beyond the number of graphs kept, each call is the function's"


def test_a_function_that_cannot_be_captured_is_called_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    replayed = Replayed(lambda x: x * x.max().item(), RecordedGraph, name="doubling")
    with caplog.at_level(logging.WARNING, "genlab"):
        assert [replayed(torch.full((1,), value)).item() for value in (2.0, 3.0)] == [4, 9]
    assert len(caplog.messages) == 1
    assert "doubling" in caplog.text
