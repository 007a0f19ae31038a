"""Which parameters a computation reads: what a sample needs of all that was trained."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["ParameterReads"]


class ParameterReads(TorchDispatchMode):
    """While it is entered, notes which of some parameters an operation of PyTorch takes.

    What is read is counted as a whole: one row of a table of embeddings counts as the table. Each operation takes some
    microseconds longer.

    Args:
        parameters: Those to watch.

    Attributes:
        count: How many numbers the parameters have that were read.
    """

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        super().__init__()
        # By its memory: a view of a parameter that was made earlier is the parameter too.
        self._unread: dict[int, list[nn.Parameter]] = {}
        for parameter in parameters:
            self._unread.setdefault(parameter.untyped_storage().data_ptr(), []).append(parameter)
        self.count = 0

    def unread(self) -> list[nn.Parameter]:
        """Return the parameters that were not read."""
        return [parameter for alike in self._unread.values() for parameter in alike]

    def __enter__(self) -> Self:
        super().__enter__()
        return self

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for leaf in tree_leaves((args, kwargs)) if self._unread else ():
            if isinstance(leaf, Tensor):
                read = self._unread.pop(leaf.untyped_storage().data_ptr(), ())
                self.count += sum(parameter.numel() for parameter in read)
        return func(*args, **(kwargs or {}))
