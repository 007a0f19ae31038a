"""Normal distributions seen through bins: the mass of an interval, and the fit to data with censored ends."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

__all__ = ["CensoredMoments", "fit_censored_normal", "log_cell_mass", "log_interval_mass"]

_SQRT2 = math.sqrt(2)
_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)
_NARROW = 0.01  # width in units of 1 / max(1, |x|) below which two terms of a series leave less than 1e-11


def log_interval_mass(low: Tensor, high: Tensor) -> Tensor:
    """Log of the mass that the standard normal puts on an interval, accurate in both tails also in float32.

    Args:
        low: Lower ends, ``-inf`` allowed.
        high: Upper ends, above ``low``, of the same shape; ``inf`` allowed.

    Returns:
        ``log(Phi(high) - Phi(low))``, nats, of the same shape and dtype.
    """
    return _LogIntervalMass.apply(low, high)


def log_cell_mass(centre: Tensor, width: Tensor) -> Tensor:
    """Log of the mass that the standard normal puts on a cell, whose ends may be too close for a difference of them.

    Args:
        centre: Middles of the cells.
        width: Their widths, positive, of the same shape.

    Returns:
        ``log(Phi(centre + width / 2) - Phi(centre - width / 2))``, nats, of the same shape and dtype.
    """
    narrow = width * centre.abs().clamp_min(1) < _NARROW
    density = _log_narrow_mass(centre, width.where(narrow, _NARROW))
    half = width.where(~narrow, 1) / 2
    return torch.where(narrow, density, log_interval_mass(centre - half, centre + half))


def _log_narrow_mass(centre: Tensor, width: Tensor) -> Tensor:
    """The density at the centre times the width, with the next term of the series."""
    series = torch.log1p((centre.square() - 1) * width.square() / 24) + width.log()
    return series - 0.5 * centre.square() - _LOG_SQRT_2PI


class _LogIntervalMass(torch.autograd.Function):
    # The derivatives are short, exp(log phi - log mass), while automatic ones would pass through all three branches
    # and turn the infinities of the branches not taken into NaN.

    @staticmethod
    def forward(ctx: Any, low: Tensor, high: Tensor) -> Tensor:
        # Mirror what lies above zero, so that the larger end of every interval off zero is the one with less tail.
        above = low > 0
        near, far = torch.where(above, -low, high), torch.where(above, -high, low)
        # erfcx is erfc without its exp(-t^2), so that nothing underflows far out; near^2 - far^2 is factored.
        decay = torch.exp(0.5 * (near - far) * (near + far))
        scaled = torch.special.erfcx(-near / _SQRT2) - torch.special.erfcx(-far / _SQRT2) * decay
        tail = torch.log(0.5 * scaled) - 0.5 * near.square()
        around_zero = torch.log1p(-0.5 * (torch.erfc(-far / _SQRT2) + torch.erfc(near / _SQRT2)))
        log_mass = torch.where(near > 0, around_zero, tail)
        log_mass = torch.where(far.isinf(), torch.special.log_ndtr(near), log_mass)
        # Differences lose the digits of narrow intervals, which have the density at their centre times their width.
        width = high - low
        centre = low + width / 2
        narrow = width * centre.abs().clamp_min(1) < _NARROW
        log_mass = torch.where(narrow, _log_narrow_mass(centre, width), log_mass)
        ctx.save_for_backward(low, high, log_mass)
        return log_mass

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        low, high, log_mass = ctx.saved_tensors
        at_low, at_high = (torch.exp(-0.5 * end.square() - _LOG_SQRT_2PI - log_mass) for end in (low, high))
        return -grad * at_low, grad * at_high


class CensoredMoments(NamedTuple):
    """What a sample says about a normal whose values below one bound and above another are only counted.

    Attributes:
        below: Weight of the values at or below the lower bound.
        above: Weight of the values at or above the upper bound.
        between: Weight of the others.
        total: Weighted sum of the others.
        squares: Weighted sum of their squares.
    """

    below: Tensor
    above: Tensor
    between: Tensor
    total: Tensor
    squares: Tensor


def fit_censored_normal(
    moments: CensoredMoments, lower: Tensor, upper: Tensor, min_scale: float, steps: int = 12
) -> tuple[Tensor, Tensor]:
    """Fit normals to censored samples by maximum likelihood, all at once.

    The likelihood is concave in 1 / scale and mean / scale: Olsen (1978), "Note on the uniqueness of the maximum
    likelihood estimator for the Tobit model", so that damped Newton steps find its one maximum.

    Args:
        moments: Of the samples, each of one shape; ``between`` positive.
        lower: Bound below which values are only counted, broadcastable to that shape.
        upper: Bound above which values are only counted.
        min_scale: Smallest scale.
        steps: Newton steps.

    Returns:
        Means and scales.
    """
    below, above, between, total, squares = moments
    count = below + above + between
    start = (below * lower + above * upper + total) / count
    spread = (below * lower**2 + above * upper**2 + squares) / count - start**2
    rate = spread.clamp_min(min_scale**2).rsqrt()
    shift = start * rate
    for _ in range(steps):
        slope_0, bend_0 = _log_ndtr_slopes(lower * rate - shift)
        slope_1, bend_1 = _log_ndtr_slopes(shift - upper * rate)
        by_shift = -below * slope_0 + above * slope_1 + rate * total - shift * between
        by_rate = below * lower * slope_0 - above * upper * slope_1 + between / rate - rate * squares + shift * total
        # Minus the second derivatives, so that the matrix is positive definite.
        ss = below * bend_0 + above * bend_1 + between
        sr = -below * lower * bend_0 - above * upper * bend_1 - total
        rr = below * lower**2 * bend_0 + above * upper**2 * bend_1 + between / rate**2 + squares
        determinant = (ss * rr - sr**2).clamp_min(torch.finfo(rate.dtype).tiny)
        step_shift = (rr * by_shift - sr * by_rate) / determinant
        step_rate = (ss * by_rate - sr * by_shift) / determinant
        damping = 1 + ((by_shift * step_shift + by_rate * step_rate).clamp_min(0) / count).sqrt()
        damping = torch.maximum(damping, -2 * step_rate / rate)  # the rate stays positive
        shift, rate = shift + step_shift / damping, rate + step_rate / damping
    mean, scale = shift / rate, 1 / rate
    return mean, scale.clamp_min(min_scale)


def _log_ndtr_slopes(u: Tensor) -> tuple[Tensor, Tensor]:
    """First and minus second derivative of log Phi."""
    slope = torch.exp(-0.5 * u.square() - _LOG_SQRT_2PI - torch.special.log_ndtr(u))
    return slope, (slope * (u + slope)).clamp(0, 1)
