"""What makes the host wait for the device, found on the CPU."""

from __future__ import annotations

from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

from genlab.core.graphs import reads_back

__all__ = ["ReadsBack"]


class ReadsBack(TorchDispatchMode):
    """Collect the names of the operations that read values back from the device, in :attr:`found`."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if reads_back(func, args):
            self.found.append(func._schema.name.removeprefix("aten::"))
        return func(*args, **(kwargs or {}))
