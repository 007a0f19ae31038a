"""What makes the host wait for the device, found on the CPU."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["ReadsBack"]

_READING = {"_local_scalar_dense", "nonzero", "masked_select", "equal", "_unique2", "unique_dim", "unique_consecutive"}
"""Operations that return a number to Python, or whose result's shape depends on the values."""
_BY_INDEX = {"index", "index_put_", "_index_put_impl_"}
"""Operations that do so where they are given a mask."""


class ReadsBack(TorchDispatchMode):
    """Collect the names of the operations that read values back from the device, in :attr:`found`."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.removeprefix("aten::")
        masked = name in _BY_INDEX and any(isinstance(t, Tensor) and not t.dtype.is_signed for t in args[1])
        if name in _READING or masked:
            self.found.append(name)
        return func(*args, **(kwargs or {}))
