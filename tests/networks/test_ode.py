"""Solvers of differential equations against closed forms."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from genlab.core.errors import GenlabError
from genlab.core.likelihood import standard_normal_log_prob
from genlab.networks.diffusion.ode import LikelihoodConfig, OdeConfig, integrate, ode_log_prob

MATRIX = torch.tensor([[-0.7, 0.9], [-0.4, 0.5]], dtype=torch.float64)
START = torch.tensor([[1.0, -2.0], [0.3, 0.4], [-1.5, 0.1]], dtype=torch.float64)


def ode(solver: Any = "heun", steps: int = 1, tolerance: float = 1e-6) -> OdeConfig:
    return OdeConfig(solver, steps, tolerance, tolerance)


def likelihood(solver: Any = "dopri5", steps: int = 1, trace: Any = "exact", probes: int = 1) -> LikelihoodConfig:
    return LikelihoodConfig(solver, steps, 1e-8, 1e-8, trace, probes)


def linear(t: Tensor, x: Tensor, rows: Tensor) -> Tensor:
    """A linear equation whose coefficients rise with time: x(t) = expm(MATRIX t^2 / 2) x(0)."""
    return t.view(-1, 1) * x @ MATRIX.T


def solution(x: Tensor, t0: float, t1: float) -> Tensor:
    return x @ torch.linalg.matrix_exp(MATRIX * (t1**2 - t0**2) / 2).T


def small_network(dims: int) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(dims, 16), nn.Tanh(), nn.Linear(16, dims)).double()


@pytest.mark.parametrize(("solver", "order", "evaluations"), [("euler", 1, 1), ("midpoint", 2, 2), ("heun", 2, 2)])
@pytest.mark.parametrize(("t0", "t1"), [(0.5, 2.0), (2.0, 0.5)])
def test_the_error_falls_with_the_order_of_the_solver(
    solver: str, order: int, evaluations: int, t0: float, t1: float
) -> None:
    errors = []
    for steps in (64, 128):
        end, nfe = integrate(linear, START, t0, t1, ode(solver, steps))
        assert nfe.tolist() == 3 * [steps * evaluations]
        errors.append((end - solution(START, t0, t1)).norm().item())
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.1)


@pytest.mark.parametrize(("t0", "t1"), [(0.0, 2.0), (2.0, 0.0)])
def test_dopri5_keeps_its_tolerance_and_its_interval(t0: float, t1: float) -> None:
    times, rows_seen = [], []

    def watched(t: Tensor, x: Tensor, rows: Tensor) -> Tensor:
        times.append(t)
        rows_seen.append(rows)
        return linear(t, x, rows)

    end, nfe = integrate(watched, START, t0, t1, ode("dopri5", tolerance=1e-7))
    torch.testing.assert_close(end, solution(START, t0, t1), rtol=1e-6, atol=1e-6)
    assert nfe.tolist() == torch.bincount(torch.cat(rows_seen)).tolist()
    assert min(t.min().item() for t in times) >= 0
    assert max(t.max().item() for t in times) <= 2


def test_dopri5_is_of_fifth_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """One step, where the tolerances allow any, loses what is of order 6 in its length."""
    monkeypatch.setattr("genlab.networks.diffusion.dopri5._first_step", lambda *_: torch.ones(3, dtype=torch.float64))
    loose, errors = OdeConfig("dopri5", 1, 1e9, 1e9), []
    for h in (0.1, 0.05):
        end, costs = integrate(linear, START, 1.0, 1.0 + h, loose)
        assert costs.max() == 8
        errors.append((end - solution(START, 1.0, 1.0 + h)).norm().item())
    assert math.log2(errors[0] / errors[1]) == pytest.approx(6, abs=0.3)


def test_more_tolerance_costs_less() -> None:
    costs = [
        integrate(linear, START, 0.0, 2.0, ode("dopri5", tolerance=10.0**-digits))[1].tolist() for digits in (3, 6, 9)
    ]
    assert all(few < more for pair in itertools.pairwise(costs) for few, more in zip(*pair, strict=True))


def wave(t: Tensor, x: Tensor, rows: Tensor) -> Tensor:
    """The first dimension is the sine of a frequency, the second, times time: the harder, the higher."""
    frequency = x[:, 1]
    return torch.stack([frequency * torch.cos(frequency * t), torch.zeros_like(frequency)], dim=1)


def test_each_example_has_steps_of_its_own() -> None:
    """A hard example neither drowns among easy ones nor makes them costly, and what is done is evaluated no more."""
    x = torch.zeros(200, 2, dtype=torch.float64)
    x[:, 1] = torch.linspace(0.1, 60, 200)
    evaluated = 0

    def counted(t: Tensor, x: Tensor, rows: Tensor) -> Tensor:
        nonlocal evaluated
        evaluated += len(rows)
        return wave(t, x, rows)

    among, costs = integrate(counted, x, 0.0, 1.0, ode("dopri5", tolerance=1e-5))
    torch.testing.assert_close(among[:, 0], x[:, 1].sin(), rtol=0, atol=1e-3)
    assert costs[-1] > 5 * costs[0]
    assert evaluated == costs.sum()
    for row in (0, 57, 199):
        alone, cost = integrate(wave, x[row : row + 1], 0.0, 1.0, ode("dopri5", tolerance=1e-5))
        torch.testing.assert_close(among[row], alone[0], rtol=0, atol=1e-12)
        assert cost == costs[row]


@pytest.mark.parametrize(
    "velocity", [lambda t, x, rows: x.square(), lambda t, x, rows: x / 0], ids=["explodes", "infinite"]
)
def test_an_equation_without_a_solution_is_named(velocity: Any) -> None:
    with pytest.raises(GenlabError, match="found no solution"):
        integrate(velocity, torch.tensor([[2.0], [0.1]]), 0.0, 1.0, ode("dopri5"))


def test_an_equation_that_needs_too_many_steps_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genlab.networks.diffusion.dopri5.MAX_STEPS", 3)
    with pytest.raises(GenlabError, match="more than 3 steps"):
        integrate(linear, START, 0.0, 2.0, ode("dopri5", tolerance=1e-9))


@pytest.mark.parametrize("solver", ["dopri5", "heun"])
@pytest.mark.parametrize(("t0", "t1"), [(1.0, 0.0), (0.0, 1.0)])
def test_the_log_density_of_a_linear_flow_of_a_gaussian_is_exact(solver: str, t0: float, t1: float) -> None:
    log_prob = ode_log_prob(linear, START, t0, t1, standard_normal_log_prob, likelihood(solver, steps=400))
    forward = torch.linalg.matrix_exp(MATRIX * (t0**2 - t1**2) / 2)
    target = torch.distributions.MultivariateNormal(torch.zeros_like(START[0]), forward @ forward.T)
    torch.testing.assert_close(log_prob, target.log_prob(START), rtol=0, atol=1e-5)


def test_the_exact_trace_is_that_of_autograd() -> None:
    network, x = small_network(3), torch.randn(4, 3, dtype=torch.float64)
    h = 1e-3
    config = likelihood("euler", steps=1)
    # One tiny Euler step adds h tr(J) to the log-density; the prior is flat here.
    found = ode_log_prob(lambda t, x, rows: network(x), x, 0.0, h, lambda z: torch.zeros(len(z)), config) / h
    jacobians = torch.stack([torch.autograd.functional.jacobian(network, row) for row in x])
    torch.testing.assert_close(found, jacobians.diagonal(dim1=1, dim2=2).sum(1), rtol=1e-9, atol=1e-9)


def test_hutchinson_has_no_bias_and_its_probes_its_variance() -> None:
    network, row = small_network(6), torch.randn(1, 6, dtype=torch.float64)
    x = row.expand(4000, 6)

    def log_prob(trace: str, probes: int) -> Tensor:
        config = likelihood("euler", 4, trace, probes)
        noise = torch.Generator().manual_seed(1)
        return ode_log_prob(lambda t, x, rows: network(x), x, 1.0, 0.0, standard_normal_log_prob, config, noise)

    exact, one, eight = log_prob("exact", 1), log_prob("hutchinson", 1), log_prob("hutchinson", 8)
    for estimate in (one, eight):
        error = estimate.mean() - exact[0]
        assert abs(error) < 4 * estimate.std() / math.sqrt(len(x))
    assert one.var().item() / eight.var().item() == pytest.approx(8, rel=0.15)
    assert torch.equal(one, log_prob("hutchinson", 1))


def test_auto_is_exact_for_few_dimensions_only() -> None:
    config = likelihood(trace="auto")
    assert config.is_exact(2)
    assert not config.is_exact(784)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("solver", ["dopri5", "heun"])
def test_the_caller_need_not_follow_gradients(mode: Any, solver: str) -> None:
    network = small_network(2)
    usual = ode_log_prob(
        lambda t, x, rows: network(x), START, 1.0, 0.0, standard_normal_log_prob, likelihood(solver, 5)
    )
    with mode():
        x = START + 0
        quiet = ode_log_prob(
            lambda t, x, rows: network(x), x, 1.0, 0.0, standard_normal_log_prob, likelihood(solver, 5)
        )
    assert torch.equal(usual, quiet)
    assert not usual.requires_grad


@pytest.mark.parametrize("trace", ["exact", "hutchinson"])
def test_a_log_density_does_not_depend_on_the_batch(trace: str) -> None:
    """Each row has its probes, its labels and its steps, whoever comes after it."""
    network, x = small_network(5), 2 * torch.randn(12, 5, dtype=torch.float64)
    labels = torch.linspace(0.1, 30, 12, dtype=torch.float64)

    def velocity(t: Tensor, x: Tensor, rows: Tensor) -> Tensor:
        return network(x) * torch.cos(labels[rows] * t)[:, None]

    def log_prob(count: int) -> Tensor:
        config = LikelihoodConfig("dopri5", 1, 1e-5, 1e-5, trace, 2)  # type: ignore[arg-type]
        return ode_log_prob(
            velocity, x[:count], 0.0, 1.0, standard_normal_log_prob, config, torch.Generator().manual_seed(3)
        )

    for count in (1, 2, 7):
        torch.testing.assert_close(log_prob(count), log_prob(12)[:count], rtol=0, atol=1e-11)


def test_shapes_of_images_pass_through() -> None:
    x = torch.randn(3, 2, 4, 4)
    config = LikelihoodConfig("dopri5", 1, 1e-5, 1e-5, "auto", 1)
    log_prob = ode_log_prob(lambda t, x, rows: -x, x, 0.0, 1.0, standard_normal_log_prob, config)
    # x(1) = x / e, and the trace is -32 everywhere.
    torch.testing.assert_close(log_prob, standard_normal_log_prob(x / math.e) - 32, rtol=1e-4, atol=1e-3)


def test_settings_describe_themselves() -> None:
    assert str(ode("euler", 20)) == "euler, 20 steps"
    assert str(ode("dopri5")) == "dopri5, rtol 1e-06, atol 1e-06"
