"""Mixtures over levels: one model for sampling and for the likelihood, and what the likelihood is called."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from scipy.stats import multivariate_normal
from torch import Tensor

from genlab.core.errors import GenlabError
from genlab.core.spec import DataSpec
from genlab.models.gmm import GMM
from genlab.networks.mixture.binned_mixture import BinnedGaussianMixture
from genlab.networks.mixture.correlated import FullGaussianMixture, LowRankGaussianMixture
from genlab.networks.mixture.mixtures import DiagonalGaussianMixture
from tests.contract.families import BINARY, COUNTS, PLANE, Case, make_batch, make_model

PAIR = DataSpec("pair", "vector", (2,), levels=4)
PAIRS = torch.tensor(list(itertools.product(range(4), repeat=2)))


def make(spec: DataSpec, *overrides: str) -> GMM:
    model = make_model(Case("gmm", spec, list(overrides)))
    assert isinstance(model, GMM)
    return model


def make_wide(covariance: str) -> GMM:
    """Two correlated components on pairs of 4 levels, with much mass outside the unit square."""
    model = make(PAIR, "components=2", "rank=1", f"covariance={covariance}")
    mixture = model.mixture
    assert isinstance(mixture, DiagonalGaussianMixture)
    mixture.logits.data = torch.tensor([0.3, -0.4])
    mixture.mean.data = torch.tensor([[-1.5, 0.5], [1.0, 1.2]])
    mixture.log_scale.data = torch.tensor([[0.5, 1.5], [1.0, 0.3]]).log()
    if isinstance(mixture, LowRankGaussianMixture):
        mixture.factors.data = torch.tensor([[[1.2], [0.9]], [[0.4], [-1.0]]])
    if isinstance(mixture, FullGaussianMixture):
        mixture.regression.data = torch.tensor([[-0.9], [1.1]])
    return model


def covariances(mixture: DiagonalGaussianMixture) -> Tensor:
    if isinstance(mixture, LowRankGaussianMixture):
        matrix = mixture.factors @ mixture.factors.mT + torch.diag_embed(mixture.scale.square())
    else:
        assert isinstance(mixture, FullGaussianMixture)
        matrix = torch.linalg.inv(mixture.whitening.mT @ mixture.whitening)
    return mixture.unit[:, None] * mixture.unit * matrix


def exact_probabilities(model: GMM) -> Tensor:
    """Probabilities of all pairs: sums and differences of SciPy's distribution function at the bins' corners."""
    mixture = model.mixture
    assert isinstance(mixture, DiagonalGaussianMixture)
    means = mixture.location + mixture.unit * mixture.mean
    edges = torch.tensor([-100, 0.25, 0.5, 0.75, 100]).double()
    corners = torch.cartesian_prod(edges, edges).numpy()
    total = torch.zeros(4, 4, dtype=torch.float64)
    for weight, mean, covariance in zip(mixture.logits.softmax(0), means, covariances(mixture), strict=True):
        normal = multivariate_normal(mean.detach().double().numpy(), covariance.detach().double().numpy())
        below = torch.as_tensor(normal.cdf(corners)).view(5, 5)
        total += weight.item() * below.diff(dim=0).diff(dim=1)
    return total.flatten()


@pytest.mark.parametrize("covariance", ["low_rank", "full"])
def test_levels_have_the_probabilities_of_their_bins_the_outer_ones_open(covariance: str) -> None:
    model = make_wide(covariance)
    exact = exact_probabilities(model)
    assert model.mixture.sample(2000).sub(0.5).abs().gt(0.5).any(1).float().mean() > 0.3  # much is outside
    noise = torch.Generator().manual_seed(0)
    found = model.log_prob(PAIRS, num_draws=2000, generator=noise)
    assert found.double().exp().sum().item() == pytest.approx(1, abs=0.01)
    torch.testing.assert_close(found.double().exp(), exact, atol=1e-3, rtol=0.05)
    once = model.log_prob(PAIRS.repeat(300, 1), generator=noise).double().view(300, -1)
    assert (once.mean(0) < exact.log() + 5 * once.std(0) / math.sqrt(len(once))).all()
    assert once.mean() < exact.log().mean()


@pytest.mark.parametrize("covariance", ["low_rank", "full", "diagonal"])
def test_samples_occur_as_often_as_the_likelihood_says(covariance: str) -> None:
    model = make_wide(covariance)
    x = model.sample(20_000, generator=torch.Generator().manual_seed(0))
    frequency = torch.bincount(4 * x[:, 0] + x[:, 1], minlength=16) / len(x)
    p = model.log_prob(PAIRS, num_draws=500, generator=torch.Generator().manual_seed(1)).exp()
    assert ((frequency - p).abs() < 5 * (p / len(x)).sqrt() + 0.02 * p).all()


@pytest.mark.parametrize("covariance", ["low_rank", "full"])
def test_training_maximizes_a_lower_bound_of_what_is_reported(covariance: str) -> None:
    torch.manual_seed(0)
    model, batch = make(COUNTS, "components=2", "rank=1", f"covariance={covariance}"), make_batch(COUNTS, 400)
    reported = -model.log_prob(batch.x, num_draws=50).mean() / (3 * math.log(2))
    assert model.loss(batch)["bits_per_dim"] > reported


@pytest.mark.parametrize(
    ("spec", "covariance", "kinds"),
    [
        (PLANE, "full", ["exact", "exact"]),
        (BINARY, "full", ["exact", "exact"]),
        (COUNTS, "diagonal", ["exact", "exact"]),
        (COUNTS, "low_rank", ["elbo", "iwae-5"]),
        (COUNTS, "full", ["dequantized-1", "dequantized-5"]),
    ],
)
def test_the_kind_of_likelihood_says_what_it_is(spec: DataSpec, covariance: str, kinds: list[str]) -> None:
    model = make(spec, "components=2", f"covariance={covariance}")
    assert [model.likelihood_kind(draws) for draws in (1, 5)] == kinds


@pytest.mark.parametrize(("spec", "value"), [(COUNTS, 5), (COUNTS, -1), (BINARY, 2), (BINARY, 255)])
@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_levels_that_the_data_does_not_have_are_refused(spec: DataSpec, value: int, covariance: str) -> None:
    model, x = make(spec, "components=2", f"covariance={covariance}"), make_batch(spec, 4).x
    x.view(-1)[3] = value
    with pytest.raises(GenlabError, match=rf"{value}\b.* expected whole numbers 0 to {spec.levels - 1} .* of tiny"):
        model.log_prob(x)


def test_normals_much_wider_than_the_data_have_finite_bins_and_gradients() -> None:
    """The inner bins of 256 levels, each with a millionth of the mass, in float32 as in float64."""
    torch.manual_seed(0)
    mixture = BinnedGaussianMixture(2, 3, min_scale=1e-3, levels=256)
    mixture.calibrate(torch.randint(256, (100, 3)))
    mixture.log_scale.data.fill_(10.0)
    x = torch.randint(1, 255, (20, 3))
    found = mixture.log_prob(x)
    found.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in mixture.parameters())
    torch.testing.assert_close(found.double(), mixture.double().log_prob(x), rtol=1e-5, atol=0)
