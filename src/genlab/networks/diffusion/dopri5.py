"""Dormand and Prince's adaptive solver of ordinary differential equations, with steps of its own for each example."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from genlab.core.errors import GenlabError

__all__ = ["Norm", "Slope", "Solution", "dopri5"]

Slope = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Maps times ``[M]``, states ``[M, S]`` and their rows ``[M]`` in the whole batch to derivatives ``[M, S]``."""
Norm = Callable[[Tensor], Tensor]
"""Maps values ``[M, S]``, each in units of its tolerance, to one size for each example, ``[M]``."""

MAX_STEPS = 10_000
"""Steps after which an equation counts as too stiff to be solved."""
LEAST_STEP = 1e-10
"""Share of the interval below which a step is lost in the rounding of times."""
SAFETY, LEAST_FACTOR, LARGEST_FACTOR = 0.9, 0.2, 10.0

# Dormand and Prince (1980), table 2; the last stage of a step is the first of the next.
NODES = (1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
STAGES = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)
"""Weights of the solution of order 5 less those of order 4."""


_Size = Callable[[Tensor, Tensor], Tensor]
# Maps values and the magnitudes of the state that they belong to, [M, S] each, to their size [M] in tolerances.


class Solution(NamedTuple):
    """Where an equation has led.

    Attributes:
        end: States ``[N, S]``, in the dtype of the start.
        evaluations: How often the derivative of each example was evaluated, ``[N]``.
    """

    end: Tensor
    evaluations: Tensor


class _Running(NamedTuple):
    """Examples that are not at the end yet.

    Attributes:
        rows: Their places in the batch, ``[M]``.
        time: Share of the interval that is behind them, ``[M]``.
        step: Share of it that they try next, ``[M]``.
        state: ``[M, S]``.
        slope: Derivative there with respect to the share, ``[M, S]``.
    """

    rows: Tensor
    time: Tensor
    step: Tensor
    state: Tensor
    slope: Tensor

    def where(self, chosen: Tensor) -> _Running:
        return _Running(*(part[chosen] for part in self))


def dopri5(slope: Slope, start: Tensor, t0: float, t1: float, *, rtol: float, atol: float, norm: Norm) -> Solution:
    """Solve a batch of equations from ``t0`` to ``t1``, each example in steps as long as its own error allows.

    Dormand and Prince (1980), "A family of embedded Runge-Kutta formulae", of order 5 with local extrapolation; the
    choice of steps is that of Hairer, Nørsett and Wanner (1993), "Solving Ordinary Differential Equations I", section
    II.4. No example's steps depend on another's, and one at its end is evaluated no more. States are kept in float64,
    where the device has it, so that only the rounding of the derivative enters the errors.

    Args:
        slope: Called in the dtype of ``start``, at times within the interval.
        start: ``[N, S]``, floating point.
        t0: Time of the start, of all examples.
        t1: Time of the end.
        rtol: Relative tolerance of the error of one step.
        atol: Absolute tolerance of the error of one step.
        norm: What must not exceed 1 for the errors of a step over ``atol + rtol |state|``.

    Raises:
        GenlabError: If an example meets infinite values, or needs too many or too small steps.
    """
    clock = torch.float32 if start.device.type == "mps" else torch.float64  # MPS has no float64

    def derivative(time: Tensor, state: Tensor, rows: Tensor) -> Tensor:
        return (t1 - t0) * slope((t0 + (t1 - t0) * time).to(start), state.to(start), rows).to(clock)

    def size(values: Tensor, magnitude: Tensor) -> Tensor:
        return norm(values / (atol + rtol * magnitude))

    rows = torch.arange(len(start), device=start.device)
    state, time = start.to(clock), torch.zeros(len(start), dtype=clock, device=start.device)
    first = derivative(time, state, rows)
    running = _Running(rows, time, _first_step(derivative, state, first, rows, size), state, first)
    end, evaluations = state.clone(), torch.full_like(rows, 2)
    for _ in range(MAX_STEPS):
        if not len(running.rows):
            return Solution(end.to(start), evaluations)
        evaluations[running.rows] += len(STAGES)
        running = _tried(derivative, running, size)
        arrived = running.time >= 1
        if arrived.any():
            end[running.rows[arrived]] = running.state[arrived]
            running = running.where(~arrived)  # whose last step may have been as short as what was left
        if (running.step < LEAST_STEP).any():
            raise _no_solution(rtol, atol, "steps too small")
    raise _no_solution(rtol, atol, f"more than {MAX_STEPS:,} steps")


def _no_solution(rtol: float, atol: float, reason: str) -> GenlabError:
    return GenlabError(
        f"dopri5 with rtol {rtol:g} and atol {atol:g} found no solution ({reason}). "
        "Use larger tolerances, or solver=heun."
    )


def _tried(derivative: Slope, running: _Running, size: _Size) -> _Running:
    """Try one step of each example; those whose error is too large stay where they are, with a shorter step."""
    rows, time, step, state, slope = running
    left = 1 - time
    is_last = step >= left
    step = torch.where(is_last, left, step)
    slopes, reached = [slope], state
    for node, weights in zip(NODES, STAGES, strict=True):
        reached = state + step[:, None] * _combined(weights, slopes)
        slopes.append(derivative(time + node * step, reached, rows))
    error = size(step[:, None] * _combined(ERROR, slopes), torch.maximum(state.abs(), reached.abs()))
    error = torch.where(torch.isfinite(error), error, torch.inf)
    accepted = error <= 1
    factor = (SAFETY * error.clamp_min(1e-12) ** -0.2).clamp(LEAST_FACTOR, LARGEST_FACTOR)
    moved = torch.where(is_last, torch.ones_like(time), time + step)
    return _Running(
        rows,
        torch.where(accepted, moved, time),
        step * torch.where(accepted, factor, factor.clamp_max(1.0)),
        torch.where(accepted[:, None], reached, state),
        torch.where(accepted[:, None], slopes[-1], slope),
    )


def _combined(weights: tuple[float, ...], slopes: list[Tensor]) -> Tensor:
    total = weights[0] * slopes[0]
    for weight, slope in zip(weights[1:], slopes[1:], strict=True):
        if weight:
            total = total.add(slope, alpha=weight)
    return total


def _first_step(derivative: Slope, state: Tensor, slope: Tensor, rows: Tensor, size: _Size) -> Tensor:
    """Guess the first step from how the derivative changes, ``[N]``; Hairer et al. (1993), page 169."""
    magnitude = state.abs()
    d0, d1 = size(state, magnitude), size(slope, magnitude)
    guess = torch.where((d0 < 1e-5) | (d1 < 1e-5), 1e-6, 0.01 * d0 / d1).clamp_max(1.0)
    moved = derivative(guess, state + guess[:, None] * slope, rows)
    d2 = size(moved - slope, magnitude) / guess
    steepest = torch.maximum(d1, d2)
    step = torch.where(steepest <= 1e-15, (guess * 1e-3).clamp_min(1e-6), (0.01 / steepest) ** 0.2)
    step = torch.minimum(100 * guess, step)
    return torch.where(torch.isfinite(step), step, 1e-3).clamp(1e-6, 1.0)
