"""Bits, bounds and dequantization against closed forms and enumeration."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from genlab.core.codec import cells_to_levels
from genlab.core.likelihood import (
    Dequantized,
    Logit,
    bits_per_dim,
    dequantized_log_weights,
    importance_weighted,
    standard_normal_log_prob,
)
from genlab.networks.flow.dequantization import VariationalDequantizer


def uniform_density(z: Tensor) -> Tensor:
    return torch.zeros(z.shape[0])


@pytest.mark.parametrize(("levels", "bits"), [(256, 8.0), (2, 1.0), (16, 4.0)])
def test_the_uniform_model_has_exactly_log2_levels_bits(levels: int, bits: float) -> None:
    x = torch.randint(levels, (5, 1, 4, 4))
    log_prob = dequantized_log_weights(x, levels, uniform_density)
    torch.testing.assert_close(bits_per_dim(log_prob, 16), torch.full((5,), bits), rtol=1e-6, atol=0)


def test_bits_per_dim_of_one_nat() -> None:
    assert bits_per_dim(torch.tensor(-784 * math.log(2)), 784).item() == pytest.approx(1.0)


def linear_density(z: Tensor) -> Tensor:
    """p(z) = 2 z on [0, 1]: the cell i of L has probability (2 i + 1) / L^2."""
    return (2 * z).log().flatten(1).sum(1)


def test_many_draws_give_the_exact_probability_of_each_level() -> None:
    levels, draws = 4, 4_000
    x = torch.arange(levels)[:, None]
    noise = torch.Generator().manual_seed(0)
    weights = torch.stack([dequantized_log_weights(x, levels, linear_density, generator=noise) for _ in range(draws)])
    exact = (2 * torch.arange(levels) + 1) / levels**2
    torch.testing.assert_close(importance_weighted(weights).exp(), exact, rtol=0.05, atol=0)


def test_the_bound_is_below_the_exact_value_and_rises_with_draws() -> None:
    x = torch.zeros(4000, 1, dtype=torch.long)
    noise = torch.Generator().manual_seed(0)
    weights = torch.stack([dequantized_log_weights(x, 4, linear_density, generator=noise) for _ in range(64)])
    bounds = [importance_weighted(weights[:k]).mean().item() for k in (1, 4, 64)]
    assert bounds[0] < bounds[1] < bounds[2] < math.log(1 / 16) + 0.01


def test_importance_weighted_is_the_log_of_the_mean() -> None:
    weights = torch.tensor([[0.1, 2.0], [0.3, 4.0]]).log()
    torch.testing.assert_close(importance_weighted(weights).exp(), torch.tensor([0.2, 3.0]))


def test_the_noise_density_is_subtracted() -> None:
    """Noise that is always in the cell's lower half has density 2 there; a constant density then loses log 2."""

    def lower_half(x: Tensor, levels: int, generator: torch.Generator | None = None) -> Dequantized:
        u = 0.5 * torch.rand(x.shape, generator=generator)
        return Dequantized((x + u) / levels, torch.full((x.shape[0],), math.log(2)))

    x = torch.zeros(3, 1, dtype=torch.long)
    expected = torch.full((3,), -math.log(4) - math.log(2))
    torch.testing.assert_close(dequantized_log_weights(x, 4, uniform_density, lower_half), expected)


def test_logit_round_trips_with_the_jacobian_of_autograd() -> None:
    logit = Logit(alpha=1e-3)
    z = torch.rand(50, 3, dtype=torch.float64, requires_grad=True)
    y, log_det = logit.forward(z)
    slope = torch.autograd.grad(y.sum(), z)[0]
    torch.testing.assert_close(log_det, slope.log().sum(1))
    back, inverse_log_det = logit.inverse(y)
    torch.testing.assert_close(back, z)
    torch.testing.assert_close(inverse_log_det, -log_det)


def test_logit_is_finite_at_the_borders() -> None:
    y, log_det = Logit(alpha=1e-6).forward(torch.tensor([[0.0, 1.0]]))
    assert torch.isfinite(y).all()
    assert torch.isfinite(log_det).all()


def test_standard_normal_against_torch() -> None:
    z = torch.randn(5, 2, 3, dtype=torch.float64)
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum((1, 2))
    torch.testing.assert_close(standard_normal_log_prob(z), expected)


def test_the_variational_noise_has_the_density_that_it_says() -> None:
    """E_q[1 / q(u)] over the cell is its volume, one; and all noise stays in the cell of x."""
    torch.manual_seed(0)
    dequantize = VariationalDequantizer(channels=1, hidden=4, steps=2)
    for parameter in dequantize.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    x = torch.randint(4, (1, 1, 2, 2)).expand(40_000, 1, 2, 2)
    with torch.no_grad():
        noisy = dequantize(x, 4, torch.Generator().manual_seed(0))
    assert torch.equal(cells_to_levels(noisy.z, 4), x)
    volume = (-noisy.log_q.double()).exp()
    assert volume.mean().item() == pytest.approx(1.0, abs=5 * volume.std().item() / 200)
    assert volume.std().item() > 0.05, "the noise is uniform, and the test would show nothing"
