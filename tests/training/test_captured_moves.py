"""The passes of players that move in turn, each a graph of its own, on one device."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch

from genlab.core.recorded_graph import RecordedGraph
from genlab.training import captured_gradients
from genlab.training.captured_moves import CapturedMoves
from tests.contract.families import GRAY, SMALL_GAN, Case, make_batch, make_model

GAME = Case("gan", GRAY, [*SMALL_GAN, "objective.critic_steps=1", "objective.penalty_interval=1"])
"""Of one kind of step, in which both players move."""


@pytest.mark.parametrize("player", [0, 1], ids=["discriminator", "generator"])
def test_where_one_player_has_no_graph_none_keeps_its_own(player: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captured_gradients.distributed, "all_reduce", lambda *_: None)
    monkeypatch.setattr(captured_gradients.distributed, "get_world_size", lambda: 1)
    model, made = make_model(GAME), []
    optimizers = model.configure_optimizers()
    monkeypatch.setattr(model, "optimizers", lambda: optimizers)

    def full(_: Any) -> Any:
        raise torch.OutOfMemoryError("no room")

    def make_graph() -> RecordedGraph:
        graph = RecordedGraph()
        if len(made) == player:  # the discriminator's pass is the first of a step
            graph.capture = full  # type: ignore[method-assign]
        made.append(graph)
        return graph

    moves = CapturedMoves(model, optimizers, make_graph, 1e-3, nullcontext)
    for number in range(3):  # which warm up; the last of them is recorded
        model.progress.batches = number
        parts = moves.train(make_batch(GRAY, 6, seed=number))
    assert parts.keys() >= {"loss", "d_loss", "g_loss"}
    assert len(made) == 2
    assert moves.stopped
    assert not any(each._kinds for each in moves._players)
