"""Element-wise monotone transforms whose parameters a network predicts."""

from __future__ import annotations

import math
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
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
            knots = torch.add(segment[1:] * floor - self.bound, sizes[:, int(by_height), :-1].cumsum(1), alpha=scale)
            index = (value[:, None] >= knots).sum(1, keepdim=True)
            before = (segment < index).to(sizes.dtype)[:, None]
            here = (segment == index).to(sizes.dtype)[:, None]
            # A segment's first slope is that of the knot before it, its second that of its own.
            ends = torch.stack([here[:, 0, 1:], here[:, 0, :-1]], dim=1)
            start = index.to(sizes.dtype) * floor - self.bound
        corner = torch.add(start, (sizes * before).sum(2), alpha=scale)
        extent = (sizes * here).sum(2) * scale + floor
        # The outermost slopes are one, to join the identity outside.
        s0, s1 = self._slope((slopes[:, None] * ends).sum(2)).unbind(1)
        return *corner.unbind(1), *extent.unbind(1), s0, s1

    def _slope(self, raw: Tensor) -> Tensor:
        return F.softplus(raw + self._slope_offset) + self.min_slope

    def _spline_forward(self, x: Tensor, sizes: Tensor, slopes: Tensor) -> tuple[Tensor, Tensor]:
        inside = x.abs() < self.bound
        segment = self._segment(x.detach().clamp(-self.bound, self.bound), sizes, slopes, by_height=False)
        return _RationalQuadratic.apply(x, inside, *segment)

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


class _RationalQuadratic(torch.autograd.Function):
    """A segment of the spline and its log-derivative, with the gradient written out: half the kernels of a derived one.

    Durkan et al. (2019), "Neural Spline Flows", equations 4 and 5. With the slope m = h / w of the segment as a whole,
    t = (x - x0) / w, u = t (1 - t), D = m + (s0 + s1 - 2 m) u and N = s1 t^2 + 2 m u + s0 (1 - t)^2 the value is
    y0 + h (m t^2 + s0 u) / D and the derivative m^2 N / D^2. Values that are not inside stay as they are.
    """

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: FunctionCtx,
        x: Tensor,
        inside: Tensor,
        x0: Tensor,
        y0: Tensor,
        width: Tensor,
        height: Tensor,
        s0: Tensor,
        s1: Tensor,
    ) -> tuple[Tensor, Tensor]:
        slope = height / width
        t = ((x - x0) / width).clamp_(0, 1)
        rest = 1 - t
        u = t * rest
        denominator = torch.addcmul(slope, torch.sub(s0 + s1, slope, alpha=2), u)
        share = (slope * t).mul_(t).addcmul_(s0, u).div_(denominator)
        numerator = (s1 * t).mul_(t).addcmul_(slope, u, value=2).addcmul_(s0 * rest, rest)
        y = torch.where(inside, torch.addcmul(y0, height, share), x)
        log_slope = (slope / denominator).square_().mul_(numerator).log_().mul_(inside)
        ctx.save_for_backward(inside, t, u, width, height, slope, s0, s1, denominator, share, numerator)
        return y, log_slope

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_y: Tensor, of_log: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        inside, t, u, width, height, slope, s0, s1, denominator, share, numerator = ctx.saved_tensors
        outside_of_y = torch.where(inside, 0, of_y)
        of_y, of_log = of_y * inside, of_log * inside
        rest, bend = 1 - t, torch.rsub(u, 1, alpha=2)  # 1 - 2 u
        skew = rest - t
        # By the denominator, by the numerator of the derivative, and by the numerator of the value.
        by_value = of_y * height / denominator
        by_numerator = of_log / numerator
        by_denominator = torch.addcmul(of_log * 2 / denominator, by_value, share).neg_()
        of_s0 = (by_value + by_denominator).mul_(u).addcmul_(by_numerator * rest, rest)
        of_s1 = (by_denominator * u).addcmul_(by_numerator * t, t)
        of_slope = (by_value * t).mul_(t).addcmul_(by_denominator, bend).addcmul_(by_numerator, u, value=2)
        of_slope.add_(of_log / slope, alpha=2)
        # What moves along the segment moves the value by its derivative, h m N / D^2 for each t.
        curvature = torch.sub(s0 + s1, slope, alpha=2)
        along = (slope * skew).addcmul_(s1, t).addcmul_(s0, rest, value=-1)
        of_t = by_value * slope * numerator / denominator
        of_t.addcmul_(of_log / denominator, curvature.mul_(skew), value=-2).addcmul_(by_numerator, along, value=2)
        of_x = of_t / width
        of_height = torch.addcmul(of_slope / width, of_y, share)
        of_width = torch.addcmul(of_t * t, of_slope, slope).div_(width).neg_()
        return of_x + outside_of_y, None, -of_x, of_y, of_width, of_height, of_s0, of_s1
