"""Work on a device that is recorded once and then repeated without Python: CUDA graphs, and a stand-in on the CPU."""

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
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from genlab.core.randomness import default_generator

__all__ = ["CudaGraph", "Graph", "GraphFactory", "RecordedGraph", "Replayed", "first_line", "graphs_for", "reads_back"]

_log = logging.getLogger("genlab")
_T = TypeVar("_T")

WARM_UPS = 3
"""Runs before a capture: libraries set themselves up and choose their algorithms in the first ones."""

_READING = {
    "_local_scalar_dense",
    "_linalg_check_errors",
    "nonzero",
    "masked_select",
    "equal",
    "_unique2",
    "unique_dim",
    "unique_consecutive",
}
_FROM_THE_HOST = {torch.tensor, torch.as_tensor, torch.from_numpy, Tensor.new_tensor}
_INDEXING = {Tensor.__getitem__, Tensor.__setitem__}
_BY_INDEX = {"index", "index_put_", "_index_put_impl_"}


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
        with contextlib.suppress(RuntimeError, AttributeError):  # it has been told that the capture is over
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


class RecordedGraph:
    """A stand-in for a CUDA graph on the CPU, for tests: as much is baked in, and as much is refused.

    Every call of ATen is recorded with its very tensors. A replay makes the same calls, and copies what they return
    into the tensors that they returned first.

    Args:
        generators: Generators, beside the default one, that the work may draw from.
    """

    def __init__(self, generators: Sequence[Generator] = ()) -> None:
        self._generators = [torch.default_generator, *generators]
        self._calls: list[_Call] = []

    def warm_up(self, work: Callable[[], _T]) -> _T:
        return work()

    def capture(self, work: Callable[[], _T]) -> _T:
        states = [generator.get_state() for generator in self._generators]
        recorder = _Recorder(self._generators)
        try:
            with recorder, _NothingFromTheHost():
                result = work()
        finally:
            recorder.undo()
            for generator, state in zip(self._generators, states, strict=True):
                generator.set_state(state)
        self._calls = recorder.calls
        return result

    def replay(self) -> None:
        with torch.no_grad(), torch.autocast("cpu", enabled=False):  # its casts were recorded
            for call in self._calls:
                call.repeat()


class _NothingFromTheHost(TorchFunctionMode):
    """Refuse tensors that are made of Python's numbers or lists: on a GPU they are copied from the host."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _FROM_THE_HOST and not (func is torch.as_tensor and isinstance(args[0], Tensor)):
            raise RuntimeError(f"{func.__name__} copies from the host, which a graph cannot.")
        if func in _INDEXING and _has_list(args[1]):
            raise RuntimeError("An index that is a list is copied from the host, which a graph cannot.")
        return func(*args, **(kwargs or {}))


def _has_list(index: Any) -> bool:
    return any(isinstance(part, list) for part in (index if isinstance(index, tuple) else (index,)))


@dataclass(frozen=True)
class _Call:
    func: Any
    args: Any
    kwargs: dict[str, Any]
    returned: list[Tensor]

    def repeat(self) -> None:
        again = self.func(*self.args, **self.kwargs)
        for kept, new in zip(self.returned, _tensors(again), strict=bool(self.returned)):
            kept.copy_(new)


class _Recorder(TorchDispatchMode):
    """Record calls; refuse those that a CUDA graph cannot hold."""

    def __init__(self, generators: list[Generator]) -> None:
        super().__init__()
        self.calls: list[_Call] = []
        self._generators = {generator._cdata for generator in generators}
        self._made: dict[int, Tensor] = {}
        self._found: dict[int, tuple[Tensor, torch.UntypedStorage]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if reads_back(func, args):
            raise RuntimeError(f"{func} reads from the device, which a graph cannot.")
        generator = kwargs.get("generator")
        if generator is not None and generator._cdata not in self._generators:  # it comes in a new wrapper each time
            raise RuntimeError(f"{func} draws from a generator that the graph does not know.")
        for tensor in _tensors((args, kwargs)):
            self._note(tensor)
        result = func(*args, **kwargs)
        aliases = [value.alias_info for value in func._schema.returns if value.alias_info is not None]
        if aliases and not any(alias.is_write for alias in aliases):
            return result  # a view, which stays one
        made = [] if aliases else _tensors(result)
        self._made |= {_address(tensor): tensor for tensor in made if _address(tensor) not in self._found}
        self.calls.append(_Call(func, args, kwargs, made))
        return result

    def _note(self, tensor: Tensor) -> None:
        """Keep a copy of what was there before the work, which may change it."""
        if (address := _address(tensor)) not in self._made and address not in self._found:
            self._found[address] = (tensor, tensor.untyped_storage().clone())

    def undo(self) -> None:
        """Leave what was there as it was, and no numbers in what was made: a capture computes nothing."""
        for tensor, before in self._found.values():
            tensor.untyped_storage().copy_(before)
        with torch.no_grad():
            for tensor in self._made.values():
                if tensor.is_floating_point():
                    tensor.data.fill_(torch.nan)  # data: autograd lets a backward pass recorded next use it


def reads_back(func: Any, args: Any) -> bool:
    """Whether a call of ATen returns a number to Python, or something whose shape depends on the values.

    The host waits for the device then, and no graph can hold it.

    Args:
        func: The operation, as ``__torch_dispatch__`` gets it.
        args: Its arguments.
    """
    name = func._schema.name.removeprefix("aten::")
    by_mask = name in _BY_INDEX and any(isinstance(t, Tensor) and not t.dtype.is_signed for t in args[1])
    return name in _READING or by_mask


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


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
