"""Optimizers whose steps a graph can hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

__all__ = ["StepsInGraph", "can_step_in_graph"]

_FLAGS = ("capturable", "fused", "lr")


def can_step_in_graph(optimizer: Optimizer) -> bool:
    """Whether a graph can hold an optimizer's steps: those of Adam and AdamW."""
    return isinstance(optimizer, torch.optim.Adam)


class StepsInGraph:
    """Have optimizers step with all that changes in tensors on the device: counts of steps and learning rates.

    Between steps their settings are as they were, and so in checkpoints; only the counts stay on the device.

    Args:
        optimizers: See :func:`can_step_in_graph`.
        device: That of the parameters.
    """

    def __init__(self, optimizers: Sequence[Optimizer], device: torch.device) -> None:
        self._optimizers = optimizers
        for optimizer in optimizers:
            optimizer._warned_capturable_if_run_uncaptured = True  # the plain steps among the replayed are meant
        self._rates = [torch.zeros((), device=device) for _ in self._groups]
        self._move_counts(device)

    @property
    def _groups(self) -> list[dict[str, Any]]:
        return [group for optimizer in self._optimizers for group in optimizer.param_groups]

    @contextmanager
    def capturable(self) -> Iterator[None]:
        """Have the steps that are made meanwhile, plain or recorded, be such as a graph can hold."""
        kept = [{name: group[name] for name in _FLAGS} for group in self._groups]
        self.follow_rates()
        for group, rate in zip(self._groups, self._rates, strict=True):
            # Fused: one kernel instead of ten, and without capturable=True, which is CUDA's, on the CPU too.
            fused = group["fused"] is not False and not group["foreach"]
            group.update(capturable=True, fused=fused, lr=rate)
        try:
            yield
        finally:
            for group, settings in zip(self._groups, kept, strict=True):
                group.update(settings)

    def follow_rates(self) -> None:
        """Take over the learning rates that the optimizers have now."""
        for group, rate in zip(self._groups, self._rates, strict=True):
            rate.fill_(group["lr"])

    def tensors(self) -> list[Tensor]:
        """Return the optimizers' state."""
        states = [state for optimizer in self._optimizers for state in optimizer.state.values()]
        return [value for state in states for value in state.values() if isinstance(value, Tensor)]

    def release(self) -> None:
        """Put the counts back where plain steps read them without waiting for the device."""
        if not any(group["capturable"] or group["fused"] for group in self._groups):
            self._move_counts(torch.device("cpu"))

    def _move_counts(self, device: torch.device) -> None:
        for optimizer in self._optimizers:
            for state in optimizer.state.values():
                if "step" in state:
                    state["step"] = state["step"].to(device, torch.float32)
