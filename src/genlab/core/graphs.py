"""Work on a device that is recorded once and then repeated without Python: CUDA graphs."""

from __future__ import annotations

import contextlib
import gc
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Protocol, TypeVar

import torch
from torch import Generator, Tensor

from genlab.core.randomness import default_generator

__all__ = ["CudaGraph", "Graph", "GraphFactory", "Replayed", "first_line", "graphs_for"]

_log = logging.getLogger("genlab")
_T = TypeVar("_T")

WARM_UPS = 3
"""Runs before a capture: libraries set themselves up and choose their algorithms in the first ones."""


class Graph(Protocol):
    """Work on a device, recorded once, with all its tensors and numbers, and repeated as often as one likes.

    A replay reads and writes the very tensors of the capture. Whatever Python decided or computed then is decided for
    good; so inputs are copied into tensors that stay, and numbers that change lie in tensors.
    """

    def warm_up(self, work: Callable[[], _T]) -> _T:
        """Do the work as :meth:`capture` would see it, but for real."""
        ...

    def capture(self, work: Callable[[], _T]) -> _T:
        """Record the work without doing it, and return what it returns: tensors whose values the first replay brings.

        Raises:
            Exception: If the work cannot be recorded. Tensors, generators and streams are then as they were.
        """
        ...

    def replay(self) -> None:
        """Do the work: queue it on the current stream."""
        ...


GraphFactory = Callable[..., Graph]
"""Makes an empty graph; ``generators`` are those beside the default one that the work may draw from."""


def graphs_for(device: torch.device) -> GraphFactory | None:
    """Return what makes graphs on a device, or None where there are none.

    All that one factory makes share their memory: use or copy what one returned before another is replayed.
    """
    if device.type != "cuda":
        return None
    return partial(CudaGraph, device, pool=torch.cuda.graph_pool_handle(), stream=_stream(device))


@cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    """One for each device: libraries keep memory to work with for every stream that they have seen."""
    return torch.cuda.Stream(device)


_abandoned: list[torch.cuda.CUDAGraph] = []
"""Those whose capture could not be ended: what gives pinned memory goes on to ask them for it."""


class CudaGraph:
    """A CUDA graph.

    Args:
        device: A CUDA device.
        generators: Generators on the device, beside the default one, that the work may draw from. A seed set between
            two replays is taken up by the next.
        pool: Memory shared with other graphs, from ``torch.cuda.graph_pool_handle()``; None for memory of its own.
        stream: Where it is warmed up and captured; the same for all graphs of a pool.
    """

    def __init__(
        self,
        device: torch.device,
        generators: Sequence[Generator] = (),
        pool: Any = None,
        stream: torch.cuda.Stream | None = None,
    ) -> None:
        self._device = device
        self._pool = torch.cuda.graph_pool_handle() if pool is None else pool
        self._stream = stream or torch.cuda.Stream(device)
        self._generators = [default_generator(device), *generators]
        self._graph = self._empty_graph()

    def _empty_graph(self) -> torch.cuda.CUDAGraph:
        graph = torch.cuda.CUDAGraph()
        for generator in self._generators[1:]:  # the default one is always registered
            graph.register_generator_state(generator)
        return graph

    def warm_up(self, work: Callable[[], _T]) -> _T:
        before = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(before)
        with torch.cuda.stream(self._stream), _NoAutocastCache():
            try:
                return work()
            finally:  # where it failed too: what it has queued may still write what is used next
                before.wait_stream(self._stream)

    def capture(self, work: Callable[[], _T]) -> _T:
        before = torch.cuda.current_stream(self._device)
        states = [generator.get_state() for generator in self._generators]
        gc.collect()  # a backward pass that only a cycle keeps alive would bind its parameters to another stream
        reason: BaseException | None = None
        try:
            with self._capturing(self._graph, self._pool), _NoAutocastCache():
                try:
                    return work()
                except BaseException as error:
                    reason = error
                    raise
        except BaseException as error:
            torch.cuda.set_stream(before)  # which the context does not where the end of the capture fails too
            self._end_allocation()
            self._end_capture_of_generators()
            for generator, state in zip(self._generators, states, strict=True):
                generator.set_state(state)
            try:
                raise reason or error from None  # the end of a capture that failed says only that it did
            finally:
                del reason  # else the error would hold this frame, and this the error, with all tensors of the work

    def _capturing(self, graph: torch.cuda.CUDAGraph, pool: Any = None) -> torch.cuda.graph:
        # Other threads, such as a logger's, may use the device meanwhile.
        return torch.cuda.graph(graph, pool, self._stream, capture_error_mode="thread_local")

    def _end_allocation(self) -> None:
        """Have PyTorch give memory as before: older than 2.12, it does not where the end of the capture fails.

        It would not give back what it has cached where memory is short, nor this graph's pool, and never use again what
        several streams have used, as gradients under DDP are: each step would take more.
        """
        index = torch.cuda.current_device() if self._device.index is None else self._device.index
        # It has been told that the capture is over, or is so new that it has no such functions.
        with contextlib.suppress(RuntimeError, AttributeError):
            torch._C._cuda_endAllocateToPool(index, self._pool)
            torch._C._cuda_releasePool(index, self._pool)
            _abandoned.append(self._graph)

    def _end_capture_of_generators(self) -> None:
        """Have them draw at once again: after a capture that failed they may still wait for its end.

        The end of another one does. New states would do as well, but other graphs know the present ones.
        """
        number = torch.zeros((), device=self._device)
        with contextlib.suppress(RuntimeError), self._capturing(self._empty_graph()):
            number.add_(1)

    def replay(self) -> None:
        self._graph.replay()


class _NoAutocastCache:
    """Have each cast of a weight recorded where it is used, and none made before or kept for later."""

    def __enter__(self) -> None:
        self._before = torch.is_autocast_cache_enabled()
        torch.clear_autocast_cache()
        torch.set_autocast_cache_enabled(False)

    def __exit__(self, *_: object) -> None:
        torch.set_autocast_cache_enabled(self._before)


class Replayed:
    """A function of tensors, captured at the first call for inputs of each shape and replayed from then on.

    No gradient flows. The result lies in the same tensors each time: use or copy it before the next call. What else the
    function reads, such as weights, may change its values between calls, not its place. Warming up calls the function a
    few times more at the first call; what it writes elsewhere must bear that. Where it cannot be captured, it is called
    as it is, and a line says why.

    Args:
        function: Of tensors, or Nones, to a tensor or a tree of tensors.
        make_graph: Makes its graphs, from :func:`graphs_for`; None calls the function as it is.
        name: What it is called where it cannot be captured, in words.
        most: Kinds of inputs of which a graph is kept; others are computed as they come.
    """

    def __init__(
        self, function: Callable[..., Any], make_graph: GraphFactory | None, name: str = "this function", most: int = 4
    ) -> None:
        self._function = function
        self._make_graph = make_graph
        self._name = name
        self._most = most
        self._captured: dict[Any, _Captured] = {}

    @torch.no_grad()
    def __call__(self, *inputs: Tensor | None) -> Any:
        if self._make_graph is None:
            return self._function(*inputs)
        key = _kind(inputs)
        if key not in self._captured:
            if len(self._captured) < self._most:
                self._try_to_capture(key, inputs)
            if key not in self._captured:
                return self._function(*inputs)
        return self._captured[key](inputs)

    def _try_to_capture(self, key: Any, inputs: Sequence[Tensor | None]) -> None:
        """Capture the function or give up all graphs; once this has returned, so has the error, with what it held."""
        try:
            self._captured[key] = self._capture(inputs)
        except Exception as error:
            _log.warning("Without a CUDA graph for %s: %s", self._name, first_line(error))
            self._make_graph = None
            self._captured.clear()

    def has_captured(self, inputs: Sequence[Tensor | None]) -> bool:
        """Whether there is a graph for such inputs."""
        return _kind(inputs) in self._captured

    def _capture(self, inputs: Sequence[Tensor | None]) -> _Captured:
        static = [None if tensor is None else tensor.clone() for tensor in inputs]
        graph = self._make_graph()

        def work() -> Any:
            return self._function(*static)

        for _ in range(WARM_UPS):
            graph.warm_up(work)
        return _Captured(graph, static, graph.capture(work))


def _kind(inputs: Sequence[Tensor | None]) -> Any:
    return tuple(None if tensor is None else (tensor.shape, tensor.dtype, tensor.device) for tensor in inputs)


@dataclass(frozen=True)
class _Captured:
    graph: Graph
    inputs: list[Tensor | None]
    result: Any

    def __call__(self, inputs: Sequence[Tensor | None]) -> Any:
        for static, new in zip(self.inputs, inputs, strict=True):
            if static is not None:
                static.copy_(new)
        self.graph.replay()
        return self.result


def first_line(error: BaseException) -> str:
    """Return what an error says, in one line."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
