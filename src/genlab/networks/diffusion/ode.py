"""Ordinary differential equations: solvers, and the density of what they carry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt, Le
from torch import Generator, Tensor

from genlab.core.errors import GenlabError
from genlab.core.words import counted

__all__ = ["LikelihoodConfig", "OdeConfig", "Velocity", "integrate", "ode_log_prob"]

Velocity = Callable[[Tensor, Tensor], Tensor]
"""Maps a time, a scalar tensor, and a state ``[N, ...]`` to the state's derivative, of the same shape."""

EXACT_DIMS = 16
"""Dimensions up to which ``trace=auto`` is exact: one backward pass of the network for each."""
MAX_STEPS = 10_000
"""Adaptive steps after which an equation counts as too stiff to be solved."""

_Norm = Callable[[Tensor], Tensor]
_Step = Callable[[Velocity, Tensor, float, Tensor], Tensor]


@dataclass(frozen=True)
class OdeConfig:
    """How an ordinary differential equation is solved.

    Args:
        solver: ``euler``, ``midpoint`` or ``heun`` in equal steps, orders 1, 2 and 2; or ``dopri5``, adaptive, order 5:
            Dormand and Prince (1980).
        steps: Number of steps of the first three.
        rtol: Relative tolerance of ``dopri5``, for each example.
        atol: Absolute tolerance of ``dopri5``, for each example.
    """

    solver: Literal["euler", "heun", "midpoint", "dopri5"]
    steps: Annotated[int, Ge(1), Le(100_000)]
    rtol: Annotated[float, Gt(0)]
    atol: Annotated[float, Gt(0)]

    @property
    def evaluations(self) -> int:
        """Evaluations of the velocity from start to end in equal steps."""
        return self.steps * _FIXED_STEPS[self.solver][1]

    def __str__(self) -> str:
        if self.solver == "dopri5":
            return f"dopri5, rtol {self.rtol:g}, atol {self.atol:g}"
        return f"{self.solver}, {counted(self.steps, 'step')}"


@dataclass(frozen=True)
class LikelihoodConfig(OdeConfig):
    """How a log-density is computed along an equation; the solver's settings as in :class:`OdeConfig`.

    Args:
        trace: Trace of the velocity's Jacobian: ``exact``, one backward pass for each dimension; ``hutchinson``,
            estimated without bias, one for each probe; or ``auto``, exact for few dimensions.
        probes: Random directions of ``hutchinson`` for each example.
    """

    trace: Literal["auto", "exact", "hutchinson"]
    probes: Annotated[int, Ge(1), Le(100_000)]

    def is_exact(self, num_dims: int) -> bool:
        """Whether the trace is exact for examples of so many dimensions."""
        return self.trace == "exact" or (self.trace == "auto" and num_dims <= EXACT_DIMS)


def integrate(velocity: Velocity, x: Tensor, t0: float, t1: float, config: OdeConfig) -> tuple[Tensor, int]:
    """Solve dx/dt = velocity(t, x) from ``t0`` to ``t1``, in either direction of time.

    All examples share their steps. An adaptive solver takes those that keep the error of every single example, the
    root mean square over its dimensions, within the tolerances; so an example's solution depends on the batch that it
    comes in by no more than these.

    Args:
        velocity: Called with a scalar tensor and ``[N, ...]``, at times within the interval.
        x: State ``[N, ...]`` at ``t0``.
        t0: Time of the start.
        t1: Time of the end.
        config: The solver.

    Returns:
        The state at ``t1``, and the number of evaluations of the velocity that it took.

    Raises:
        GenlabError: If the adaptive solver meets infinite values, or needs too many or too small steps.
    """
    return _solve(velocity, x, t0, t1, config, _worst_example)


def ode_log_prob(
    velocity: Velocity,
    x: Tensor,
    t0: float,
    t1: float,
    prior_log_prob: Callable[[Tensor], Tensor],
    config: LikelihoodConfig,
    generator: Generator | None = None,
) -> Tensor:
    """Log-density of what an equation makes of a prior, by the instantaneous change of variables.

    log p(x) = log prior(x(t1)) + integral from t0 to t1 of tr(d velocity / dx) dt along the path through x;
    Chen et al. (2018), "Neural Ordinary Differential Equations", theorem 1. The trace is exact, or estimated with
    Rademacher probes that stay the same along the path; Grathwohl et al. (2019), "FFJORD", section 3.1.

    The adaptive solver holds the integral, in nats per dimension, to the same tolerances as the state. Gradients are
    not followed. The velocity of an example must not depend on the rest of the batch.

    Args:
        velocity: As in :func:`integrate`; differentiated here, whether or not the caller follows gradients.
        x: Data ``[N, ...]`` at ``t0``.
        t0: Time of the data.
        t1: Time of the prior.
        prior_log_prob: Maps the state ``[N, ...]`` at ``t1`` to nats ``[N]``.
        config: The solver and the trace.
        generator: Source of the probes.

    Returns:
        ``[N]``, nats.

    Raises:
        GenlabError: As :func:`integrate`.
    """
    dims = x[0].numel()
    # What was made under inference mode cannot take part in a derivative, hence the copy.
    with torch.inference_mode(False), torch.no_grad():
        x = x.clone()
        exact = config.is_exact(dims)
        directions = _basis(x) if exact else _probes(x, config.probes, generator)
        weight = 1 / dims if exact else 1 / (dims * config.probes)

        def with_divergence(t: Tensor, state: Tensor) -> Tensor:
            value, divergence = _divergence(velocity, t, state[:, :-1].view_as(x), directions)
            return torch.cat([value.flatten(1), weight * divergence[:, None]], dim=1)

        start = torch.cat([x.flatten(1), x.new_zeros(len(x), 1)], dim=1)
        end, _ = _solve(with_divergence, start, t0, t1, config, _worst_example_or_log_density)
        return prior_log_prob(end[:, :-1].view_as(x)) + dims * end[:, -1]


def _solve(velocity: Velocity, x: Tensor, t0: float, t1: float, config: OdeConfig, norm: _Norm) -> tuple[Tensor, int]:
    if config.solver == "dopri5":
        return _dopri5(velocity, x, t0, t1, config, norm)
    step, _ = _FIXED_STEPS[config.solver]
    times = torch.linspace(t0, t1, config.steps + 1, dtype=torch.float64).to(x)
    for t in times[:-1]:
        x = step(velocity, t, (t1 - t0) / config.steps, x)
    return x, config.evaluations


def _euler(velocity: Velocity, t: Tensor, h: float, x: Tensor) -> Tensor:
    return x + h * velocity(t, x)


def _midpoint(velocity: Velocity, t: Tensor, h: float, x: Tensor) -> Tensor:
    return x + h * velocity(t + h / 2, x + h / 2 * velocity(t, x))


def _heun(velocity: Velocity, t: Tensor, h: float, x: Tensor) -> Tensor:
    slope = velocity(t, x)
    return x + h / 2 * (slope + velocity(t + h, x + h * slope))


_FIXED_STEPS: dict[str, tuple[_Step, int]] = {"euler": (_euler, 1), "midpoint": (_midpoint, 2), "heun": (_heun, 2)}
# Each with its evaluations of the velocity.


def _dopri5(velocity: Velocity, x: Tensor, t0: float, t1: float, config: OdeConfig, norm: _Norm) -> tuple[Tensor, int]:
    from torchdiffeq import odeint  # takes a second: it imports scipy

    evaluations = 0

    def along_unit_time(s: Tensor, state: Tensor) -> Tensor:
        nonlocal evaluations
        evaluations += 1
        return (t1 - t0) * velocity(t0 + (t1 - t0) * s, state)

    clock = torch.float32 if x.device.type == "mps" else torch.float64  # MPS has no float64
    unit = torch.tensor([0.0, 1.0], dtype=clock, device=x.device)
    # Without step_t the last step goes beyond the end, to times that the velocity was never trained on.
    options = {"norm": norm, "dtype": clock, "step_t": unit[1:], "max_num_steps": MAX_STEPS}
    try:
        solution = odeint(
            along_unit_time, x, unit, rtol=config.rtol, atol=config.atol, method="dopri5", options=options
        )
    except AssertionError as error:
        reason = str(error).partition(":")[0]
        raise GenlabError(
            f"dopri5 with rtol {config.rtol:g} and atol {config.atol:g} found no solution ({reason}). "
            "Use larger tolerances, or solver=heun."
        ) from error
    return solution[1], evaluations


def _worst_example(scaled_error: Tensor) -> Tensor:
    return scaled_error.flatten(1).square().mean(1).max().sqrt()


def _worst_example_or_log_density(scaled_error: Tensor) -> Tensor:
    return torch.maximum(_worst_example(scaled_error[:, :-1]), scaled_error[:, -1].abs().max())


def _divergence(velocity: Velocity, t: Tensor, x: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """Return the velocity and the sum over directions e of e^T J e, ``[N]``, for its Jacobian J."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        value = velocity(t, x)
        total = x.new_zeros(len(x))
        for index, direction in enumerate(directions, start=1):
            (product,) = torch.autograd.grad(
                value, x, direction.expand_as(x).to(value), retain_graph=index < len(directions)
            )
            total = total + (product * direction).flatten(1).sum(1).detach()
    return value.detach(), total


def _basis(x: Tensor) -> Tensor:
    dims = x[0].numel()
    return torch.eye(dims, dtype=x.dtype, device=x.device).view(dims, 1, *x.shape[1:])


def _probes(x: Tensor, count: int, generator: Generator | None) -> Tensor:
    signs = torch.rand((count, *x.shape), generator=generator, device=x.device) < 0.5
    return 1 - 2 * signs.to(x)
