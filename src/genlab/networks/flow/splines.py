"""Element-wise monotone transforms whose parameters a network predicts."""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["AffineTransform", "ElementwiseTransform", "SplineTransform"]


class ElementwiseTransform(Protocol):
    """A monotone map of each element, given ``num_params`` parameters for it.

    Zero parameters give the identity, so that a network whose last layer is zero starts as the identity.
    """

    num_params: int

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Map ``x [N, ...]`` with ``params [N, num_params, ...]`` to values and log-derivatives, both ``[N, ...]``."""
        ...

    def inverse(self, y: Tensor, params: Tensor) -> Tensor:
        """Undo :meth:`forward`."""
        ...


class AffineTransform:
    """Scale and shift each element, the log-scale bounded to ``(-bound, bound)``.

    Dinh et al. (2017), "Density estimation using Real NVP", equation 7; the bound keeps training stable.

    Args:
        bound: Largest absolute log-scale.
    """

    num_params = 2

    def __init__(self, bound: float = 2.0) -> None:
        self.bound = bound

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        # unbind, not indexing: the gradient of an index is a zero-filled tensor of the full size.
        raw_scale, shift = params.unbind(1)
        log_scale = self._bounded(raw_scale)
        return x * log_scale.exp() + shift, log_scale

    def inverse(self, y: Tensor, params: Tensor) -> Tensor:
        raw_scale, shift = params.unbind(1)
        return (y - shift) * (-self._bounded(raw_scale)).exp()

    def _bounded(self, raw_scale: Tensor) -> Tensor:
        return self.bound * torch.tanh(raw_scale / self.bound)


class SplineTransform:
    """Monotone rational-quadratic spline on ``[-bound, bound]``, followed by a scale and a shift.

    Outside the interval the spline is the identity. The scale and shift let the next layer move what
    the spline cannot: it maps the interval onto itself.
    Durkan et al. (2019), "Neural Spline Flows", equations 4 to 8.

    Args:
        bins: Number of spline segments.
        bound: Half the width of the interval.
        min_size: Least width and height of a segment, as a fraction of the interval.
        min_slope: Least derivative at a knot.
    """

    def __init__(self, bins: int = 8, bound: float = 4.0, min_size: float = 1e-3, min_slope: float = 1e-3) -> None:
        self.bins = bins
        self.bound = bound
        self.min_size = min_size
        self.min_slope = min_slope
        self._parts = [AffineTransform.num_params, 2 * bins, bins - 1]
        self.num_params = sum(self._parts)
        self._affine = AffineTransform()
        # softplus(offset) + min_slope = 1: zero parameters have slope one everywhere.
        self._slope_offset = math.log(math.expm1(1 - min_slope))

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        affine, sizes, slopes = params.split(self._parts, dim=1)
        y, log_slope = self._spline_forward(x, sizes, slopes)
        y, log_scale = self._affine.forward(y, affine)
        return y, log_slope + log_scale

    def inverse(self, y: Tensor, params: Tensor) -> Tensor:
        affine, sizes, slopes = params.split(self._parts, dim=1)
        return self._spline_inverse(self._affine.inverse(y, affine), sizes, slopes)

    def _segment(self, value: Tensor, sizes: Tensor, slopes: Tensor, by_height: bool) -> tuple[Tensor, ...]:
        """Find each value's segment: its corner (x, y), width, height and the slopes at its two knots."""
        sizes = F.softmax(sizes.unflatten(1, (2, self.bins)), dim=2)
        floor = 2 * self.bound * self.min_size
        scale = 2 * self.bound * (1 - self.min_size * self.bins)
        segment = torch.arange(self.bins, device=value.device).view(-1, *[1] * (value.ndim - 1))
        # Only the search needs all knots. Gradients flow through masked sums, which cost a third of
        # what cumsum and gather cost backwards.
        with torch.no_grad():
            knots = sizes[:, int(by_height), :-1].cumsum(1) * scale + (segment[1:] * floor - self.bound)
            index = (value[:, None] >= knots).sum(1, keepdim=True)
            before = (segment < index).to(sizes.dtype)[:, None]
            here = (segment == index).to(sizes.dtype)[:, None]
            start = index[:, 0].to(sizes.dtype) * floor - self.bound
        x0, y0 = ((sizes * before).sum(2) * scale).unbind(1)
        width, height = ((sizes * here).sum(2) * scale + floor).unbind(1)
        # The outermost slopes are one, to join the identity outside.
        s0, s1 = (self._slope((slopes * (segment == index - shift)[:, :-1]).sum(1)) for shift in (1, 0))
        return x0 + start, y0 + start, width, height, s0, s1

    def _slope(self, raw: Tensor) -> Tensor:
        return F.softplus(raw + self._slope_offset) + self.min_slope

    def _spline_forward(self, x: Tensor, sizes: Tensor, slopes: Tensor) -> tuple[Tensor, Tensor]:
        inside = x.abs() < self.bound
        clamped = x.clamp(-self.bound, self.bound)
        x0, y0, width, height, s0, s1 = self._segment(clamped, sizes, slopes, by_height=False)
        mean_slope = height / width
        t = (clamped - x0) / width
        t_1mt = t * (1 - t)
        denominator = mean_slope + (s0 + s1 - 2 * mean_slope) * t_1mt
        y = y0 + height * (mean_slope * t.square() + s0 * t_1mt) / denominator
        numerator = s1 * t.square() + 2 * mean_slope * t_1mt + s0 * (1 - t).square()
        log_slope = 2 * (mean_slope / denominator).log() + numerator.log()
        return torch.where(inside, y, x), torch.where(inside, log_slope, 0.0)

    def _spline_inverse(self, y: Tensor, sizes: Tensor, slopes: Tensor) -> Tensor:
        inside = y.abs() < self.bound
        clamped = y.clamp(-self.bound, self.bound)
        x0, y0, width, height, s0, s1 = self._segment(clamped, sizes, slopes, by_height=True)
        mean_slope = height / width
        rise = clamped - y0
        curvature = s0 + s1 - 2 * mean_slope
        a = height * (mean_slope - s0) + rise * curvature
        b = height * s0 - rise * curvature
        c = -mean_slope * rise
        # The stable root of a t^2 + b t + c = 0 in [0, 1] (equation 29 in the appendix).
        t = 2 * c / (-b - (b.square() - 4 * a * c).clamp_min(0).sqrt())
        return torch.where(inside, x0 + t * width, y)
