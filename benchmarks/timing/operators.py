"""Operators of PyTorch that a piece of work dispatches; it needs nothing of genlab, so any version can be counted."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class CountOperators(TorchDispatchMode):
    """Count the operators of PyTorch that compute or copy: on a GPU each is about a kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.removeprefix("aten::")
        is_view = any(part.alias_info and not part.alias_info.is_write for part in func._schema.returns)
        self.count += not (is_view or name.startswith(("empty", "new_empty", "_unsafe_view", "detach")))
        return func(*args, **(kwargs or {}))


def without_lightning(model: Any, optimizers: list[torch.optim.Optimizer]) -> None:
    """Have the ``training_step`` of a family that steps its optimizers itself do so with nothing of Lightning."""
    model.optimizers = lambda: optimizers
    model.manual_backward = lambda loss: loss.backward()
    model.check_finite = lambda parts: None
