"""Tensors whose parts lie on several devices."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch.distributed
from torch import Tensor, nn

__all__ = ["collect", "gathered", "shard_like", "whole"]


def whole(tensor: Tensor) -> Tensor:
    """Return a tensor whose parts lie on several devices as one; any other as it is. All devices must call it."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def collect(tensor: Tensor) -> Tensor:
    """Return a divided tensor as one in the first process's main memory, to be saved, and as an empty one elsewhere.

    Any other tensor as it is. All devices must call it; none holds more than one whole tensor at a time.
    """
    if not hasattr(tensor, "full_tensor"):
        return tensor
    full = tensor.full_tensor()
    return full.cpu() if torch.distributed.get_rank() == 0 else full.new_empty(0)


def shard_like(tensor: Tensor, like: Tensor) -> Tensor:
    """Return a copy of a whole tensor on another's device, divided like it if that is divided."""
    if not hasattr(like, "full_tensor"):
        return tensor.to(like.device, copy=True)
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(whole(tensor).to(like.device, copy=True), like.device_mesh, like.placements)


@contextmanager
def gathered(model: nn.Module) -> Iterator[None]:
    """Hold the whole parameters, for what is no step of the trainer; all devices must enter, and may differ within."""
    if not hasattr(model, "unshard"):
        yield
        return
    model.unshard()
    try:
        yield
    finally:
        model.reshard()
