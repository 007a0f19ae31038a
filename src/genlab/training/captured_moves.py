"""Several devices and several optimizers: each player's forward and backward pass as a graph of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager

from torch import Tensor
from torch.optim import Optimizer

from genlab.core.batch import Batch
from genlab.core.contract import TakesTurns
from genlab.core.graphs import GraphFactory
from genlab.models.base import GenerativeModel
from genlab.training.captured_gradients import CapturedGradients

__all__ = ["CapturedMoves"]


class CapturedMoves:
    """Train by batches in whose steps several optimizers move in turn, each by gradients averaged over the devices.

    The moves of a step share what the first ones computed: a generator's samples, which a discriminator judges before
    it has moved and after. So their graphs are recorded in one step, one after the other, and replayed together or not
    at all.

    Args:
        model: What is trained; it is a :class:`genlab.core.contract.TakesTurns` too.
        optimizers: Those of its players.
        make_graph: Makes graphs on the model's device; they share their memory.
        rounding: Most by which a gradient may differ from the plain one, relative to its norm.
        computing: Makes the context in which a loss is computed, such as that of a precision.
    """

    def __init__(
        self,
        model: GenerativeModel,
        optimizers: Sequence[Optimizer],
        make_graph: GraphFactory,
        rounding: float,
        computing: Callable[[], AbstractContextManager[object]],
    ) -> None:
        self._model = model
        self._players = [CapturedGradients(model, make_graph, rounding, optimizer) for optimizer in optimizers]
        self._computing = computing

    @property
    def stopped(self) -> bool:
        """Whether steps are plain for good."""
        return any(player.stopped for player in self._players)

    @property
    def replays(self) -> int:
        """Steps whose passes were all replayed, beside those that were compared."""
        return max(player.replays for player in self._players)

    def train(self, batch: Batch) -> dict[str, Tensor]:
        """Train by this device's part of a batch, and return the parts of the loss."""
        passes = _Passes(self._model, batch, self._computing)

        def gradients(player: int) -> dict[str, Tensor]:
            def plain(batch: Batch) -> dict[str, Tensor]:
                self._stop_together()  # before it needs the memory of the others' graphs
                return passes.compute(player, batch)

            parts = self._players[player].train(batch, plain)
            self._stop_together()
            return parts

        return self._model.play(gradients)

    def _stop_together(self) -> None:
        if self.stopped:
            self.stop()

    def stop(self) -> None:
        """Give back the memory of all graphs."""
        for player in self._players:
            player.stop()


class _Passes:
    """The passes of one step: over its batch, and over the copies of it that graphs are recorded of."""

    def __init__(
        self, model: TakesTurns, batch: Batch, computing: Callable[[], AbstractContextManager[object]]
    ) -> None:
        self._model = model
        self._batch = batch
        self._computing = computing
        self._begun: dict[bool, Iterator[tuple[int, dict[str, Tensor]]]] = {}

    def compute(self, player: int, batch: Batch) -> dict[str, Tensor]:
        """Compute the gradients of a player, and return the parts of its loss.

        Its move goes on where that of the player before ended. After a move that failed for want of memory, the whole
        step is computed anew, from other noise.
        """
        is_recorded = batch is not self._batch
        moves = self._begun.pop(is_recorded, None) or self._model.moves(batch)
        with self._computing():
            parts = next(parts for moving, parts in moves if moving == player)
        parts["loss"].backward()
        self._begun[is_recorded] = moves
        return {name: value.detach() for name, value in parts.items()}
