"""Attention between all places of an example."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["attention", "self_attention"]


def self_attention(projected: Tensor, heads: int) -> Tensor:
    """Every place looks at all places; Vaswani et al. (2017), section 3.2.

    Args:
        projected: Queries, keys and values beside each other, ``[N, T, 3 * hidden]``.
        heads: Number of heads, a divisor of ``hidden``.

    Returns:
        What each place took from the others, ``[N, T, hidden]``.
    """
    query, key, value = projected.unflatten(2, (3, heads, -1)).permute(2, 0, 3, 1, 4)
    return attention(query, key, value).transpose(1, 2).flatten(2)


def attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return what each place takes from all others, each of ``[N, heads, T, width]``."""
    if query.dtype == torch.bfloat16 and query.device.type == "cpu":
        # Here the fused kernel and its gradient take two to five times as long (at 49 and 196 places).
        weights = (query * query.shape[-1] ** -0.5 @ key.transpose(-1, -2)).softmax(-1)
        return weights @ value
    return F.scaled_dot_product_attention(query, key, value)
