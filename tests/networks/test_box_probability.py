"""Importance sampling of the probabilities of boxes, against quadrature and closed forms."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from scipy.stats import multivariate_normal
from torch import Tensor

from genlab.networks.mixture.binned_normal import log_interval_mass
from genlab.networks.mixture.box_probability import (
    approximate_factor_posterior,
    factor_log_weights,
    ghk_log_weights,
    truncated_normal,
)

MEANS = torch.tensor([[0.1, 0.9, -0.2], [0.5, 0.3, 0.8]], dtype=torch.float64)
LOADINGS = torch.tensor([[[0.4], [0.5], [-0.3]], [[0.0], [-0.2], [0.1]]], dtype=torch.float64)
NOISE = torch.tensor([[0.3, 0.05, 0.4], [0.2, 0.6, 0.01]], dtype=torch.float64)
COVARIANCES = LOADINGS @ LOADINGS.mT + torch.diag_embed(NOISE.square())


def all_bins(levels: int, dims: int) -> tuple[Tensor, Tensor]:
    """Ends of the bins of every combination of levels on ``[0, 1]``; the outer ones are open."""
    x = torch.tensor(list(itertools.product(range(levels), repeat=dims)), dtype=torch.float64)
    return (x / levels).masked_fill(x == 0, -torch.inf), ((x + 1) / levels).masked_fill(x == levels - 1, torch.inf)


def log_weights(kind: str, low: Tensor, high: Tensor, num_draws: int) -> Tensor:
    noise = torch.Generator().manual_seed(0)
    ends = low[:, None] - MEANS, high[:, None] - MEANS
    if kind == "factors":
        return factor_log_weights(*ends, LOADINGS, NOISE, num_draws, noise)
    cholesky = torch.linalg.cholesky(COVARIANCES)
    scale = cholesky.diagonal(dim1=-2, dim2=-1)
    return ghk_log_weights(*ends, scale[..., None] * torch.linalg.inv(cholesky), scale, num_draws, noise)


def exact(low: Tensor, high: Tensor) -> Tensor:
    """Probabilities ``[N, K]`` by Genz's quadrature, as SciPy has it."""
    columns = []
    for mean, covariance in zip(MEANS.numpy(), COVARIANCES.numpy(), strict=True):
        normal = multivariate_normal(mean, covariance, seed=0, abseps=1e-6, releps=1e-6)
        pairs = zip(low.numpy(), high.numpy(), strict=True)
        columns.append([float(normal.cdf(end, lower_limit=start)) for start, end in pairs])
    return torch.tensor(columns, dtype=torch.float64).T


@pytest.mark.parametrize("kind", ["factors", "ghk"])
def test_the_weights_average_to_the_probabilities_and_their_logs_stay_below(kind: str) -> None:
    low, high = all_bins(levels=3, dims=3)
    expected = exact(low, high)
    weights = log_weights(kind, low, high, num_draws=1000).exp()
    likely = expected > 1e-3
    for values, bound, slack in ((weights, expected, 1e-6), (weights.log(), expected.log(), 1e-3)):
        mean, error = values.mean(0), values.std(0) / math.sqrt(len(values))
        assert ((mean - bound)[likely] < (5 * error + slack)[likely]).all()
    assert ((expected - weights.mean(0)) < 5 * weights.std(0) / math.sqrt(len(weights)) + 1e-6).all()
    torch.testing.assert_close(weights.mean(0).sum(0), torch.ones(2, dtype=torch.float64), atol=0.01, rtol=0)
    assert (expected.log() - weights.log().mean(0))[likely].max() > 1e-3


@pytest.mark.parametrize("kind", ["factors", "ghk"])
def test_boxes_far_out_have_finite_probabilities(kind: str) -> None:
    low = torch.tensor([[60.0, -90.0, 5.0], [-torch.inf, 400.0, 400.0]], dtype=torch.float64)
    high = torch.tensor([[60.1, torch.inf, torch.inf], [-30.0, torch.inf, 400.1]], dtype=torch.float64)
    weights = log_weights(kind, low, high, num_draws=3)
    assert torch.isfinite(weights).all()
    assert (weights < -1000).all()


@pytest.mark.parametrize("kind", ["factors", "ghk"])
def test_draws_and_components_have_noise_of_their_own(kind: str) -> None:
    low, high = all_bins(levels=3, dims=3)
    first, second = log_weights(kind, low, high, num_draws=2)
    assert not torch.allclose(first, second, atol=1e-4)


def test_truncated_normals_have_the_quantiles_of_their_noise() -> None:
    ends = [(-1.0, 2.0), (-torch.inf, 0.5), (0.2, torch.inf), (6, 6.01), (45, torch.inf), (-900, -899.5), (3e4, 4e4)]
    low, high = torch.tensor(ends, dtype=torch.float64).T
    for u in (0.0, 1e-6, 0.3, 0.999):
        drawn = truncated_normal(low, high, torch.full_like(low, u))
        assert torch.isfinite(drawn).all()
        assert ((drawn >= low) & (drawn <= high)).all()
        if u == 0:
            continue
        above = low + high > 0
        covered = log_interval_mass(torch.where(above, drawn, low), torch.where(above, high, drawn))
        # Far out one unit in the last place of the value is worth more than a millionth of the mass.
        torch.testing.assert_close(
            (covered - log_interval_mass(low, high)).exp(), torch.full_like(low, u), rtol=1e-5, atol=0
        )


def test_the_posterior_of_narrow_bins_is_that_of_their_centres() -> None:
    torch.manual_seed(0)
    factors, scale = torch.randn(6, 2, dtype=torch.float64), torch.rand(6, dtype=torch.float64) + 0.5
    centre = torch.randn(10, 6, dtype=torch.float64)
    found = approximate_factor_posterior(centre - 1e-3, centre + 1e-3, factors, scale)
    precision = torch.eye(2) + factors.T @ (factors / scale.square()[:, None])
    expected = torch.linalg.solve(precision, (centre / scale.square() @ factors).T).T
    torch.testing.assert_close(found.mean, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.precision_cholesky[0], torch.linalg.cholesky(precision), rtol=1e-4, atol=1e-5)


def test_codes_are_drawn_near_their_posterior() -> None:
    """The weights vary little, also under open bins and next to no noise: most draws count."""
    torch.manual_seed(0)
    factors, scale = torch.randn(1, 40, 3, dtype=torch.float64), 0.02 + torch.rand(1, 40, dtype=torch.float64)
    z = (factors[0] @ torch.randn(3, 20, dtype=torch.float64)).T + scale * torch.randn(20, 40, dtype=torch.float64)
    level = z.div(0.7).floor().clamp(-2, 1)
    low, high = (
        (level * 0.7).masked_fill(level == -2, -torch.inf),
        (level * 0.7 + 0.7).masked_fill(level == 1, torch.inf),
    )
    weights = factor_log_weights(low[:, None], high[:, None], factors, scale, 400, torch.Generator().manual_seed(0))
    normalized = weights[..., 0].softmax(0)
    effective = 1 / normalized.square().sum(0) / len(normalized)
    assert effective.mean() > 0.6, effective
