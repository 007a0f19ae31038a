"""The inverse of zuko's autoregressive transforms, one dimension after the other.

zuko computes all dimensions anew for each that it finds: D passes of D splines. Here each pass computes the parameters
of one, and examples are the last axis: along a short one softmax is several times as slow on a CPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from zuko.flows.autoregressive import MaskedAutoregressiveTransform
from zuko.nn import MaskedLinear

__all__ = ["AutoregressiveInverse", "ElementInverse", "affine_inverse", "spline_inverse"]

ElementInverse = Callable[[Tensor, Tensor], Tensor]
"""Maps values ``[N]`` of one dimension and its parameters ``[P, N]`` to what the transform made the values of."""

Layer = nn.Module | tuple[Tensor, Tensor]
"""What is done to each unit, or weights ``[H, K]`` and biases ``[H]``."""

SLOPE = 1e-3
"""zuko's least slope of a transform of one dimension."""
BOUND = 5.0
"""Half the width of the interval of zuko's splines."""


class AutoregressiveInverse:
    """The inverse of a masked autoregressive transform in which each dimension waits for one more than the last.

    Papamakarios et al. (2017), "Masked autoregressive flow for density estimation", equation 3.

    Args:
        transform: With as many passes as dimensions.
        element: Inverse of what it does to one dimension.
    """

    def __init__(self, transform: MaskedAutoregressiveTransform, element: ElementInverse) -> None:
        self._order: list[int] = transform.order.argsort().tolist()
        self._num_params: int = transform.total
        self._network = transform.hyper
        self._element = element

    def __call__(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the ``x [N, D]`` that the transform maps to ``y [N, D]`` given context ``[N, C]``."""
        first, *others = [_weights(layer) if isinstance(layer, MaskedLinear) else layer for layer in self._network]
        weight, bias = first
        entered = bias.expand(y.shape[0], -1).T  # what the first layer makes of all that is known by now, ``[H, N]``
        if context is not None:
            entered = torch.addmm(entered, weight[:, len(self._order) :], context.T)
        values, found = y.T, {}
        for dim in self._order:
            x = self._element(values[dim], self._params(entered, others, dim))
            entered = entered + weight[:, dim, None] * x
            found[dim] = x
        return torch.stack([found[dim] for dim in range(len(found))], dim=1)

    def _params(self, hidden: Tensor, layers: Sequence[Layer], dim: int) -> Tensor:
        """Return the parameters ``[P, N]`` of a dimension from the output of the first layer."""
        rows = slice(dim * self._num_params, (dim + 1) * self._num_params)
        for number, layer in enumerate(layers, start=1):
            if isinstance(layer, nn.Module):
                hidden = layer(hidden)
                continue
            weight, bias = (part[rows] for part in layer) if number == len(layers) else layer
            hidden = torch.addmm(bias[:, None], weight, hidden)
        return hidden if layers else hidden[rows]


def _weights(layer: MaskedLinear) -> tuple[Tensor, Tensor]:
    return layer.mask * layer.weight, layer.bias


def affine_inverse(y: Tensor, params: Tensor) -> Tensor:
    """Undo :class:`zuko.transforms.MonotonicAffineTransform`; see :data:`ElementInverse`."""
    shift, scale = params.unbind(0)
    return (y - shift) * (-_bounded(scale, 1)).exp()


def spline_inverse(y: Tensor, params: Tensor) -> Tensor:
    """Undo :class:`zuko.transforms.MonotonicRQSTransform`; see :data:`ElementInverse`.

    Durkan et al. (2019), "Neural Spline Flows", equations 4 to 8 and, for the root, 29 in the appendix.
    """
    bins = (len(params) + 1) // 3
    shares = F.softmax(_bounded(params[: 2 * bins].unflatten(0, (2, bins)), 2), dim=1)
    knots = F.pad(shares.cumsum(1), (0, 0, 1, 0)) * (2 * BOUND) - BOUND
    slopes = F.pad(_bounded(params[2 * bins :], 1), (0, 0, 1, 1)).exp()
    index = (knots[1, 1:-1] < y).sum(0)
    ends = torch.stack([index, index + 1])
    (x0, x1), (y0, y1), (s0, s1) = (part.gather(0, ends).unbind(0) for part in (*knots, slopes))
    width, height = x1 - x0, y1 - y0
    mean_slope = height / width
    inside = y.abs() < BOUND
    rise = torch.where(inside, y - y0, 0)
    bend = rise * (s0 + s1 - 2 * mean_slope)
    a = height * (mean_slope - s0) + bend
    b = height * s0 - bend
    c = -mean_slope * rise
    t = 2 * c / (-b - (b.square() - 4 * a * c).clamp_min(0).sqrt())
    return torch.where(inside, x0 + t * width, y)


def _bounded(params: Tensor, strength: int) -> Tensor:
    """Return parameters as zuko bounds them: a logarithm of a slope stays above that of :data:`SLOPE`."""
    return params / (1 + (strength / -math.log(SLOPE)) * params.abs())
