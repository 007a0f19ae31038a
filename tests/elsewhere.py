"""A second device on the CPU: what lies on it computes as usual, and refuses to meet what does not.

On a GPU a tensor that was made without a device, or was not moved with its model, is an error. So it is here, in every
test of the suite that likes, without a GPU.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any
from unittest import mock

import torch
from pytorch_lightning.accelerators import CPUAccelerator
from pytorch_lightning.strategies import SingleDeviceStrategy
from torch import Generator, Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from genlab.core.noise import ExampleNoise
from genlab.data import loader
from genlab.runs.checkpoints import AtomicCheckpointIO

__all__ = ["ELSEWHERE", "elsewhere", "runs_elsewhere"]

ELSEWHERE = torch.device("meta")
"""What its tensors say of themselves: the one kind of device, beside the CPU, that every PyTorch knows."""

_CPU = torch.device("cpu")
_DRAWING = ("genlab.core.randomness", "genlab.models.flow", "genlab.models.gan")
"""Modules that make generators."""
_COPIES = {"copy_", "_to_copy"}
_JOINING = {"cat", "stack"}
_away: set[int] = set()
"""Generators of the other device, by their addresses: they come to operations in a new wrapper each time."""
_BETWEEN = (__file__, "torch/_compile.py", "torch/_dynamo/eval_frame.py")
_WITH_FUSED = ["cpu", ELSEWHERE.type]
_autocast = torch.autocast
_get_device_module = torch.get_device_module
_new_noise = ExampleNoise.__new__
_new_strategy = SingleDeviceStrategy.__init__
_new_generator = loader._generator
_write = AtomicCheckpointIO.save_checkpoint


@contextlib.contextmanager
def elsewhere() -> Iterator[list[str]]:
    """Within it there is the other device; yields what is copied between it and the CPU, and where, as it happens."""
    copies: list[str] = []
    with contextlib.ExitStack() as stack:
        for patch in (
            mock.patch.object(torch, "autocast", _no_autocast_elsewhere),  # which knows no such device
            mock.patch.object(ExampleNoise, "__new__", _noise),
            mock.patch.object(ExampleNoise, "device", _Generator.device),
            *(mock.patch(f"{module}.Generator", _Generator) for module in _DRAWING),
            _FromNumbers(),
            _Elsewhere(copies),
        ):
            stack.enter_context(patch)
        yield copies


@contextlib.contextmanager
def runs_elsewhere() -> Iterator[list[str]]:
    """As :func:`elsewhere`; and what trains, evaluates or uses a run there takes the other device."""
    uses = ("used_run", "export", "evaluate", "evaluate_samples")
    with contextlib.ExitStack() as stack:
        for patch in (
            mock.patch.object(SingleDeviceStrategy, "__init__", _strategy),
            mock.patch.object(CPUAccelerator, "setup_device"),
            mock.patch.object(torch, "get_device_module", _device_module),
            mock.patch.object(AtomicCheckpointIO, "save_checkpoint", _save),
            mock.patch("torch.optim.optimizer._get_fused_kernels_supported_devices", return_value=_WITH_FUSED),
            mock.patch("genlab.data.loader._generator", _generator),
            mock.patch("genlab.training.callbacks.sample_quality.comparing_device", lambda device: device),
            mock.patch("genlab.measure.measuring.comparing_device", lambda device: device or _CPU),
            *(mock.patch(f"genlab.command.{use}.choose_device", return_value=ELSEWHERE) for use in uses),
        ):
            stack.enter_context(patch)
        yield stack.enter_context(elsewhere())


def _strategy(strategy: SingleDeviceStrategy, device: Any = None, *arguments: Any, **options: Any) -> None:
    _new_strategy(strategy, ELSEWHERE, *arguments, **options)


def _device_module(device: Any = None) -> Any:
    return torch if device == ELSEWHERE else _get_device_module(device)


def _save(checkpoints: AtomicCheckpointIO, checkpoint: dict[str, Any], *arguments: Any, **options: Any) -> None:
    # As files of a GPU's tensors are: they are read anywhere.
    _write(checkpoints, tree_map(_here, checkpoint), *arguments, **options)


def _generator(device: torch.device, *arguments: int) -> Generator:
    return _said_to_lie_on(device, _new_generator(_CPU, *arguments))


def _no_autocast_elsewhere(device_type: str, *arguments: Any, **options: Any) -> Any:
    if device_type == ELSEWHERE.type:
        return contextlib.nullcontext()
    return _autocast(device_type, *arguments, **options)


class _Generator(Generator):
    """One of the CPU that says that it is of another device, if that is what was asked for."""

    def __new__(cls, device: torch.device | str = "cpu") -> _Generator:
        made = super().__new__(cls)
        made.lies_on = torch.device(device)
        return _said_to_lie_on(made.lies_on, made)

    @property
    def device(self) -> torch.device:
        return self.lies_on


def _noise(cls: type, base: int, first: int = 0, device: torch.device | str = "cpu") -> ExampleNoise:
    made = _new_noise(cls, base, first)
    made.lies_on = torch.device(device)
    return _said_to_lie_on(made.lies_on, made)


def _said_to_lie_on(device: torch.device, made: Any) -> Any:
    (_away.add if device == ELSEWHERE else _away.discard)(made._cdata)
    return made


class _There(Tensor):
    """Says that it lies elsewhere, and has its numbers in a tensor of the CPU."""

    here: Tensor

    @staticmethod
    def __new__(cls, here: Tensor) -> _There:
        made = Tensor._make_wrapper_subclass(
            cls, here.shape, here.stride(), here.storage_offset(), dtype=here.dtype, device=ELSEWHERE
        )
        made.here = here
        return made

    def __init__(self, here: Tensor) -> None: ...

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise RuntimeError("A tensor of the other device is used where there is none.")

    # PyTorch itself refuses to say these of a tensor that has no numbers.
    def item(self) -> Any:
        return self.here.item()

    def tolist(self) -> Any:
        return self.here.tolist()

    def __int__(self) -> int:
        return int(self.here)

    __index__ = __int__

    def __float__(self) -> float:
        return float(self.here)

    def __bool__(self) -> bool:
        return bool(self.here)

    def new_tensor(self, data: Any, *, dtype: torch.dtype | None = None, device: Any = ELSEWHERE) -> Tensor:
        return torch.tensor(data, dtype=dtype or self.dtype, device=device)


class _FromNumbers(TorchFunctionMode):
    """Make tensors of Python's numbers on the CPU, and bring them to the other device."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        made_of_numbers = func is torch.tensor or (func is torch.as_tensor and not isinstance(args[0], Tensor))
        device = kwargs.get("device")
        if made_of_numbers and device is not None and torch.device(device) == ELSEWHERE:
            return func(*args, **{**kwargs, "device": _CPU}).to(ELSEWHERE)
        return func(*args, **kwargs)


class _Elsewhere(TorchDispatchMode):
    """Compute with what the tensors of the other device have here, and refuse to mix them with others.

    Args:
        copies: Is added to with each copy between the devices.
    """

    def __init__(self, copies: list[str]) -> None:
        super().__init__()
        self._copies = copies

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.ops.aten._has_compatible_shallow_copy_type.default:  # they never are
            return False
        name = func._schema.name.removeprefix("aten::")
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        away = [tensor for tensor in tensors if isinstance(tensor, _There)]
        device = kwargs.get("device")
        lands_there = bool(away) if device is None else torch.device(device) == ELSEWHERE
        # A CPU's single number may go along, as with a GPU's tensors, but is not written to, nor joined with those.
        written = args[0] if name.endswith("_") and args else None
        strangers = [
            tensor
            for tensor in tensors
            if not isinstance(tensor, _There) and (tensor.ndim or tensor is written or name in _JOINING)
        ]
        strangers = strangers if away else []
        if strangers and name not in _COPIES:
            raise RuntimeError(f"{func}: {tuple(strangers[0].shape)} of the CPU, {tuple(away[0].shape)} elsewhere")
        generator = kwargs.get("generator")
        if generator is not None and lands_there and generator._cdata not in _away:
            raise RuntimeError(f"{func}: a generator of the CPU draws for the other device")
        if name in _COPIES and len({isinstance(tensor, _There) for tensor in tensors} | {lands_there}) > 1:
            self._copies.append(f"{name} in {_caller()}")
        if device is not None:
            kwargs["device"] = _CPU if lands_there else device
        found = func(*tree_map(_here, args), **tree_map(_here, kwargs))
        if away and torch.Tag.inplace_view in func.tags:
            with no_dispatch():  # the shape that the tensor itself has
                func(*args, **kwargs)
        known = {id(tensor.here): tensor for tensor in away}
        return tree_map(lambda leaf: _as_said(leaf, known, lands_there), found)


def _here(leaf: Any) -> Any:
    return leaf.here if isinstance(leaf, _There) else leaf


def _as_said(leaf: Any, known: dict[int, _There], lands_there: bool) -> Any:
    if not isinstance(leaf, Tensor):
        return leaf
    if (there := known.get(id(leaf))) is not None:  # what was changed in place
        return there
    return _There(leaf) if lands_there else leaf


def _caller() -> str:
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and (frame.f_code.co_filename.endswith(_BETWEEN) or "/torch/" in frame.f_code.co_filename):
        frame = frame.f_back
    return "" if frame is None else f"{frame.f_code.co_filename}:{frame.f_code.co_name}"
