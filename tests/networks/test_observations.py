"""Output distributions: total probability one, brute force in float64, gradients, and frequencies of samples."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from genlab.core.errors import GenlabError
from genlab.core.spec import DataSpec
from genlab.networks.blocks.observations import LogisticMixture, ObservationModel, choose, observation_model


def spec(levels: int | None) -> DataSpec:
    return DataSpec("data", "vector", (1,), levels=levels)


DISCRETE = [
    ("bernoulli", 2),
    ("categorical", 2),
    ("categorical", 17),
    ("logistic_mixture", 2),
    ("logistic_mixture", 17),
    ("logistic_mixture", 256),
]
PARAMETER_SCALES = [0.0, 1.0, 5.0, 50.0, 1000.0]


@pytest.fixture(params=DISCRETE, ids=lambda case: f"{case[0]}-{case[1]}")
def discrete(request: pytest.FixtureRequest) -> tuple[ObservationModel, int]:
    name, levels = request.param
    return observation_model(name, spec(levels), components=4), levels


def table(model: ObservationModel, levels: int, params: Tensor) -> Tensor:
    """Log-probabilities ``[levels, N]`` of all levels under ``params [N, num_params]``."""
    return torch.stack([model.log_prob(torch.full((len(params),), level), params) for level in range(levels)])


@pytest.mark.parametrize("scale", PARAMETER_SCALES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_levels_sum_to_one(discrete: tuple[ObservationModel, int], scale: float, dtype: torch.dtype) -> None:
    model, levels = discrete
    params = (scale * torch.randn(300, model.num_params, generator=torch.Generator().manual_seed(0))).to(dtype)
    log_prob = table(model, levels, params)
    assert log_prob.dtype == torch.float32
    assert torch.isfinite(log_prob).all()
    total = log_prob.double().exp().sum(0)
    torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=2e-5)


@pytest.mark.parametrize("mean", [-30.0, -1.0, -0.5, 0.3, 1.0, 30.0])
@pytest.mark.parametrize("log_scale", [-40.0, -7.0, 0.0, 7.0, 40.0])
def test_one_logistic_sums_to_one_at_the_edges(mean: float, log_scale: float) -> None:
    model = LogisticMixture(256, 1)
    log_prob = table(model, 256, torch.tensor([[0.0, mean, log_scale]]))
    assert log_prob.double().exp().sum().item() == pytest.approx(1, abs=1e-5)
    if abs(mean) == 30.0 and log_scale <= 0:
        edge = 0 if mean < 0 else 255
        assert log_prob[edge].item() == pytest.approx(0, abs=1e-6), "the outer bins reach to infinity"


def test_logistic_mixture_equals_brute_force() -> None:
    """Differences of logistic distribution functions in float64, with infinite outer edges."""
    levels, model = 256, LogisticMixture(256, 3)
    params = torch.randn(50, 9, generator=torch.Generator().manual_seed(0))
    log_weights, means, log_scales = (part.double().numpy() for part in model.split(params))
    edges = np.concatenate([[-np.inf], np.arange(levels - 1) + 0.5, [np.inf]])
    z = (edges[:, None, None] - means) / np.exp(log_scales)
    masses = np.diff(1 / (1 + np.exp(-z)), axis=0)
    expected = np.log((np.exp(log_weights) * masses).sum(-1))
    torch.testing.assert_close(table(model, levels, params).double(), torch.from_numpy(expected), rtol=1e-4, atol=1e-4)


def test_far_tails_keep_their_slope() -> None:
    """Where differences of float64 vanish, the log-mass still falls by one scale per scale."""
    model = LogisticMixture(256, 1)
    params = torch.tensor([[0.0, -1.0, -6.0]])
    _, mean, log_scale = model.split(params)
    log_prob = table(model, 256, params)[:, 0]
    steps = log_prob[10:255].diff()
    assert mean.item() == pytest.approx(0, abs=1e-5)
    torch.testing.assert_close(steps, torch.full_like(steps, -math.exp(-log_scale.item())), rtol=1e-3, atol=1e-3)


def test_the_least_noise_draws_what_is_probable() -> None:
    """One value in 2^24 gets noise of 0: it lies in the tail, and not at the lowest level of all."""
    params = torch.tensor([[0.0, 0.0, -8.0]])  # the mean in the middle, a scale of 11 levels
    assert 32_000 < int(LogisticMixture(65_536, 1).transform(params, torch.zeros(1, 2))) < 32_767


def test_what_has_no_probability_is_never_chosen() -> None:
    """Also where the sum of the others is rounded to less than 1, and the noise is the largest that there is."""
    below = 1 - 2.0**-24
    assert choose(torch.tensor([[0.0, below, 0.0]]), torch.tensor([below])).tolist() == [1]


def test_zero_parameters_spread_the_logistics() -> None:
    """No level starts far below uniform, and components differ, so a network that starts at zero can learn."""
    model = LogisticMixture(256, 10)
    log_prob = table(model, 256, torch.zeros(1, 30))
    assert (log_prob + math.log(256)).abs().max() < 2.5
    assert len(model.split(torch.zeros(1, 30))[1].unique()) == 10


@pytest.mark.parametrize("scale", PARAMETER_SCALES)
def test_gradients_are_finite_and_exact(discrete: tuple[ObservationModel, int], scale: float) -> None:
    model, levels = discrete
    params = scale * torch.randn(20, model.num_params, generator=torch.Generator().manual_seed(1))
    params.requires_grad_()
    table(model, levels, params).sum().backward()
    assert torch.isfinite(params.grad).all()
    if scale == 1.0:
        x = torch.arange(20) % levels
        exact = params.detach().double().requires_grad_()
        assert torch.autograd.gradcheck(lambda p: model.log_prob(x, p), exact)


def test_samples_have_the_probabilities(discrete: tuple[ObservationModel, int]) -> None:
    """Frequencies of 40,000 draws within 5 standard errors of the probabilities, for every level."""
    model, levels = discrete
    count = 40_000
    for seed in range(3):
        params = 1.5 * torch.randn(1, model.num_params, generator=torch.Generator().manual_seed(seed))
        draws = model.sample(params.expand(count, -1), torch.Generator().manual_seed(seed))
        assert draws.dtype == torch.int64
        assert draws.shape == (count,)
        probability = table(model, levels, params)[:, 0].exp()
        frequency = torch.bincount(draws, minlength=levels) / count
        error = (probability * (1 - probability) / count).sqrt()
        assert ((frequency - probability).abs() <= 5 * error + 1 / count).all()


def test_the_mean_is_the_expected_level(discrete: tuple[ObservationModel, int]) -> None:
    model, levels = discrete
    params = 2 * torch.randn(30, model.num_params, generator=torch.Generator().manual_seed(0))
    expected = (table(model, levels, params).exp() * torch.arange(levels)[:, None]).sum(0)
    torch.testing.assert_close(model.mean(params), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", ["bernoulli", "categorical", "logistic_mixture", "gaussian"])
def test_dimensions_are_independent_and_keep_their_shape(name: str) -> None:
    levels = {"gaussian": None, "bernoulli": 2}.get(name, 5)
    image = DataSpec("image", "image", (3, 4, 5), levels=levels)
    model = observation_model(name, image, components=2)
    params = torch.randn(6, model.num_params, 3, 4, 5)
    x = model.sample(params, torch.Generator().manual_seed(0))
    assert x.shape == model.mean(params).shape == (6, 3, 4, 5)
    log_prob = model.log_prob(x, params)
    torch.testing.assert_close(log_prob[:, 2, 1, 3], model.log_prob(x[:, 2, 1, 3], params[:, :, 2, 1, 3]))
    assert torch.equal(x, model.sample(params, torch.Generator().manual_seed(0)))
    assert not torch.equal(x, model.sample(params, torch.Generator().manual_seed(1)))


def test_gaussian_equals_torch() -> None:
    model = observation_model("gaussian", spec(None))
    params = torch.randn(1000, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    normal = torch.distributions.Normal(params[:, 0], torch.exp(-7 + torch.nn.functional.softplus(params[:, 1] + 7)))
    x = torch.randn(1000, dtype=torch.float64)
    torch.testing.assert_close(model.log_prob(x, params), normal.log_prob(x))
    torch.testing.assert_close(normal.scale, params[:, 1].exp(), rtol=0.2, atol=0)
    draws = model.sample(torch.tensor([[2.0, -1.0]]).expand(40_000, -1), torch.Generator().manual_seed(0))
    assert draws.dtype == torch.float32
    assert draws.mean().item() == pytest.approx(2.0, abs=0.01)
    assert draws.std().item() == pytest.approx(math.exp(-1), rel=0.02)


@pytest.mark.parametrize(
    ("levels", "expected"),
    [(2, "bernoulli"), (3, "categorical"), (64, "categorical"), (65, "logistic_mixture"), (None, "gaussian")],
)
def test_auto_takes_what_suits_the_levels(levels: int | None, expected: str) -> None:
    assert observation_model("auto", spec(levels)).name == expected


@pytest.mark.parametrize(
    ("name", "levels", "suited"),
    [("gaussian", 256, "logistic_mixture"), ("bernoulli", 3, "categorical"), ("categorical", None, "gaussian")],
)
def test_a_distribution_over_other_values_is_refused(name: str, levels: int | None, suited: str) -> None:
    with pytest.raises(GenlabError, match=rf"{name}.*observation={suited}"):
        observation_model(name, spec(levels))
