"""When a function is replayed, what is said where it cannot be, and buffers at a place."""

from __future__ import annotations

import weakref

import pytest
import torch
from torch import Tensor

from genlab.core.graphs import Replayed
from genlab.core.recorded_graph import RecordedGraph
from genlab.core.replaying import KeptGraphs, Places, kept, places, replayed
from tests.replaying import recorded_graphs

CPU = torch.device("cpu")


def double(x: Tensor) -> Tensor:
    return 2 * x


@torch.no_grad()
def test_on_a_cpu_a_function_is_itself() -> None:
    assert replayed(double, CPU, 100, "doubling") is double
    assert list(places(3, CPU)) == [0, 1, 2]


def test_what_is_called_rarely_or_has_gradients_is_not_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genlab.core.replaying.graphs_for", lambda device: RecordedGraph)
    with torch.no_grad():
        assert isinstance(replayed(double, CPU, 100, "doubling"), Replayed)
        assert replayed(double, CPU, 2, "doubling") is double
    assert replayed(double, CPU, 100, "doubling") is double


@torch.no_grad()
def test_results_stay_when_the_next_call_comes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with recorded_graphs(monkeypatch, caplog) as graphs:
        function = replayed(double, CPU, 100, "doubling")
        first, second = function(torch.ones(2)), function(torch.zeros(2))
    assert (first.tolist(), second.tolist(), len(graphs)) == ([2, 2], [0, 0], 1)


@torch.no_grad()
def test_what_cannot_be_captured_is_tried_and_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def reads(x: Tensor) -> Tensor:
        return x * x.sum().item()

    monkeypatch.setattr("genlab.core.replaying.graphs_for", lambda device: RecordedGraph)
    monkeypatch.setattr("genlab.core.replaying._refused", set())
    for _ in range(3):
        function = replayed(reads, CPU, 100, "reading")
        assert [function(torch.ones(2)).tolist() for _ in range(2)] == [[2, 2], [2, 2]]
    assert function is reads
    assert [record.message.split(":")[0] for record in caplog.records] == ["Without a CUDA graph for reading"]


@torch.no_grad()
def test_what_has_no_room_as_a_graph_is_computed_once_its_memory_is_given_back(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And tried again elsewhere, where a smaller batch may fit."""
    taken: weakref.WeakSet[Tensor] = weakref.WeakSet()
    left: list[int] = []

    def large(x: Tensor) -> Tensor:
        left.append(len(taken))
        values = 2 * x
        if len(left) % 5 == 4:  # after three warm-ups
            taken.add(values)
            raise torch.OutOfMemoryError("no room")
        return values

    monkeypatch.setattr("genlab.core.replaying.graphs_for", lambda device: RecordedGraph)
    monkeypatch.setattr("genlab.core.replaying._refused", set())
    for _ in range(2):
        function = replayed(large, CPU, 100, "a large batch")
        assert function(torch.ones(2)).tolist() == [2, 2]
    assert left == [0] * 10
    assert caplog.messages == ["Without a CUDA graph for a large batch: no room"] * 2


class Scaled:
    """A model of one weight."""

    def __init__(self) -> None:
        self.weight = torch.tensor(2.0)

    def times(self, x: Tensor) -> Tensor:
        return self.weight * x


@torch.no_grad()
def test_graphs_are_kept_for_the_batches_of_an_evaluation_and_no_longer(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model, found = Scaled(), []

    def evaluate(sizes: list[int]) -> None:
        graphs = KeptGraphs()
        for number, size in enumerate(sizes):
            with graphs.batch(sizes[number:].count(size)):
                found.extend(kept(model.times, CPU, 1, "the product")(torch.ones(size)).tolist())

    with recorded_graphs(monkeypatch, caplog, fewest_calls=3) as graphs:
        evaluate([2, 2, 2, 1])
        assert len(graphs) == 1, "the last batch is one of a kind"
        model.weight = torch.tensor(3.0)  # as training, or other weights, between evaluations
        evaluate([2, 2, 2, 2])
        assert len(graphs) == 2
        evaluate([2, 2])
        assert len(graphs) == 2, "two batches do not pay"
    assert found == [2] * 7 + [3] * 12


def test_with_gradients_or_outside_an_evaluation_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genlab.core.replaying.graphs_for", lambda device: RecordedGraph)
    with KeptGraphs().batch(100):
        assert kept(double, CPU, 1, "doubling") is double
        with torch.no_grad():
            first = kept(double, CPU, 1, "doubling")
            assert first is kept(double, CPU, 1, "doubling")
            assert isinstance(first, Replayed)
    with torch.no_grad():
        assert kept(double, CPU, 1, "doubling") is double


@pytest.mark.parametrize("place", [2, torch.tensor(2)])
def test_a_buffer_is_read_and_written_by_numbers_and_by_tensors(place: int | Tensor) -> None:
    buffer = Places(torch.zeros(5, 3))
    buffer.write(place, torch.arange(3.0))
    assert buffer.buffer.nonzero()[:, 0].tolist() == [2, 2]
    assert buffer.read(place).tolist() == [0, 1, 2]
    assert buffer.window(place - 1, 3).tolist() == [[0, 0, 0], [0, 1, 2], [0, 0, 0]]
