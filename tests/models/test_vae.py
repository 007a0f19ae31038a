"""Variational autoencoders: bounds against exact likelihoods, objectives, priors, and reports that do not flatter."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.functional import jacobian

from genlab.core.batch import Batch
from genlab.core.contract import Encodes
from genlab.core.errors import GenlabError
from genlab.core.spec import DataSpec
from genlab.models import latent
from genlab.models.vae import Vae
from genlab.networks.latent.latents import DiagonalNormal
from tests.contract.families import (
    BINARY,
    COUNTS,
    GRAY,
    PLANE,
    SERIES,
    SMALL_VAE,
    TEXT,
    Case,
    make_batch,
    make_model,
    perturb,
)

SIGMA = 0.7
LINEAR = DataSpec("linear", "vector", (3,))


def make(spec: DataSpec, *overrides: str, model: str = "vae") -> Vae:
    made = make_model(Case(model, spec, [*SMALL_VAE, *overrides]))
    perturb(made)
    return made


def noise(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class LinearDecoder(nn.Module):
    """Mean W z + b and a constant standard deviation, as the parameters of a Gaussian."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight, self.bias = weight, bias
        # The inverse of the soft floor under log-scales.
        self.raw = math.log(math.expm1(math.log(SIGMA) + 7)) - 7

    def forward(self, z: Tensor) -> Tensor:
        mean = z @ self.weight.T + self.bias
        return torch.stack([mean, torch.full_like(mean, self.raw)], dim=1)


class LinearEncoder(nn.Module):
    """Posterior of the linear model, its deviations multiplied by ``spread``."""

    def __init__(self, weight: Tensor, bias: Tensor, spread: float) -> None:
        super().__init__()
        covariance = torch.linalg.inv(torch.eye(weight.shape[1]) + weight.T @ weight / SIGMA**2)
        self.gain, self.bias = covariance @ weight.T / SIGMA**2, bias
        log_scale = 0.5 * covariance.diagonal().log() + math.log(spread)
        floored = 2 - torch.log(torch.expm1(4 * (2 - log_scale))) / 4
        self.raw = torch.log(torch.expm1(floored + 7)) - 7

    def forward(self, x: Tensor) -> Tensor:
        mean = (x - self.bias) @ self.gain.T
        return torch.cat([mean, self.raw.expand_as(mean)], dim=1)


def linear_model(spread: float, orthogonal: bool = True, prior: str = "normal") -> tuple[Vae, Tensor, Tensor]:
    """A probabilistic PCA, data, and its exact log-density; orthogonal columns make the true posterior diagonal."""
    model = make(LINEAR, "latent_dims=2", f"prior.kind={prior}")
    weight = torch.tensor([[1.0, 0.5], [0.0, 2.0], [-1.0, 0.5]])
    if not orthogonal:
        weight = torch.tensor([[1.0, 0.9], [0.5, 1.0], [-1.0, -0.5]])
    bias = torch.tensor([0.3, -1.0, 2.0])
    model.standardize = nn.Identity()
    model.standardize.forward = lambda x: (x, torch.zeros(len(x)))
    model.encoder, model.decoder = LinearEncoder(weight, bias, spread), LinearDecoder(weight, bias)
    exact = torch.distributions.MultivariateNormal(bias, weight @ weight.T + SIGMA**2 * torch.eye(3))
    x = exact.sample((400,))
    return model, x, exact.log_prob(x)


def test_the_bound_is_exact_where_the_posterior_is() -> None:
    """For each example and each draw, not on average only."""
    model, x, exact = linear_model(spread=1.0)
    for draws in (1, 7):
        torch.testing.assert_close(model.log_prob(x, num_draws=draws), exact, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(("spread", "orthogonal"), [(1.5, True), (1.0, False), (0.7, False)])
def test_bounds_rise_with_the_draws_to_the_exact_likelihood(spread: float, orthogonal: bool) -> None:
    model, x, exact = linear_model(spread, orthogonal)
    bounds = [model.log_prob(x.repeat(10, 1), num_draws=k, generator=noise()).mean().item() for k in (1, 5, 50)]
    truth = exact.mean().item()
    assert bounds[0] < bounds[1] - 0.01
    assert bounds[1] < bounds[2] < truth + 0.005
    assert model.log_prob(x, num_draws=5000, generator=noise()).mean().item() == pytest.approx(truth, abs=0.03)


def test_the_reported_elbo_falls_short_by_the_divergence_of_the_posteriors() -> None:
    """log p(x) - ELBO is KL(q || p(z | x)), known in closed form for a posterior that is too wide."""
    spread = 1.5
    model, x, exact = linear_model(spread)
    gap = 2 * (0.5 * (spread**2 - 1) - math.log(spread))
    elbo = torch.stack([model.loss(latent.Batch(x))["elbo_nats"] for _ in range(200)]).mean()
    assert (exact.mean() - elbo).item() == pytest.approx(gap, abs=0.02)


@pytest.mark.parametrize("prior", ["normal", "vamp", "flow"])
def test_the_density_on_the_plane_integrates_to_one(prior: str) -> None:
    """The weights' mean is the density, whatever the prior; the grid averages their noise."""
    model = make(PLANE, f"prior.kind={prior}")
    with torch.no_grad():  # a posterior wider than the prior, whose weights have no heavy tail
        model.encoder.layers[-1].weight *= 0.1
        model.decoder.layers[-1].weight *= 0.3  # and no peak that would fall between the points of the grid
        model.encoder.layers[-1].bias[model.num_latents :] += 0.7
    axis = torch.linspace(-15, 15, 151)
    with torch.no_grad():
        density = model.log_prob(torch.cartesian_prod(axis, axis), num_draws=100, generator=noise()).double().exp()
    assert density.sum().item() * 0.2**2 == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("prior", ["normal", "vamp", "flow"])
def test_priors_are_densities_and_samples_follow_them(prior: str) -> None:
    model = make(PLANE, "latent_dims=2", f"prior.kind={prior}")
    axis = torch.linspace(-10, 10, 401)
    grid = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        density = model.prior.given(model._posterior)
        mass = density.log_prob(grid).exp() * 0.05**2
        z = density.sample(40_000, noise())
    assert mass.sum().item() == pytest.approx(1, abs=1e-3)
    for bounded in (torch.tanh, torch.cos):  # what lies beyond the grid hardly counts
        expected = (mass[:, None] * bounded(grid)).sum(0)
        torch.testing.assert_close(bounded(z).mean(0), expected, rtol=0, atol=0.015)


def test_the_mixture_of_posteriors_equals_torch_even_where_it_is_sharp() -> None:
    from genlab.networks.latent.priors import NormalMixture

    mean, log_scale = 3 * torch.randn(50, 8), torch.randn(50, 8) - 3
    z = mean[:20] + log_scale[:20].exp() * torch.randn(20, 8)
    each = torch.distributions.Independent(torch.distributions.Normal(mean.double(), log_scale.double().exp()), 1)
    weights = torch.distributions.Categorical(logits=torch.zeros(50))
    expected = torch.distributions.MixtureSameFamily(weights, each).log_prob(z.double()).float()
    torch.testing.assert_close(NormalMixture(DiagonalNormal(mean, log_scale)).log_prob(z), expected)


def test_pseudo_inputs_start_from_data() -> None:
    model = make_model(Case("vae", GRAY, [*SMALL_VAE, "prior.kind=vamp"]))
    inputs, _, _ = model._embed(make_batch(GRAY, 64, seed=1).x)
    distance = torch.cdist(model.prior.inputs.detach().flatten(1), inputs.flatten(1)).min(1).values
    assert distance.max() < 0.05 * math.sqrt(GRAY.num_dims) * 2


@pytest.mark.parametrize("raw", [-1e3, -7.0, -3.0, 0.0, 1.0, 2.0, 2.83, 20.0, 1e3])
def test_scales_stay_between_bounds_that_leave_the_usual_ones_alone(raw: float) -> None:
    """A posterior scale of 17, log 2.83, once made the loss jump; one of exp(1000) would be infinite."""
    params = torch.tensor([[0.0, raw]])
    standard = DiagonalNormal(torch.zeros(1, 1), torch.zeros(1, 1))
    for normal in (DiagonalNormal.from_params(params), standard.shifted(params)):
        assert -7 <= normal.log_scale.item() <= 2
        assert normal.kl_to_standard().item() < 30
        if -3 <= raw <= 0:
            assert normal.log_scale.item() == pytest.approx(raw, abs=0.02)
    if raw == 0:
        assert DiagonalNormal.from_params(params).log_scale.exp().item() == pytest.approx(1, abs=1e-3)


def test_divergences_equal_those_of_torch() -> None:
    q, p = (DiagonalNormal(torch.randn(5, 4), torch.randn(5, 4)) for _ in range(2))
    theirs = [torch.distributions.Normal(d.mean, d.log_scale.exp()) for d in (q, p)]
    torch.testing.assert_close(q.kl(p), torch.distributions.kl_divergence(*theirs))
    standard = torch.distributions.Normal(torch.zeros(5, 4), torch.ones(5, 4))
    torch.testing.assert_close(q.kl_to_standard(), torch.distributions.kl_divergence(theirs[0], standard))
    z = torch.randn(5, 4)
    torch.testing.assert_close(q.log_prob(z), theirs[0].log_prob(z))


OBJECTIVES = ["beta=4.0", "beta=0.1", "free_bits=5.0", "kl_warmup=0.5"]


@pytest.mark.parametrize("change", OBJECTIVES)
def test_the_objective_changes_the_loss_and_never_the_reported_elbo(change: str) -> None:
    batch = make_batch(BINARY, 32)
    parts = []
    for overrides in ([], [f"objective.{change}"]):
        model = make(BINARY, *overrides)
        torch.manual_seed(0)
        parts.append(model.loss(batch))
    usual, changed = parts
    assert usual["loss"].item() == pytest.approx(usual["bits_per_dim"].item(), rel=1e-5)
    assert abs(usual["loss"] - changed["loss"]).item() > 1e-3
    for name in ("elbo_nats", "bits_per_dim", "kl_nats", "reconstruction_nats"):
        assert torch.equal(usual[name], changed[name]), name


@pytest.mark.parametrize("prior", ["normal", "vamp"])
@pytest.mark.parametrize("draws", [1, 4])
def test_the_weighted_objective_is_what_its_formula_says(prior: str, draws: int) -> None:
    model = make(COUNTS, f"prior.kind={prior}", "objective.beta=3.0", f"objective.draws={draws}")
    torch.manual_seed(0)
    parts = model.loss(make_batch(COUNTS, 16))
    torch.manual_seed(0)
    inputs, observed, _ = model._embed(make_batch(COUNTS, 16).x)
    judged = model.draw(observed, model.infer(inputs), model._noise(draws, inputs))
    if draws == 1:
        expected = -judged.log_likelihood.mean() + 3 * judged.kl.sum(1).mean()
    else:
        terms = (judged.log_likelihood + 3 * judged.log_ratio).exp()
        expected = -terms.mean(0).log().mean()
    assert parts["loss"].item() == pytest.approx(expected.item() / (3 * math.log(2)), rel=1e-5)


def test_divergence_below_the_free_bits_has_no_gradient() -> None:
    model = make(BINARY, "objective.free_bits=100.0", "network=mlp")
    inputs, observed, _ = model._embed(make_batch(BINARY, 8).x)
    judged = model.draw(observed, model.infer(inputs), model._noise(1, inputs))
    nats = model.objective.nats(judged, 1.0)
    assert nats.item() == pytest.approx(-judged.log_likelihood.mean().item() + 300, rel=1e-6)
    got = torch.autograd.grad(nats, list(model.encoder.parameters()), retain_graph=True)
    expected = torch.autograd.grad(-judged.log_likelihood.mean(), list(model.encoder.parameters()))
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_warm_up_raises_the_weight_over_its_part_of_the_budget() -> None:
    objective = make(BINARY, "objective.kl_warmup=0.5", "objective.beta=2.0").objective
    assert [objective.weight(f) for f in (0.0, 0.25, 0.5, 1.0)] == [0.0, 1.0, 2.0, 2.0]


def test_iwae_trains_the_bound_that_it_reports() -> None:
    """With one batch and the same noise: elbo < iwae bound, and the loss is the latter."""
    model = make(GRAY, "objective.draws=10", model="iwae")
    parts = model.loss(make_batch(GRAY, 64))
    assert parts["elbo_nats"] < parts["iwae_nats"]
    assert parts["loss"].item() == pytest.approx(-parts["iwae_nats"].item() / (16 * math.log(2)), rel=1e-5)
    assert model.variant.endswith("iwae-10")
    assert [model.likelihood_kind(k) for k in (1, 500)] == ["elbo", "iwae-500"]


def test_validation_measures_the_bound_that_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make(GRAY, "objective.draws=10", model="iwae")
    asked = []
    monkeypatch.setattr(
        type(model),
        "log_prob",
        lambda self, x, y=None, *, mask=None, num_draws=1, generator: asked.append(num_draws) or x[:, 0, 0, 0],
    )
    monkeypatch.setattr(type(model), "global_rank", 0)
    model.validation_step(make_batch(GRAY, 4), 0)
    assert asked == [10]


def test_draws_are_chunked_without_a_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same figures whatever the chunk, and never more rows in the decoder than the chunk allows."""
    model, x = make(GRAY), make_batch(GRAY, 5).x
    rows: list[int] = []
    model.decoder.register_forward_hook(lambda module, inputs, output: rows.append(len(output)))
    whole = model.log_prob(x, num_draws=23, generator=noise())
    assert rows == [5 * 23]
    rows.clear()
    monkeypatch.setattr(latent, "CHUNK_VALUES", 4 * 5 * 17 * 16)
    torch.testing.assert_close(model.log_prob(x, num_draws=23, generator=noise()), whole)
    assert max(rows) == 4 * 5
    assert sum(rows) == 23 * 5


@pytest.mark.parametrize("prior", ["normal", "vamp", "flow"])
def test_figures_stay_float32_under_autocast(prior: str) -> None:
    model, batch = make(GRAY, f"prior.kind={prior}"), make_batch(GRAY, 64)
    exact = model.log_prob(batch.x, num_draws=20, generator=noise())
    with torch.autocast("cpu", torch.bfloat16):
        rounded = model.log_prob(batch.x, num_draws=20, generator=noise())
        assert all(value.dtype == torch.float32 for value in model.loss(batch).values())
    assert rounded.dtype == torch.float32
    assert len(rounded.unique()) > 40, "bfloat16 would leave a few values"
    torch.testing.assert_close(rounded.mean(), exact.mean(), rtol=0.01, atol=0)


def test_active_units_are_those_whose_mean_varies() -> None:
    model = make(BINARY, "network=mlp", "latent_dims=6")
    last = model.encoder.layers[-1]
    with torch.no_grad():
        last.weight[:4] = 0
        last.weight[4:6] = 5 * torch.randn_like(last.weight[4:6])
    assert model.loss(make_batch(BINARY, 200))["active_units"].item() == 2


@pytest.mark.parametrize("spec", [GRAY, COUNTS, PLANE], ids=lambda spec: spec.name)
def test_one_reconstructs_what_it_has_learned(spec: DataSpec) -> None:
    """After over-fitting few examples, decode(encode(x)) is nearer to x than the mean of the data."""
    model, batch = make_model(Case("vae", spec, [*SMALL_VAE, "network=mlp", "objective.beta=0.1"])), make_batch(spec, 8)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    torch.manual_seed(0)
    for _ in range(300):
        optimizer.zero_grad()
        model.loss(batch)["loss"].backward()
        optimizer.step()
    assert isinstance(model, Encodes)
    with torch.no_grad():
        back = model.reconstruct(batch.x)
        assert torch.equal(back, model.decode(model.encode(batch.x)))
    assert back.shape == batch.x.shape
    x = batch.x.float()
    assert (back - x).square().mean() < 0.2 * (x - x.mean(0)).square().mean()


def test_standardization_is_part_of_the_density() -> None:
    """Data in other units has a density that differs by the units' ratio alone."""
    x = make_batch(PLANE, 64, seed=1).x
    factor, shift = torch.tensor([100.0, 0.01]), torch.tensor([5.0, -3.0])
    figures = []
    for data in (x, x * factor + shift):
        model = make_model(Case("vae", PLANE, SMALL_VAE))
        model.initialize(latent.Batch(data))
        figures.append(model.log_prob(data, num_draws=3, generator=noise()))
    torch.testing.assert_close(figures[0] - figures[1], factor.log().sum().expand(64), rtol=0, atol=1e-3)


@pytest.mark.parametrize("shape", [(1, 7, 5), (3, 1, 1), (2, 28, 28)])
def test_images_of_any_size(shape: tuple[int, int, int]) -> None:
    spec = DataSpec("odd", "image", shape, levels=4)
    model, batch = make(spec, "network=conv", "conv.channels=[4,4,4]"), make_batch(spec, 3)
    assert model.log_prob(batch.x).shape == (3,)
    assert model.sample(2, generator=noise()).shape == (2, *shape)


def test_what_cannot_be_is_refused_in_a_line() -> None:
    with pytest.raises(GenlabError, match=r"free_bits is 0\.5 and draws is 4"):
        make(BINARY, "objective.free_bits=0.5", "objective.draws=4")
    with pytest.raises(GenlabError, match=r"tiny_counts is vector.*network=mlp"):
        make(COUNTS, "network=conv")
    with pytest.raises(GenlabError, match="observation=bernoulli"):
        make(BINARY, "observation=gaussian")
    with pytest.raises(GenlabError, match="channels is empty"):
        make(GRAY, "conv.channels=[]")
    for network in ("mlp", "signal", "conv"):
        with pytest.raises(GenlabError, match=rf"network={network} .*tiny_text is text"):
            make(TEXT, f"network={network}")
    with pytest.raises(GenlabError, match="network=recurrent needs text, but tiny_gray is image"):
        make(GRAY, "network=recurrent")


CHANGES = ["latent_dims=4", "network=mlp", "observation=logistic_mixture", "conv.channels=[6,8]", "conv.blocks=0"]
CHANGES_ELSEWHERE = [
    ["mlp.hidden=[8]", "network=mlp"],
    ["components=3", "observation=logistic_mixture"],
    ["prior.kind=vamp", "prior.pseudo_inputs=5"],
    ["prior.kind=flow", "prior.transforms=3"],
    ["prior.kind=flow", "prior.hidden=[8]"],
]


@pytest.mark.parametrize("changes", [*([c] for c in CHANGES), *CHANGES_ELSEWHERE], ids=lambda changes: changes[0])
def test_every_size_changes_the_model(changes: list[str]) -> None:
    def count(*overrides: str) -> int:
        return sum(p.numel() for p in make(GRAY, *overrides).parameters())

    context = [c for c in changes if c.startswith(("network", "observation", "prior.kind"))] if len(changes) > 1 else []
    assert count(*changes) != count(*context)


def test_tails_of_series_are_tamed_and_their_slopes_are_in_every_figure() -> None:
    vae = make_model(Case("vae", SERIES, SMALL_VAE)).double()
    x = torch.sinh(1.5 * torch.randn(400, *SERIES.shape, generator=noise(), dtype=torch.float64))
    vae.initialize(Batch(x))
    inputs, observed, log_det = vae._embed(x)
    assert inputs.abs().max() < 0.5 * (x / x.std()).abs().max(), "outliers are nearer"
    torch.testing.assert_close(observed.x, inputs)
    torch.testing.assert_close(vae._unstandardize(inputs), x)
    for row, found in zip(x[:3], log_det, strict=False):
        full = jacobian(lambda values: vae._embed(values[None])[0].flatten(), row).reshape(x[0].numel(), -1)
        torch.testing.assert_close(torch.linalg.slogdet(full).logabsdet, found)
