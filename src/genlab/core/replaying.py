"""Functions that are called many times with inputs of one shape: as graphs on a device that has them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from genlab.core.graphs import GraphFactory, Replayed, graphs_for

__all__ = ["KeptGraphs", "Place", "Places", "kept", "places", "replayed"]

Place = int | Tensor
"""Where something stands along an axis: a number, or a scalar tensor on the device, by which one graph serves all."""

FEWEST_CALLS = 10
"""Fewer calls do not pay for a capture, which costs about four."""

_refused: set[str] = set()
# What cannot be captured, by name: it is tried once, and said once.


def replayed(function: Callable[..., Any], device: torch.device, calls: int, name: str) -> Callable[..., Any]:
    """Return what computes a function of tensors as graphs where there are graphs and they pay, else the function.

    Gradients are not followed: where they are, it is the function itself that is returned. Weights that it reads must
    stay where they are while it is used. See :class:`genlab.core.graphs.Replayed`.

    Args:
        function: Of tensors, or Nones, to a tensor or a tree of tensors. The first call repeats it with the same
            inputs, so its result must not depend on what an earlier call with them has written.
        device: Where it computes.
        calls: How often it will be called.
        name: What it is called where it cannot be captured, in words.
    """
    if torch.is_grad_enabled() or calls < FEWEST_CALLS or name in _refused:
        return function
    make_graph = graphs_for(device)
    return function if make_graph is None else _TriedOnce(function, make_graph, name, calls)


class _TriedOnce(Replayed):
    def __init__(self, function: Callable[..., Any], make_graph: GraphFactory, name: str, calls: int) -> None:
        super().__init__(function, make_graph, name)
        self.plain = function
        self.calls = calls

    @torch.no_grad()
    def __call__(self, *inputs: Tensor | None) -> Any:
        if self.calls < FEWEST_CALLS and not self.has_captured(inputs):
            return self.plain(*inputs)
        return tree_map_only(Tensor, Tensor.clone, super().__call__(*inputs))  # the next call overwrites it

    def _capture(self, inputs: Sequence[Tensor | None]) -> Any:
        try:
            return super()._capture(inputs)
        except torch.OutOfMemoryError:  # a smaller batch may fit
            raise
        except Exception:
            _refused.add(self._name)
            raise


class KeptGraphs:
    """The graphs of an evaluation: what is captured in one batch is replayed in those that follow.

    They know weights by their place, and their memory is free when this is gone: so one serves one evaluation.
    """

    def __init__(self) -> None:
        self._functions: dict[Callable[..., Any], _TriedOnce] = {}
        self._batches = 1

    @contextmanager
    def batch(self, left: int) -> Iterator[None]:
        """Within it a batch is computed, for which :func:`kept` keeps its graphs here.

        Args:
            left: Batches of this size that are still to come, this one among them.
        """
        self._batches = left
        token = _keeper.set(self)
        try:
            yield
        finally:
            _keeper.reset(token)

    def replayed(self, function: Callable[..., Any], device: torch.device, calls: int, name: str) -> Callable[..., Any]:
        """Return what :func:`replayed` would for the calls of all batches; see :func:`kept`."""
        calls *= self._batches
        if (found := self._functions.get(function)) is not None:
            found.calls = calls  # a batch of another size, such as the last one, need not pay for a capture
            return found
        made = replayed(function, device, calls, name)
        if isinstance(made, _TriedOnce):
            self._functions[function] = made
        return made


_keeper: ContextVar[KeptGraphs | None] = ContextVar("_keeper", default=None)


def kept(function: Callable[..., Any], device: torch.device, calls: int, name: str) -> Callable[..., Any]:
    """Return what :func:`replayed` would; in an evaluation it is captured once for all batches of one size.

    Args:
        function: Of tensors, or Nones, to a tensor or a tree of tensors. It must be equal to that of the next batch, as
            a method is: what differs from batch to batch are its inputs.
        device: Where it computes.
        calls: How often it will be called for this batch.
        name: What it is called where it cannot be captured, in words.
    """
    keeper = None if torch.is_grad_enabled() else _keeper.get()
    return (replayed if keeper is None else keeper.replayed)(function, device, calls, name)


def places(count: int, device: torch.device) -> Sequence[Place]:
    """Return the places from 0 on: numbers, which are fast to slice by, or tensors on a device that has graphs."""
    return range(count) if graphs_for(device) is None else torch.arange(count, device=device).unbind()


class Places:
    """A buffer, read and written at places along its first axis."""

    def __init__(self, buffer: Tensor) -> None:
        self.buffer = buffer
        self._parts = [buffer[place] for place in range(len(buffer))]  # which cost as much to make as to copy

    def read(self, place: Place) -> Tensor:
        """Return what stands at a place."""
        return self._parts[place] if isinstance(place, int) else self.buffer.index_select(0, place.view(1))[0]

    def write(self, place: Place, value: Tensor) -> None:
        """Set what stands at a place."""
        if isinstance(place, int):
            self._parts[place].copy_(value)
        else:
            self.buffer.index_copy_(0, place.view(1), value[None])

    def window(self, start: Place, size: int) -> Tensor:
        """Return so many places from one on."""
        if isinstance(start, int):
            return self.buffer[start : start + size]
        return self.buffer.index_select(0, start + torch.arange(size, device=start.device))
