"""What makes the host wait for the device, found on the CPU."""

from __future__ import annotations

import sys
from collections.abc import Collection
from types import FrameType
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from genlab.core.recorded_graph import reads_back

__all__ = ["ReadsBack"]

_COPIES = {Tensor.tolist, Tensor.numpy, Tensor.cpu, Tensor.__array__}
"""What copies to the host, which on the CPU calls nothing of ATen."""
_BETWEEN = (__file__, "torch/_compile.py", "torch/_dynamo/eval_frame.py")
"""Ends of the files of what stands between a reading and who calls it."""


class ReadsBack(TorchDispatchMode):
    """Collect in :attr:`found` what reads values back from the device, and where: ``item in core/x.py:function``.

    Args:
        but: Ends of ``file:function`` where it is no reading, since on a GPU what is read lies on the host too.
    """

    def __init__(self, but: Collection[str] = ()) -> None:
        super().__init__()
        self.found: list[str] = []
        self._but = tuple(but)
        self._copies = _FindsCopies(self)

    def __enter__(self) -> ReadsBack:
        self._copies.__enter__()
        return super().__enter__()

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self._copies.__exit__(*error)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if reads_back(func, args):
            self.note(func._schema.name.removeprefix("aten::"))
        return func(*args, **(kwargs or {}))

    def note(self, name: str) -> None:
        """Add an operation of this name unless it is called where it is no reading."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and frame.f_code.co_filename.endswith(_BETWEEN):
            frame = frame.f_back
        where = "" if frame is None else f"{frame.f_code.co_filename}:{frame.f_code.co_name}"
        if not where.endswith(self._but):
            self.found.append(f"{name} in {where}")


class _FindsCopies(TorchFunctionMode):
    def __init__(self, readings: ReadsBack) -> None:
        super().__init__()
        self._readings = readings

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _COPIES:
            self._readings.note(func.__name__)
        return func(*args, **(kwargs or {}))
