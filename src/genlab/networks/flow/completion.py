"""The rest of a point given a part of it, by a density that has gradients: Hamiltonian Monte Carlo."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from genlab.core.likelihood import Logit, sum_dims
from genlab.core.noise import normal, uniform

__all__ = ["LEAPS", "Coordinates", "hamiltonian", "in_cells", "of_levels", "of_numbers"]

LEAPS = 5
"""Gradients of a step."""
LEAST_SHARE = 1e-4
"""What a start keeps away from the ends of an interval."""
_ACCEPTED = 0.8
"""Share of steps that are to be accepted."""
_FIRST_SIZE = 0.1


class Coordinates(NamedTuple):
    """Numbers ``[N, D]``, any of which stand for a point that has in it what is given.

    Attributes:
        free: ``[N, D]``, bool: which numbers a point depends on.
        missing: ``[N, D]``, bool: which belong to what is not given.
        place: Maps the numbers to points ``[N, D]`` and log-determinants ``[N]``, nats.
        of_point: Maps points ``[N, D]`` to their numbers, where nothing is given.
    """

    free: Tensor
    missing: Tensor
    place: Callable[[Tensor], tuple[Tensor, Tensor]]
    of_point: Callable[[Tensor], Tensor]


def of_levels(x: Tensor, kept: Tensor, there: Tensor | None, levels: int, logit: Logit) -> Coordinates:
    """Return the coordinates of levels ``[N, D]``: what is kept is held to its cell, the rest to the unit interval.

    Args:
        x: Levels.
        kept: ``[N, D]``, bool.
        there: ``[N, D]``, bool, true where there is a value; None: all is there.
        levels: How many.
        logit: Maps the unit interval to the points.
    """
    exists = torch.ones_like(kept) if there is None else there
    low = torch.where(kept, x / levels, 0)
    width = torch.where(kept, 1 / levels, torch.ones_like(low))

    def place(w: Tensor) -> tuple[Tensor, Tensor]:
        share, log_share = in_cells(w, low, width)
        point, log_det = logit.forward(share, exists)
        return point, log_det + sum_dims(log_share, exists)

    def of_point(point: Tensor) -> Tensor:
        return logit.inverse(point)[0].clamp(LEAST_SHARE, 1 - LEAST_SHARE).logit()

    return Coordinates(exists, exists & ~kept, place, of_point)


def of_numbers(x: Tensor, kept: Tensor, there: Tensor | None, scale: Tensor) -> Coordinates:
    """Return the coordinates of continuous values ``[N, D]``, in units of ``scale [D]``."""
    missing = ~kept if there is None else there & ~kept

    def place(w: Tensor) -> tuple[Tensor, Tensor]:
        return torch.where(missing, scale * w, x), torch.zeros(len(w), device=w.device)

    return Coordinates(missing, missing, place, lambda point: point / scale)


def in_cells(w: Tensor, low: Tensor, width: Tensor) -> tuple[Tensor, Tensor]:
    """Return the points ``[N, D]`` of cells from ``low`` on, as wide as ``width``, that any numbers ``w`` stand for.

    Returns:
        The points, and the log-determinants ``[N, D]``, nats, each of its own.
    """
    return low + width * w.sigmoid(), width.log() + F.logsigmoid(w) + F.logsigmoid(-w)


def hamiltonian(
    log_density: Callable[[Tensor], Tensor], start: Tensor, free: Tensor, steps: int, generator: Generator | None
) -> Tensor:
    """Go by steps that leave a density as it is, and so come near to it from anywhere.

    Neal (2011), "MCMC using Hamiltonian dynamics", algorithm of figure 2, with sizes of steps that vary by a fifth to
    either side. In the first half of the steps each example's size is set so that four of five are accepted, by
    stochastic approximation: Hoffman and Gelman (2014), "The No-U-Turn sampler", section 3.2. With more and more steps
    it is exact.

    Args:
        log_density: Maps ``[N, D]`` to nats ``[N]``, up to a constant of each example; has gradients.
        start: ``[N, D]``.
        free: ``[N, D]``, bool: what may move.
        steps: How many, of :data:`LEAPS` gradients each.
        generator: Source of the noise.

    Returns:
        ``[N, D]``.
    """
    n, device = len(start), start.device

    def judged(w: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            point = w.detach().requires_grad_()
            value = log_density(point)
            (slope,) = torch.autograd.grad(value.sum(), point)
        return value.detach().double(), slope.where(free, 0)

    with torch.inference_mode(False), torch.no_grad():
        w = start.clone()
        value, slope = judged(w)
        log_size = torch.full((n, 1), _FIRST_SIZE, device=device).log()
        for step in range(steps):
            first = normal(w.shape, generator, device, w.dtype).where(free, 0)
            chance = uniform((n, 2), generator, device, torch.float64)
            size = log_size.exp() * (0.8 + 0.4 * chance[:, :1]).to(w.dtype)
            other, momentum, other_slope = w, first, slope
            for _ in range(LEAPS):
                momentum = momentum + size / 2 * other_slope
                other = other + size * momentum
                other_value, other_slope = judged(other)
                momentum = momentum + size / 2 * other_slope
            energy = (momentum.double().square().sum(1) - first.double().square().sum(1)) / 2
            probability = (other_value - value - energy).exp().nan_to_num(nan=0.0).clamp(max=1)
            accepted = (chance[:, 1] < probability)[:, None]
            w, slope = other.where(accepted, w), other_slope.where(accepted, slope)
            value = other_value.where(accepted[:, 0], value)
            if step < steps // 2:
                log_size = log_size + (probability[:, None].to(w.dtype) - _ACCEPTED) / (1 + step) ** 0.5
        return w
