"""A stand-in for CUDA graphs on the CPU, for tests: what can be recorded, and what a replay repeats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Generator, Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["RecordedGraph", "reads_back"]

_T = TypeVar("_T")

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
