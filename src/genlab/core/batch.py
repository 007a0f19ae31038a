"""What a loader yields."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Batch"]


class Batch(NamedTuple):
    """Examples as they are, before any preprocessing.

    Attributes:
        x: ``[N, *spec.shape]``; uint8 for images, int64 for tokens, float32 for continuous data; of a table with
            categories their numbers stand among the continuous values.
        y: Labels ``[N]``, int64, or None.
        mask: ``[N, *spec.shape]``, bool, true where there is a value, where lengths differ; None: all is there. What is
            masked out enters no likelihood.
        context: Covariates ``[N, ...]``, on which the data depends and which are not modelled; or None.
    """

    x: Tensor
    y: Tensor | None = None
    mask: Tensor | None = None
    context: Tensor | None = None

    @property
    def dims(self) -> Tensor | int:
        """How many values an example has: ``[N]`` where lengths differ, else one number for all."""
        return self.x[0].numel() if self.mask is None else self.mask.flatten(1).sum(1)

    def each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """Return a batch of the changed tensors; what is None stays None."""
        return Batch(*(None if tensor is None else change(tensor) for tensor in self))

    def rows(self, chosen: Tensor | slice) -> Batch:
        """Return the chosen examples."""
        return self.each(lambda tensor: tensor[chosen])

    def to(self, device: torch.device | str) -> Batch:
        """Return the same on a device."""
        return self.each(lambda tensor: tensor.to(device))

    def sent_to(self, device: torch.device) -> Batch:
        """As :meth:`to`, but Python does not wait for what a GPU has still to do before it can copy."""
        if device.type != "cuda":
            return self.to(device)
        return self.each(lambda tensor: tensor if tensor.is_cuda else tensor.pin_memory().to(device, non_blocking=True))
