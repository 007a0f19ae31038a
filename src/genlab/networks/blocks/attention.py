"""Attention between all places of an example."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

MOST_PLACES = 512
"""Of more, the products of all pairs would take more memory than time is gained."""

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


def attention(query: Tensor, key: Tensor, value: Tensor, causal: bool = False) -> Tensor:
    """Return what each place takes from all places, or from itself and those before it.

    Args:
        query: ``[N, heads, T, width]``.
        key: The same.
        value: The same.
        causal: Whether no place sees a later one.
    """
    if query.dtype == torch.bfloat16 and query.device.type == "cpu" and query.shape[-2] <= MOST_PLACES:
        # Here the fused kernel and its gradient take two to five times as long (at 49 and 196 places).
        weights = query * query.shape[-1] ** -0.5 @ key.transpose(-1, -2)
        if causal:
            weights = weights.masked_fill(_later(query.shape[-2], query.device), -torch.inf)
        return weights.softmax(-1) @ value
    return F.scaled_dot_product_attention(query, key, value, is_causal=causal)


def _later(places: int, device: torch.device) -> Tensor:
    return torch.ones(places, places, dtype=torch.bool, device=device).triu(1)
