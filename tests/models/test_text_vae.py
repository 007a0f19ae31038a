"""VAEs of text: symbols that depend on the latents and on those before them, and bounds that say no more than that."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from genlab.core.batch import Batch
from genlab.core.contract import Encodes
from genlab.core.spec import DataSpec
from genlab.models.vae import Vae
from tests.contract.families import SMALL_VAE, TEXT, Case, make_model, perturb

STRINGS = DataSpec("strings", "text", (4,), levels=3)


def make(spec: DataSpec, *overrides: str) -> Vae:
    return make_model(Case("vae", spec, [*SMALL_VAE, *overrides]))


def noise(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def every_string(spec: DataSpec) -> Tensor:
    return torch.tensor(list(itertools.product(range(spec.levels), repeat=spec.num_dims)))


def stepwise(model: Vae, z: Tensor, x: Tensor) -> Tensor:
    """The parameters of all symbols ``[N, P, T]``, as sampling computes them."""
    steps = model.decoder.steps(z)
    found = [next(steps), *(steps.send(symbols) for symbols in x.T[:-1])]
    return torch.stack(found, dim=2)


@torch.no_grad()
def exact_log_prob(model: Vae, x: Tensor) -> Tensor:
    """The integral over a single latent of what sampling would draw ``x`` with."""
    grid = torch.linspace(-8, 8, 401, dtype=torch.float64)
    log_prior = -0.5 * grid.square() + torch.log(torch.tensor(16 / 400 / (2 * torch.pi) ** 0.5))
    each = []
    for z, weight in zip(grid, log_prior, strict=True):
        params = stepwise(model, z.float().expand(len(x), 1), x)
        each.append(params.double().log_softmax(1).gather(1, x[:, None])[:, 0].sum(1) + weight)
    return torch.logsumexp(torch.stack(each), dim=0)


def test_bounds_lie_below_the_probabilities_that_samples_have_and_come_close() -> None:
    model = make(STRINGS, "latent_dims=1").eval()
    perturb(model, 0.5)
    with torch.no_grad():  # a posterior that is wide enough for its weights to have no heavy tail
        model.encoder.leave.weight *= 0.2
        model.encoder.leave.bias.zero_()
    x = every_string(STRINGS)
    exact = exact_log_prob(model, x)
    assert exact.exp().sum().item() == pytest.approx(1, abs=1e-4)
    with torch.no_grad():
        elbo = torch.stack([model.log_prob(x, generator=noise(seed)) for seed in range(100)])
        tight = model.log_prob(x, num_draws=5000, generator=noise())
    error = elbo.std(0) / len(elbo) ** 0.5
    assert (elbo.mean(0) < exact + 4 * error).all()
    assert (exact - elbo.mean(0)).mean() > 0.05, "else the next line would hold of any bound"
    torch.testing.assert_close(tight.double(), exact, rtol=0, atol=0.1)
    assert (tight - exact).mean().item() == pytest.approx(0, abs=0.01)


def test_samples_follow_the_model() -> None:
    model = make(STRINGS, "latent_dims=1").eval()
    perturb(model, 0.5)
    with torch.no_grad():
        drawn = model.sample(20_000, generator=noise())
    numbers = (drawn * torch.tensor([27, 9, 3, 1])).sum(1)
    share = torch.bincount(numbers, minlength=81) / len(drawn)
    expected = exact_log_prob(model, every_string(STRINGS)).exp()
    assert ((share - expected).abs().sum() / 2).item() < 0.04  # by chance alone about 0.02


def test_a_step_computes_what_a_pass_over_the_string_does() -> None:
    model = make(TEXT).eval()
    perturb(model, 0.3)
    x, z = every_string(TEXT), torch.randn(64, 3, generator=noise())
    torch.testing.assert_close(stepwise(model, z, x), model.decoder(z, x))


def test_symbols_are_hidden_in_training_alone() -> None:
    x = every_string(TEXT)

    def figures(word_dropout: float, training: bool) -> tuple[Tensor, Tensor]:
        model = make(TEXT, f"recurrent.word_dropout={word_dropout}").train(training)
        perturb(model, 0.5)
        torch.manual_seed(0)
        return model.log_prob(x, generator=noise()), model.loss(Batch(x))["reconstruction_nats"]

    evaluated = [figures(p, training=False) for p in (0.0, 0.9)]
    assert torch.equal(evaluated[0][0], evaluated[1][0])
    assert torch.equal(evaluated[0][1], evaluated[1][1])
    trained = [figures(p, training=True)[1] for p in (0.0, 0.9)]
    assert torch.equal(trained[0], evaluated[0][1])
    assert (trained[1] - trained[0]).abs() > 1e-3


def test_hidden_symbols_all_hidden_leave_the_latents_alone_to_speak() -> None:
    model = make(TEXT, "recurrent.word_dropout=1.0").train()
    perturb(model, 0.5)
    z = torch.randn(1, 3, generator=noise()).expand(64, 3)
    params = model.decoder(z, every_string(TEXT))
    torch.testing.assert_close(params, params[:1].expand_as(params))


def test_strings_that_were_learned_come_back_and_those_between_are_strings() -> None:
    spec = DataSpec("words", "text", (6,), levels=5)
    x = torch.randint(5, (8, 6), generator=noise(1))
    model = make(spec, "latent_dims=8", "objective.beta=0.02", "recurrent.word_dropout=1.0", "recurrent.hidden=32")
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    torch.manual_seed(0)
    for _ in range(250):
        optimizer.zero_grad()
        model.loss(Batch(x))["loss"].backward()
        optimizer.step()
    model.eval()
    assert isinstance(model, Encodes)
    with torch.no_grad():
        assert (model.reconstruct(x) == x).float().mean() > 0.8
        z = model.encode(x)
        between = model.decode(torch.lerp(z[:1], z[1:2], torch.linspace(0, 1, 9)[:, None]))
    model.codec.check(between)
    assert torch.equal(between[[0, -1]], model.decode(z[:2]))
    assert len(between.unique(dim=0)) >= 2


@pytest.mark.parametrize("change", ["embedding=5", "hidden=9"])
def test_every_size_changes_the_model(change: str) -> None:
    assert make(TEXT, f"recurrent.{change}").num_parameters != make(TEXT).num_parameters


def test_a_sample_costs_a_pass_for_each_symbol() -> None:
    assert make(TEXT).nfe == TEXT.num_dims
    assert make(TEXT).variant == "recurrent, normal prior, categorical"
