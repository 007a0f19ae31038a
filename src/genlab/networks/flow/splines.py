"""Element-wise monotone transforms whose parameters a network predicts."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
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


class _Segment(NamedTuple):
    """Where values lie in their splines.

    Attributes:
        before: One at the segments before the value's, else zero, ``[N, bins, ...]``; processors multiply truth values
            slowly.
        here: One at the segment of the value, else zero.
        corner: The lower left corner (x, y) of the value's segment, ``[N, 2, ...]``.
        size: Its width and height.
        slopes: The derivatives at its two knots.
    """

    before: Tensor
    here: Tensor
    corner: Tensor
    size: Tensor
    slopes: Tensor


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

    def _segment(self, value: Tensor, shares: Tensor, slopes: Tensor, by_height: bool) -> _Segment:
        """Find each value's segment, with ``shares [N, 2, bins, ...]`` of the widths and heights of all."""
        floor = 2 * self.bound * self.min_size
        number = torch.arange(self.bins, device=value.device, dtype=value.dtype).view(-1, *[1] * (value.ndim - 1))
        knots = (shares[:, int(by_height), :-1].cumsum(1) * self._scale).add_(number[1:] * floor - self.bound)
        index = (value[:, None] >= knots).sum(1, keepdim=True, dtype=value.dtype)
        before, here = (number < index).to(value.dtype), (number == index).to(value.dtype)
        corner = (shares * before[:, None]).sum(2).mul_(self._scale).add_(index * floor - self.bound)
        size = (shares * here[:, None]).sum(2).mul_(self._scale).add_(floor)
        # The outermost slopes are no parameters but one, to join the identity outside: no slope is marked there.
        raw = torch.stack([(slopes * here[:, 1:]).sum(1), (slopes * here[:, :-1]).sum(1)], dim=1)
        return _Segment(before, here, corner, size, F.softplus(raw.add_(self._slope_offset)).add_(self.min_slope))

    @property
    def _scale(self) -> float:
        return 2 * self.bound * (1 - self.min_size * self.bins)

    def _spline_forward(self, x: Tensor, sizes: Tensor, slopes: Tensor) -> tuple[Tensor, Tensor]:
        return _Spline.apply(x, F.softmax(sizes.unflatten(1, (2, self.bins)), dim=2), slopes, self)

    def _spline_inverse(self, y: Tensor, sizes: Tensor, slopes: Tensor) -> Tensor:
        inside = y.abs() < self.bound
        clamped = y.clamp(-self.bound, self.bound)
        shares = F.softmax(sizes.unflatten(1, (2, self.bins)), dim=2)
        found = self._segment(clamped, shares, slopes, by_height=True)
        (x0, y0), (width, height), (s0, s1) = (part.unbind(1) for part in (found.corner, found.size, found.slopes))
        mean_slope = height / width
        rise = clamped - y0
        curvature = s0 + s1 - 2 * mean_slope
        a = height * (mean_slope - s0) + rise * curvature
        b = height * s0 - rise * curvature
        c = -mean_slope * rise
        # The stable root of a t^2 + b t + c = 0 in [0, 1] (equation 29 in the appendix).
        t = 2 * c / (-b - (b.square() - 4 * a * c).clamp_min(0).sqrt())
        return torch.where(inside, x0 + t * width, y)


class _Spline(Function):
    """The spline and its log-derivative, with the gradient written out.

    Automatic differentiation launches a kernel or more for each operation of the formula, and on a GPU the couplings of
    a flow then cost more in launches than in work. With the mean slope d of a segment, t in [0, 1] in it, r = 1 - t,
    e = d t + s0 r and f = s1 t + d r, equations 4 and 5 of Durkan et al. (2019) are y = y0 + h t e / D and
    dy/dx = d^2 M / D^2, where D = d + (s0 + s1 - 2 d) t r and M = r e + t f.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, shares: Tensor, slopes: Tensor, spline: SplineTransform) -> tuple[Tensor, Tensor]:
        inside = x.abs() < spline.bound
        clamped = x.clamp(-spline.bound, spline.bound)
        found = spline._segment(clamped, shares, slopes, by_height=False)
        (x0, y0), (width, height), (s0, s1) = (part.unbind(1) for part in (found.corner, found.size, found.slopes))
        d = height / width
        t = clamped.sub_(x0).div_(width)
        r = 1 - t
        bend = (s0 + s1).sub_(d, alpha=2)
        denominator = torch.addcmul(d, bend, t * r)
        e = (d * t).addcmul_(s0, r)
        f = (s1 * t).addcmul_(d, r)
        numerator = (r * e).addcmul_(t, f)
        share = (t * e).div_(denominator)  # of the segment's height that lies below the value
        slope = (d / denominator).square_().mul_(numerator)
        ctx.scale, ctx.min_slope = spline._scale, spline.min_slope
        ctx.save_for_backward(
            inside, found.before, found.here, found.size, found.slopes, d, t, r, bend, denominator, e, f, numerator,
            share, slope,
        )  # fmt: skip
        return torch.where(inside, torch.addcmul(y0, height, share), x), slope.log().mul_(inside)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_y: Tensor, of_log_slope: Tensor) -> tuple[Tensor | None, ...]:
        inside, before, here, size, slopes, d, t, r, bend, denominator, e, f, numerator, share, slope = (
            ctx.saved_tensors
        )
        width, height = size.unbind(1)
        within, of_log = of_y * inside, of_log_slope * inside
        # The gradients of N = t e, D and M, each with the others held; then of what they are made of.
        of_n = (within * height).div_(denominator)
        of_m, per_d = of_log / numerator, of_log / denominator
        of_d = (per_d * -2).addcmul_(of_n, share, value=-1)
        of_du, of_mt, of_mr = (t * r).mul_(of_d), of_m * t, of_m * r
        of_s0 = torch.addcmul(of_du, of_n * t, r).addcmul_(of_mr, r)
        of_s1 = torch.addcmul(of_du, of_mt, t)
        of_mean = (of_log / d).addcmul_(of_mt, r).sub_(of_du).mul_(2).add_(of_d).addcmul_(of_n * t, t)
        by_slope = (of_m * (f - e)).addcmul_(per_d, bend * (r - t), value=-1)
        of_x = (within * slope).addcdiv_(by_slope, width, value=2)
        of_mean.div_(width)
        of_size = torch.stack([-(of_mean * d).addcmul_(of_x, t), of_mean.addcmul_(within, share)], dim=1)
        of_corner = torch.stack([-of_x, within], dim=1)
        of_shares = (before[:, None] * of_corner[:, :, None]).add_(here[:, None] * of_size[:, :, None]).mul_(ctx.scale)
        # The derivative of softplus, from its value.
        of_raw = torch.stack([of_s0, of_s1], dim=1) * -torch.expm1(ctx.min_slope - slopes)
        of_slopes = (here[:, 1:] * of_raw[:, :1]).add_(here[:, :-1] * of_raw[:, 1:])
        return of_x.add_(of_y).sub_(within), of_shares, of_slopes, None
