"""The mixtures: against closed forms, brute force and scikit-learn."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import FactorAnalysis
from sklearn.mixture import GaussianMixture
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, Independent, MixtureSameFamily, MultivariateNormal, Normal

from genlab.core.batch import Batch
from genlab.core.spec import DataSpec
from genlab.models.gmm import GMM
from genlab.networks.mixture.binned_mixture import BinnedGaussianMixture
from genlab.networks.mixture.binned_normal import CensoredMoments, fit_censored_normal, log_interval_mass
from genlab.networks.mixture.categorical_mixture import CategoricalMixture
from genlab.networks.mixture.correlated import FullGaussianMixture, LowRankGaussianMixture
from genlab.networks.mixture.expectation_maximization import fit_by_em, k_means
from genlab.networks.mixture.mixtures import BernoulliMixture, DiagonalGaussianMixture, Mixture
from tests.contract.families import BINARY, COUNTS, PLANE, Case, make_batch, make_model

GAUSSIAN = {
    "diag": lambda k, d, floor: DiagonalGaussianMixture(k, d, min_scale=floor, common_scale=True),
    "low_rank": lambda k, d, floor: LowRankGaussianMixture(k, d, min_scale=floor, common_scale=True, rank=2),
    "full": lambda k, d, floor: FullGaussianMixture(k, d, min_scale=floor, common_scale=True),
}
MIXTURES = {
    **{name: lambda make=make: make(3, 4, 1e-3) for name, make in GAUSSIAN.items()},
    "bernoulli": lambda: BernoulliMixture(3, 4),
    "binned": lambda: BinnedGaussianMixture(3, 4, min_scale=1e-3, levels=5),
    "categorical": lambda: CategoricalMixture(3, 4, levels=5),
}


def data_for(mixture: Mixture, n: int, seed: int = 0) -> Tensor:
    levels = {"BernoulliMixture": 2, "BinnedGaussianMixture": 5, "CategoricalMixture": 5}.get(type(mixture).__name__)
    return make_batch(DataSpec("four", "vector", (4,), levels=levels), n, seed).x


@pytest.fixture(params=MIXTURES)
def mixture(request: pytest.FixtureRequest) -> Mixture:
    torch.manual_seed(0)
    made = MIXTURES[request.param]()
    fit_by_em(made, data_for(made, 200), 5, 1e-2)
    for parameter in made.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return made


# The mass of a bin


@pytest.mark.parametrize("width", [1e-3, 1e-2, 0.3, 3.0, 50.0])
def test_interval_masses_equal_double_precision_far_into_the_tails(width: float) -> None:
    """The reference integrates the density over the interval by quadrature, in units of its largest value."""
    low = torch.cat([torch.linspace(-40, 40, 161), torch.tensor([-1e3, 1e3])])
    high = low + width
    nodes, weights = (torch.tensor(v) for v in np.polynomial.legendre.leggauss(200))
    start, end = low.double()[:, None], high.double()[:, None]
    # The density falls by half a unit of its logarithm over 1 / |x|: what is further than 60 of these adds nothing.
    peak = torch.minimum(torch.maximum(start, torch.zeros_like(start)), end)
    reach = 60 / peak.abs().clamp_min(6)
    start, end = torch.maximum(start, peak - reach), torch.minimum(end, peak + reach)
    points = (start + end) / 2 + (end - start) / 2 * nodes
    log_density = -0.5 * points.square() - 0.5 * math.log(2 * math.pi)
    expected = torch.logsumexp(log_density + (weights * (end - start) / 2).log(), 1)
    torch.testing.assert_close(log_interval_mass(low, high).double(), expected, rtol=3e-6, atol=2e-5)
    exact = log_interval_mass(low.double(), high.double())
    torch.testing.assert_close(exact, expected, rtol=1e-9, atol=1e-9)


def test_interval_masses_have_the_right_gradient_and_bear_infinite_ends() -> None:
    torch.manual_seed(0)
    low = (3 * torch.randn(50, dtype=torch.float64)).requires_grad_()
    high = (low.detach() + 3 * torch.rand(50, dtype=torch.float64) + 0.01).requires_grad_()
    assert torch.autograd.gradcheck(log_interval_mass, (low, high))
    infinite = torch.full_like(low, torch.inf)
    torch.testing.assert_close(log_interval_mass(-infinite, high), torch.special.log_ndtr(high))
    torch.testing.assert_close(log_interval_mass(low, infinite), torch.special.log_ndtr(-low))


def test_the_censored_fit_is_a_maximum() -> None:
    """The gradient of the log-likelihood, by autograd, is zero; the likelihood is concave, so that suffices."""
    torch.manual_seed(0)
    z = torch.randn(400, 6, dtype=torch.float64) * torch.tensor([0.1, 1, 1, 2, 5, 0.5]) + torch.linspace(-2, 2, 6)
    below, above = z <= -1, z >= 1
    inner = z.masked_fill(below | above, 0)
    between = 400 - below.sum(0) - above.sum(0) + 1.0
    moments = CensoredMoments(below.sum(0), above.sum(0), between, inner.sum(0), inner.square().sum(0) + 1)
    bounds = torch.tensor([-1.0, 1.0], dtype=torch.float64)
    mean, scale = fit_censored_normal(moments, bounds[0], bounds[1], min_scale=1e-6)
    mean.requires_grad_()
    scale.requires_grad_()
    spread = moments.squares - 2 * mean * moments.total + between * mean**2
    log_likelihood = (
        moments.below * Normal(mean, scale).cdf(bounds[0]).log()
        + moments.above * (1 - Normal(mean, scale).cdf(bounds[1])).log()
        - between * scale.log()
        - 0.5 * spread / scale**2
    )
    log_likelihood.sum().backward()
    torch.testing.assert_close(mean.grad * scale.detach(), torch.zeros(6, dtype=torch.float64), atol=1e-4, rtol=0)
    torch.testing.assert_close(scale.grad * scale.detach(), torch.zeros(6, dtype=torch.float64), atol=1e-4, rtol=0)


# Densities


def test_densities_equal_those_of_torch_distributions(mixture: Mixture) -> None:
    mixture.double()
    x = data_for(mixture, 20, seed=1)
    choice = Categorical(logits=mixture.logits)
    if isinstance(mixture, BernoulliMixture):
        expected = MixtureSameFamily(choice, Independent(Bernoulli(logits=mixture.ones), 1)).log_prob(x.double())
    elif isinstance(mixture, CategoricalMixture):
        expected = MixtureSameFamily(choice, Independent(Categorical(logits=mixture.values), 1)).log_prob(x)
    elif isinstance(mixture, BinnedGaussianMixture):
        ends = torch.stack([x, x + 1]).double() / 5
        ends[0][x == 0], ends[1][x == 4] = -torch.inf, torch.inf
        mean, scale = mixture.location + mixture.unit * mixture.mean, mixture.unit * mixture.scale
        low, high = Normal(mean, scale, validate_args=False).cdf(ends[:, :, None])
        expected = torch.logsumexp(mixture.logits.log_softmax(0) + (high - low).log().sum(-1), 1)
    else:
        expected = MixtureSameFamily(
            choice, MultivariateNormal(mixture.location + mixture.unit * mixture.mean, covariance(mixture))
        ).log_prob(x.double())
    torch.testing.assert_close(mixture.log_prob(x), expected, rtol=1e-9, atol=1e-9)


def covariance(mixture: DiagonalGaussianMixture) -> Tensor:
    """Covariances ``[K, D, D]`` in the units of the data, written out."""
    diagonal = torch.diag_embed(mixture.scale.square())
    if isinstance(mixture, LowRankGaussianMixture):
        diagonal = diagonal + mixture.factors @ mixture.factors.mT
    elif isinstance(mixture, FullGaussianMixture):
        inverse = torch.linalg.inv(mixture.whitening)
        diagonal = inverse @ inverse.mT
    return mixture.unit[:, None] * mixture.unit * diagonal


def test_the_probabilities_of_all_integers_sum_to_one() -> None:
    torch.manual_seed(0)
    binned = BinnedGaussianMixture(4, 3, min_scale=1e-3, levels=6)
    x = torch.randint(6, (100, 3))
    x[:, 2] = 0
    fit_by_em(binned, x, 5, 1e-3)
    grid = torch.tensor(list(itertools.product(range(6), repeat=3)))
    assert binned.log_prob(grid).double().exp().sum().item() == pytest.approx(1, abs=1e-5)


def test_samples_have_the_moments_of_the_density(mixture: Mixture) -> None:
    samples = mixture.sample(40_000, torch.Generator().manual_seed(0)).double()
    mixture.double()
    if isinstance(mixture, BernoulliMixture | BinnedGaussianMixture | CategoricalMixture):
        levels = 2 if isinstance(mixture, BernoulliMixture) else 5
        grid = torch.tensor(list(itertools.product(range(levels), repeat=4)))
        p = mixture.log_prob(grid).exp()
        mean = p @ grid.double()
        second = (p[:, None] * grid.double()).T @ grid.double()
    else:
        weights, means = mixture.logits.softmax(0), mixture.location + mixture.unit * mixture.mean
        mean = weights @ means
        second = (weights[:, None, None] * (covariance(mixture) + means[:, :, None] * means[:, None])).sum(0)
    torch.testing.assert_close(samples.mean(0), mean, rtol=0, atol=0.05)
    torch.testing.assert_close(samples.T @ samples / len(samples), second, rtol=0.03, atol=0.1)


def test_the_prior_is_the_expected_likelihood_of_pseudo_examples(mixture: Mixture) -> None:
    mixture.double()
    torch.manual_seed(0)
    noise = torch.randn(200_000, 4, dtype=torch.float64)
    if isinstance(mixture, BernoulliMixture):
        log_prob = mixture.component_log_prob((torch.rand_like(noise) < mixture.average).double())
    elif isinstance(mixture, CategoricalMixture):
        log_prob = mixture.component_log_prob(torch.multinomial(mixture.average, 200_000, replacement=True).T)
    else:
        log_prob = mixture._log_density(noise)
    error = log_prob.std(0) / math.sqrt(len(noise))
    assert ((log_prob.mean(0) - mixture.prior_log_prob()).abs() < 5 * error).all()


# EM


@pytest.mark.parametrize("name", ["diag", "low_rank", "full", "bernoulli", "categorical"])
def test_every_step_of_em_raises_the_objective(name: str) -> None:
    torch.manual_seed(0)
    made = MIXTURES[name]()
    x = data_for(made, 300)
    prior = 1e-2
    objectives = []
    for steps in (0, 1, 2, 3, 5, 10):
        torch.manual_seed(1)
        made = MIXTURES[name]().double()
        fit_by_em(made, x, steps, prior)
        objectives.append((made.log_prob(x).mean() + prior * made.log_prior()).item())
    assert all(later >= earlier - 1e-5 for earlier, later in itertools.pairwise(objectives)), objectives
    assert objectives[-1] > objectives[0]


@pytest.mark.parametrize("name", ["diag", "low_rank", "full", "bernoulli", "categorical"])
def test_em_ends_where_the_gradient_of_the_loss_vanishes(name: str) -> None:
    """So that training goes on from the optimum of EM, under the same prior, and not away from it."""
    torch.manual_seed(0)
    made = MIXTURES[name]().double()
    x = data_for(made, 300)
    fit_by_em(made, x, 0, 1e-1)
    features = made.em_features(x)
    with torch.no_grad():
        for _ in range(1000):
            responsibilities = (made.logits.log_softmax(0) + made.em_log_prob(features)).softmax(1)
            made.maximize(features, responsibilities, 1e-1 * len(x))
            made.set_weights(responsibilities, 1e-1 * len(x))
    (-made.log_prob(x).mean() - 1e-1 * made.log_prior()).backward()
    for parameter in made.parameters():
        # The variance's lower bound is added in EM and a bound in the gradient: equal up to its square.
        torch.testing.assert_close(parameter.grad, torch.zeros_like(parameter), rtol=0, atol=2e-4)


def test_k_means_finds_separate_clusters_and_bears_too_many() -> None:
    torch.manual_seed(0)
    truth = torch.arange(300) % 3
    x = torch.tensor([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]])[truth] + torch.randn(300, 2)
    found = k_means(x, 3)
    assert all(len(found[truth == k].unique()) == 1 for k in range(3))
    assert len(found.unique()) == 3
    assert k_means(torch.zeros(2, 2), 5).shape == (2,)


def digits() -> tuple[Tensor, Tensor]:
    x = torch.tensor(load_digits().data, dtype=torch.float32)
    x = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(0))]
    return x[:1297], x[1297:]


@pytest.mark.parametrize(("name", "components"), [("diag", 10), ("full", 5)])
def test_it_matches_scikit_learn_on_digits(name: str, components: int) -> None:
    """Densities, at equal regularization; three starts each, as local optima of either differ by more than the two."""
    train, test = digits()
    spec = DataSpec("digits", "image", (1, 8, 8))
    ours, theirs = [], []
    for seed in range(3):
        torch.manual_seed(seed)
        made = GAUSSIAN[name](components, spec.num_dims, 0.1)
        fit_by_em(made, train, 100, 1e-9)
        ours.append(made.log_prob(test).mean().item() / spec.num_dims)
        reference = GaussianMixture(
            components, covariance_type=name, reg_covar=float(made.unit[0] * 0.1) ** 2, random_state=seed, tol=1e-5
        )
        theirs.append(reference.fit(train.double().numpy()).score(test.double().numpy()) / spec.num_dims)
    assert sum(ours) / 3 == pytest.approx(sum(theirs) / 3, abs=0.01)


@pytest.mark.parametrize("name", ["diag", "full"])
def test_from_the_same_start_it_ends_where_scikit_learn_does(name: str) -> None:
    train, test = digits()
    torch.manual_seed(0)
    made = GAUSSIAN[name](6, 64, 0.03)
    fit_by_em(made, train, 0, 1e-9)
    made.double()
    reg = float(made.unit[0] * 0.03) ** 2
    precisions = made.whitening.mT @ made.whitening if name == "full" else made.scale.pow(-2)
    reference = GaussianMixture(
        6,
        covariance_type=name,
        reg_covar=reg,
        tol=0,
        max_iter=20,
        weights_init=made.logits.softmax(0).detach().numpy(),
        means_init=(made.location + made.unit * made.mean).detach().numpy(),
        precisions_init=(precisions / made.unit[0] ** 2).detach().numpy(),
    )
    with pytest.warns(match="did not converge"):
        reference.fit(train.double().numpy())
    features = made.em_features(train)
    with torch.no_grad():
        for _ in range(20):
            responsibilities = (made.logits.log_softmax(0) + made.em_log_prob(features)).softmax(1)
            made.maximize(features, responsibilities, 1e-9)
            made.set_weights(responsibilities, 1e-9)
    expected = torch.tensor(reference.score_samples(test.double().numpy()))
    torch.testing.assert_close(made.log_prob(test), expected, rtol=1e-3, atol=1e-2)


def test_one_component_of_low_rank_matches_scikit_learn_s_factor_analysis() -> None:
    train, test = digits()
    torch.manual_seed(0)
    # Noise, so that no dimension is constant: the two bound variances in different ways.
    train, test = train + torch.randn_like(train), test + torch.randn_like(test)
    made = LowRankGaussianMixture(1, 64, min_scale=1e-3, common_scale=True, rank=4)
    fit_by_em(made, train, 200, 1e-9)
    reference = FactorAnalysis(4, tol=1e-3, random_state=0).fit(train.double().numpy())
    ours, theirs = made.log_prob(test).mean().item(), reference.score(test.double().numpy())
    assert ours / 64 == pytest.approx(theirs / 64, abs=0.01)


# The family


def make(spec: DataSpec, *overrides: str) -> GMM:
    model = make_model(Case("gmm", spec, list(overrides)))
    assert isinstance(model, GMM)
    return model


def test_auto_chooses_the_number_of_clusters_and_a_new_model_takes_its_state() -> None:
    torch.manual_seed(0)
    spec = DataSpec("clusters", "vector", (2,))
    centres = torch.tensor([[0.0, 0.0], [30.0, 0.0], [0.0, 30.0], [30.0, 30.0]])
    x = centres[torch.arange(2000) % 4] + torch.randn(2000, 2)
    model, fresh = make(spec, "components=auto"), make(spec, "components=auto")
    model.initialize(Batch(x[torch.randperm(2000)]))
    assert model.mixture.components == 4
    assert model.variant == "diagonal, K=4"
    fresh.load_state_dict(model.state_dict())
    assert torch.equal(fresh.log_prob(x), model.log_prob(x))
    with pytest.raises(RuntimeError, match="size mismatch"):
        make(spec, "components=3").load_state_dict(model.state_dict())


@pytest.mark.parametrize("override", ["components=7", "em_steps=0", "prior=0.1", "min_scale=0.3", "covariance=full"])
def test_every_option_changes_the_model(override: str) -> None:
    batch = make_batch(PLANE, 50)
    usual, changed = make(PLANE, "components=3"), make(PLANE, "components=3", override)
    assert not torch.allclose(usual.log_prob(batch.x), changed.log_prob(batch.x), atol=1e-4)


def test_rank_changes_the_number_of_factors() -> None:
    assert make(COUNTS, "covariance=low_rank", "rank=2").mixture.factors.shape[-1] == 2


def test_autocast_changes_no_likelihood() -> None:
    for spec in (PLANE, BINARY, COUNTS):
        model, batch = make(spec, "components=3"), make_batch(spec, 20)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            inside = model.log_prob(batch.x)
        assert inside.dtype == torch.float32
        assert torch.equal(inside, model.log_prob(batch.x))


def test_a_constant_dimension_does_no_harm() -> None:
    spec = DataSpec("flat", "vector", (3,))
    x = torch.randn(200, 3)
    x[:, 1] = 5
    for covariance_type in ("diagonal", "low_rank", "full"):
        model = make(spec, "components=2", "rank=1", f"covariance={covariance_type}")
        model.initialize(Batch(x))
        assert torch.isfinite(model.log_prob(x)).all()


@pytest.mark.parametrize("sd", [0.0, 1e-12, 1e-8])
def test_a_dimension_that_is_all_but_constant_is_measured_by_the_others(sd: float) -> None:
    torch.manual_seed(0)
    x = torch.randn(200, 3, dtype=torch.float64)
    x[:, 1] = 0.1 + sd * x[:, 1]
    model = make(DataSpec("flat", "vector", (3,)), "components=2")
    model.initialize(Batch(x.float()))
    moved = x + torch.tensor([0, 1e-6, 0])  # about what rounding does
    torch.testing.assert_close(model.log_prob(moved.float()), model.log_prob(x.float()), atol=0.5, rtol=0)


def test_dimensions_in_different_units_keep_their_own() -> None:
    torch.manual_seed(0)
    made = DiagonalGaussianMixture(1, 2, min_scale=1e-3, common_scale=False)
    made.calibrate(torch.randn(1000, 2) * torch.tensor([1.0, 500.0]))
    torch.testing.assert_close(made.unit, torch.tensor([1.0, 500.0]), rtol=0.1, atol=0)
