"""Graphs on the CPU: the recording stand-in wherever a device would have graphs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from genlab.core.recorded_graph import RecordedGraph

__all__ = ["recorded_graphs"]


@contextmanager
def recorded_graphs(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fewest_calls: int = 1
) -> Iterator[list[RecordedGraph]]:
    """Within it what may be replayed is, where it is called so often; yields the graphs that were captured.

    Afterwards nothing must have gone on without a graph.
    """
    made: list[RecordedGraph] = []

    def make() -> RecordedGraph:
        made.append(RecordedGraph())
        return made[-1]

    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING, "genlab"):
        patch.setattr("genlab.core.replaying.graphs_for", lambda device: make)
        patch.setattr("genlab.core.replaying.FEWEST_CALLS", fewest_calls)
        patch.setattr("genlab.core.replaying._refused", set())
        caplog.clear()
        yield made
    assert not [record.message for record in caplog.records if "CUDA graph" in record.message]
