"""Probabilities that correlated normals put on boxes, by importance sampling: unbiased, so their logs are bounds."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from genlab.core.noise import normal, uniform
from genlab.networks.mixture.binned_normal import log_interval_mass

__all__ = ["Gaussian", "approximate_factor_posterior", "factor_log_weights", "ghk_log_weights", "truncated_normal"]

_LOG_2PI = math.log(2 * math.pi)
_LOG_TINY = -700.0  # below it exp underflows in double precision
_SWEEPS = 4  # on the 8x8 digits more gained less than 0.001 bits/dim
_DAMPING = 0.7
_FREEDOM = 30  # degrees of freedom of the Student t
_DRAWN_AT_ONCE = 64  # dimensions whose noise is drawn at once, which saves time, and not for all, which saves memory


def truncated_normal(low: Tensor, high: Tensor, uniform: Tensor) -> Tensor:
    """Draw standard normals within intervals by inversion, accurate in both tails.

    Args:
        low: Lower ends, float64, ``-inf`` allowed.
        high: Upper ends, above ``low``; ``inf`` allowed.
        uniform: Noise in ``[0, 1)``.

    Returns:
        Values in ``[low, high]``, float64; those in intervals above zero fall as the noise rises, the others rise.
    """
    # Mirror what lies above zero: there the distribution function has no digits left.
    above = low + high > 0
    start, end = torch.where(above, -high, low), torch.where(above, -low, high)
    noise = uniform.clamp_min(torch.finfo(torch.float64).eps / 4).log()
    quantile = _inverse_log_ndtr(torch.logaddexp(torch.special.log_ndtr(start), noise + log_interval_mass(start, end)))
    quantile = torch.minimum(torch.maximum(quantile, start), end)
    return torch.where(above, -quantile, quantile)


def _inverse_log_ndtr(log_p: Tensor) -> Tensor:
    """Return where log Phi has these values, also where Phi underflows."""
    usual = torch.special.ndtri(log_p.clamp_min(_LOG_TINY).exp())
    far = -2 * log_p.clamp_max(_LOG_TINY)
    tail = -(far - (2 * math.pi * far).log()).sqrt()
    for _ in range(2):  # Newton, from a start with an error of order log(far) / far^1.5
        value = torch.special.log_ndtr(tail)
        tail = tail + (log_p.clamp_max(_LOG_TINY) - value) * torch.exp(0.5 * (tail.square() + _LOG_2PI) + value)
    return torch.where(log_p < _LOG_TINY, tail, usual)


@torch.no_grad()
def ghk_log_weights(
    low: Tensor, high: Tensor, regression: Tensor, scale: Tensor, num_draws: int, generator: Generator | None
) -> Tensor:
    """Importance weights of the probabilities of boxes under centred normals whose dimensions follow each other.

    Dimension i has, given those before it, the mean ``-sum_j regression[i, j] z_j`` and a standard deviation of its
    own. The simulator of Geweke (1991), Hajivassiliou and McFadden (1998) and Keane (1994), GHK: dimension after
    dimension is drawn within its interval, and the weight is the product of the intervals' conditional masses.

    Args:
        low: Lower ends ``[N, K, D]``, ``-inf`` allowed.
        high: Upper ends ``[N, K, D]``, ``inf`` allowed.
        regression: ``[K, D, D]``, of which only what is below the diagonal is used.
        scale: Conditional standard deviations ``[K, D]``.
        num_draws: Draws for each box and normal, S; they are independent.
        generator: Source of the noise.

    Returns:
        Logs of the weights ``[S, N, K]``, float64, without gradient; the mean of a weight is the probability.
    """
    # Dimensions before examples, so that each step of the regression is one product of contiguous matrices.
    low, high = (end.double().permute(1, 2, 0) for end in (low, high))
    regression, scale = regression.double(), scale.double()
    return torch.stack([_ghk_draw(low, high, regression, scale, generator) for _ in range(num_draws)])


def _ghk_draw(low: Tensor, high: Tensor, regression: Tensor, scale: Tensor, generator: Generator | None) -> Tensor:
    components, dims, examples = low.shape
    z = torch.empty_like(low)
    total = low.new_zeros(components, examples)
    for i in range(dims):
        mean = -(regression[:, i, None, :i] @ z[:, :i])[:, 0]
        deviation = scale[:, i, None]
        start, end = (low[:, i] - mean) / deviation, (high[:, i] - mean) / deviation
        total += log_interval_mass(start, end)
        if i % _DRAWN_AT_ONCE == 0:
            count = min(_DRAWN_AT_ONCE, dims - i)
            noise = uniform((examples, count, components), generator, low.device, low.dtype).permute(1, 2, 0)
        z[:, i] = mean + deviation * truncated_normal(start, end, noise[i % _DRAWN_AT_ONCE])
    return total.T


class Gaussian(NamedTuple):
    """Normals over vectors of length R.

    Attributes:
        mean: ``[N, R]``.
        precision_cholesky: Lower triangular ``[N, R, R]``.
    """

    mean: Tensor
    precision_cholesky: Tensor


@torch.no_grad()
def approximate_factor_posterior(low: Tensor, high: Tensor, factors: Tensor, scale: Tensor) -> Gaussian:
    """Approximate what boxes say of the code c of a factor analyzer, ``z = factors c + scale * noise``.

    Expectation propagation: Minka (2001), "Expectation propagation for approximate Bayesian inference". The mass of a
    bin given the code is one factor of the posterior; all of them are updated at once, damped.

    Args:
        low: Lower ends ``[N, D]``, ``-inf`` allowed.
        high: Upper ends ``[N, D]``, ``inf`` allowed.
        factors: ``[D, R]``.
        scale: ``[D]``.

    Returns:
        The normal nearest to each posterior.
    """
    variance = scale.square()
    # The start takes the value of a bin as uniform within it, and that of an open bin as unknown.
    width = high - low
    precision = 1 / (variance + width.square() / 12)
    shift = torch.where(width.isinf(), 0.0, precision * (low + high) / 2)
    for _ in range(_SWEEPS):
        posterior = _condition(factors, precision, shift)
        mean = posterior.mean @ factors.T
        solved = torch.linalg.solve_triangular(posterior.precision_cholesky, factors.T[None], upper=False)
        spread = solved.square().sum(1)
        # The belief without the bin itself, then the bin's own message.
        kept = (1 - precision * spread).clamp_min(1e-12)
        mean, spread = (mean - spread * shift) / kept, spread / kept
        slope, bend = _interval_slopes(low - mean, high - mean, (spread + variance).sqrt())
        rest = 1 - spread * bend
        precision = torch.lerp(precision, bend / rest, _DAMPING)
        shift = torch.lerp(shift, (slope + mean * bend) / rest, _DAMPING)
    return _condition(factors, precision, shift)


def _condition(factors: Tensor, precision: Tensor, shift: Tensor) -> Gaussian:
    eye = torch.eye(factors.shape[1], dtype=factors.dtype, device=factors.device)
    cholesky = torch.linalg.cholesky(eye + torch.einsum("dr,nd,ds->nrs", factors, precision, factors))
    return Gaussian(torch.cholesky_solve((shift @ factors)[..., None], cholesky)[..., 0], cholesky)


def _interval_slopes(low: Tensor, high: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """First and minus second derivative, by the mean, of the log-mass that a normal puts on an interval."""
    start, end = low / scale, high / scale
    log_mass = log_interval_mass(start, end)
    at_start, at_end = (torch.exp(-0.5 * (u.square() + _LOG_2PI) - log_mass) for u in (start, end))
    slope = at_start - at_end
    moment = torch.where(start.isinf(), 0.0, start * at_start) - torch.where(end.isinf(), 0.0, end * at_end)
    return slope / scale, (slope.square() - moment).clamp(0, 1) / scale.square()


@torch.no_grad()
def factor_log_weights(
    low: Tensor, high: Tensor, factors: Tensor, scale: Tensor, num_draws: int, generator: Generator | None
) -> Tensor:
    """Importance weights of the probabilities of boxes under centred factor analyzers.

    Given the code the dimensions are independent, so that a box has an exact mass; the code is drawn near its
    posterior, from a Student t, whose tails no posterior exceeds.

    Args:
        low: Lower ends ``[N, K, D]``, ``-inf`` allowed.
        high: Upper ends ``[N, K, D]``, ``inf`` allowed.
        factors: ``[K, D, R]``.
        scale: Standard deviations given the code ``[K, D]``.
        num_draws: Draws for each box and component, S; they are independent.
        generator: Source of the noise.

    Returns:
        Logs of the weights ``[S, N, K]``, float64, without gradient; the mean of a weight is the probability.
    """
    components = zip(low.double().unbind(1), high.double().unbind(1), factors.double(), scale.double(), strict=True)
    # One component and draw at a time, to save memory.
    weights = []
    for start, end, loading, deviation in components:
        proposal = approximate_factor_posterior(start, end, loading, deviation)
        weights.append(
            torch.stack([_factor_draw(start, end, loading, deviation, proposal, generator) for _ in range(num_draws)])
        )
    return torch.stack(weights, -1)


def _factor_draw(
    low: Tensor, high: Tensor, factors: Tensor, scale: Tensor, proposal: Gaussian, generator: Generator | None
) -> Tensor:
    rank = factors.shape[1]
    noise = normal((len(low), rank + _FREEDOM), generator, low.device, low.dtype)
    direction, chi = noise[:, :rank], noise[:, rank:].square().sum(1)
    white = direction * (_FREEDOM / chi).sqrt()[:, None]
    cholesky = proposal.precision_cholesky
    code = proposal.mean + torch.linalg.solve_triangular(cholesky.mT, white[..., None], upper=True)[..., 0]
    mean = code @ factors.T
    log_mass = log_interval_mass((low - mean) / scale, (high - mean) / scale).sum(1)
    log_prior = -0.5 * (code.square() + _LOG_2PI).sum(1)
    half = (_FREEDOM + rank) / 2
    log_q = (
        math.lgamma(half)
        - math.lgamma(_FREEDOM / 2)
        - 0.5 * rank * math.log(_FREEDOM * math.pi)
        - half * torch.log1p(white.square().sum(1) / _FREEDOM)
        + cholesky.diagonal(dim1=-2, dim2=-1).log().sum(1)
    )
    return log_prior + log_mass - log_q
