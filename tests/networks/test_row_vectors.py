"""Rows of mixed tables as vectors of models of continuous data, there and back."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch
from sklearn.preprocessing import QuantileTransformer
from torch import nn

from genlab.core.batch import Batch
from genlab.core.errors import GenlabError
from genlab.core.spec import DataSpec, Field
from genlab.networks.adversarial.rows import RowGenerator
from genlab.networks.blocks.rows import Rows, encodes_rows
from tests.contract.families import (
    NUMBERS,
    PLANE,
    ROUNDED,
    SMALL_DIFFUSION,
    SMALL_FLOW_MATCHING,
    TABLE,
    Case,
    make_batch,
    make_model,
)

SALES = DataSpec(
    "sales",
    "table",
    (5,),
    fields=(
        Field("price", decimals=2, rounded=True),
        Field("shop", levels=3),
        Field("weight"),
        Field("rain"),
        Field("doors", decimals=0, rounded=True),
    ),
)
"""A heavy tail, a spike at zero of a column with a density, and whole numbers of which there are three."""


def sales(n: int, seed: int = 0) -> torch.Tensor:
    random = np.random.RandomState(seed)
    price = np.round(np.exp(6 + 2 * random.standard_normal(n)), 2)
    rain = np.where(random.random_sample(n) < 0.3, 0, random.exponential(5, n))
    columns = [price, random.choice(3, n, p=[0.1, 0.3, 0.6]), random.standard_normal(n), rain]
    return torch.from_numpy(np.column_stack([*columns, random.choice([2, 3, 5], n, p=[0.2, 0.5, 0.3])])).float()


@pytest.fixture(scope="module")
def rows() -> Rows:
    fitted = Rows(SALES)
    fitted.fit(sales(20_000))
    return fitted


def test_what_is_encoded_comes_back(rows: Rows) -> None:
    x = sales(20_000)[:5000]
    torch.manual_seed(0)
    vectors = rows.encode(x)
    assert vectors.shape == (5000, rows.dims) == (5000, 4 + 3)
    back = rows.decode(vectors)
    assert torch.equal(back[:, [1, 4]], x[:, [1, 4]])
    assert (back[x[:, 3] == 0, 3] == 0).all()
    for column, most in ((0, 1e-3), (2, 1e-3), (3, 1e-3)):
        errors = (back[:, column] - x[:, column]).abs() / x[:, column].abs().clamp_min(1)
        assert errors.max() < most, column
    assert torch.equal((back[:, 0] * 100).round() / 100, back[:, 0])


def test_numbers_become_normal_and_normal_numbers_have_the_distribution_of_the_data(rows: Rows) -> None:
    """Of other rows than those that it was fitted to; chance alone gives 0.01 with these numbers."""
    torch.manual_seed(0)
    x = sales(20_000, seed=1)
    vectors = rows.encode(x)[:, : rows.num_numbers].double().numpy()
    for column in range(rows.num_numbers):
        assert scipy.stats.kstest(vectors[:, column], "norm").statistic < 0.02
    drawn = rows.decode(torch.randn(20_000, rows.dims))
    for column in (0, 2, 3, 4):
        assert scipy.stats.ks_2samp(drawn[:, column].numpy(), x[:, column].numpy()).statistic < 0.02
    assert (drawn[:, 3] == 0).float().mean().item() == pytest.approx(0.3, abs=0.02)
    assert set(drawn[:, 4].unique().tolist()) >= {2.0, 3.0, 5.0}


def test_places_within_a_jump_are_uniform_and_others_are_those_of_scikit_learn(rows: Rows) -> None:
    """Its transformer is another implementation, with as many quantiles; tails are finer here."""
    x = sales(20_000)
    torch.manual_seed(0)
    doors = rows.encode(x[x[:, 4] == 3])[:, 3]
    places = torch.special.ndtr(doors).double().numpy()
    assert scipy.stats.kstest(places, scipy.stats.uniform(0.2, 0.5).cdf).statistic < 0.02
    weights = x[:, 2:3].numpy()
    theirs = QuantileTransformer(n_quantiles=1000, output_distribution="normal", subsample=None).fit_transform(weights)
    inner = np.abs(theirs) < 2
    np.testing.assert_allclose(rows.encode(x)[:, 1:2].numpy()[inner], theirs[inner], atol=0.02)


def test_numbers_far_out_count_as_the_nearest_and_are_never_drawn(rows: Rows) -> None:
    x = sales(20_000)
    far = x[:2].clone()
    far[0, [0, 2]], far[1, [0, 2]] = -1e6, 1e6
    vectors = rows.encode(far)
    assert vectors.isfinite().all()
    ends = rows.decode(torch.tensor([[-9.0], [9.0]]).expand(2, rows.dims))
    for column in (0, 2, 3, 4):
        assert ends[:, column].tolist() == pytest.approx([x[:, column].min().item(), x[:, column].max().item()])
    torch.testing.assert_close(rows.decode(vectors)[:, [0, 2]], ends[:, [0, 2]])


@pytest.mark.parametrize("n", [1, 2, 30])
def test_few_rows_and_constant_columns_stay_finite(n: int) -> None:
    rows, x = Rows(SALES), sales(n)
    x[:, 2] = 7.5
    rows.fit(x)
    vectors = rows.encode(x)
    assert vectors.isfinite().all()
    assert torch.equal(rows.decode(vectors)[:, [1, 2, 4]], x[:, [1, 2, 4]])
    assert (rows.decode(torch.randn(50, rows.dims))[:, 2] == 7.5).all()


def test_only_tables_whose_columns_differ_in_kind_are_seen_so() -> None:
    assert [encodes_rows(spec) for spec in (TABLE, ROUNDED, NUMBERS, PLANE)] == [True, True, False, False]


@pytest.mark.parametrize("likelihood", ["ode", "vlb"])
def test_a_likelihood_of_mixed_rows_is_refused(likelihood: str) -> None:
    assert not make_model(Case("diffusion", TABLE, SMALL_DIFFUSION)).has_likelihood
    with pytest.raises(GenlabError, match=f"model.likelihood is {likelihood}, but the diffusion family has none of"):
        make_model(Case("diffusion", TABLE, [*SMALL_DIFFUSION, f"likelihood={likelihood}"]))


@pytest.mark.parametrize(
    "case",
    [
        Case("diffusion", TABLE, [*SMALL_DIFFUSION, "steps=30"]),
        Case("flow_matching", TABLE, [*SMALL_FLOW_MATCHING, "sampler.steps=40"]),
    ],
    ids=lambda case: case.model,
)
def test_a_perfect_network_draws_the_rows_of_the_data(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the posterior mean of four rows, equally probable, in place of the network: each a fourth of all samples."""
    model, x = make_model(case), make_batch(TABLE, 4, seed=3).x
    model.initialize(Batch(x))
    points = model.training_values(x)

    def mean_given(noisy: torch.Tensor, scale: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        return (-torch.cdist(noisy, scale * points).square() / (2 * sigma.square())).softmax(1) @ points

    if case.model == "diffusion":
        monkeypatch.setattr(model, "denoise", lambda x, sigma, *_, **__: mean_given(x, torch.tensor(1.0), sigma))
    else:
        monkeypatch.setattr(
            model,
            "predict",
            lambda x, t, *_: (mean_given(x, t.view(-1, 1), 1 - t.view(-1, 1)) - x) / (1 - t.view(-1, 1)),
        )
    drawn = model.sample(2000, generator=torch.Generator().manual_seed(0))
    apart = torch.cdist(drawn, x)
    assert apart.min(1).values.max() < 0.11  # a tenth is a step of a rounded number
    shares = torch.bincount(apart.argmin(1), minlength=4) / 2000
    torch.testing.assert_close(shares, torch.full((4,), 0.25), rtol=0, atol=0.04)


def test_categories_are_denoised_by_the_rule_of_bayes() -> None:
    """Against densities of the whole vectors by PyTorch's normal distribution."""
    rows = Rows(TABLE)
    prior = [torch.tensor([0.2, 0.5, 0.3]).log(), torch.tensor([0.9, 0.1]).log()]
    noisy, sigma = torch.randn(50, 5, generator=torch.Generator().manual_seed(0)), torch.rand(50, 1) + 0.3
    found = rows.log_posterior(noisy, torch.cat(prior).expand(50, -1) + 4, sigma)
    for part, of_column, log_prior in zip(rows.by_column(found), rows.by_column(noisy), prior, strict=True):
        vectors = 2 * torch.eye(len(log_prior)) - 1
        log_density = torch.distributions.Normal(vectors, sigma[:, :, None]).log_prob(of_column[:, None]).sum(-1)
        torch.testing.assert_close(part, (log_prior + log_density).log_softmax(1), rtol=1e-4, atol=1e-4)


def test_diffusion_denoises_categories_that_depend_on_nothing_exactly() -> None:
    """With the logarithms of frequencies for its network's values, whatever the noise level."""
    model = make_model(Case("diffusion", TABLE, SMALL_DIFFUSION))
    log_prior = torch.tensor([0.0, 0.0, 0.2, 0.5, 0.3, 0.9, 0.1]).log().nan_to_num(neginf=0)
    model.predict = lambda x, *_: log_prior.expand(len(x), -1)
    for sigma in (0.1, 0.5, 2.0):
        x = 0.5 * (2 * torch.eye(3)[torch.arange(30) % 3] - 1)
        x = torch.cat([torch.zeros(30, 2), x, torch.zeros(30, 2)], dim=1)
        x = x + sigma * torch.randn(30, 7, generator=torch.Generator().manual_seed(0))
        denoised = model.denoise(x, torch.tensor(sigma), None)[:, 2:5]
        points = 0.5 * (2 * torch.eye(3) - 1)
        weights = (log_prior[2:5] - torch.cdist(x[:, 2:5], points).square() / (2 * sigma**2)).softmax(1)
        torch.testing.assert_close(denoised, weights @ points, rtol=1e-4, atol=1e-4)


class Constant(nn.Module):
    """In place of a generator's perceptron: the same for all."""

    def __init__(self, values: torch.Tensor) -> None:
        super().__init__()
        self.values = nn.Parameter(values)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.values.expand(len(z), -1)


@pytest.mark.parametrize("classes", [0, 2])
def test_a_generator_draws_what_is_given_by_frequency_and_the_rest_by_its_network(classes: int) -> None:
    rows = Rows(TABLE)  # numbers: two; categories: three and two
    logits = torch.tensor([0.0, 0.0, 1.0, -1.0, 0.5, 2.0, 0.0])
    generator = RowGenerator(Constant(logits), rows, 4, classes)
    x, y = torch.zeros(1000, 4), (torch.arange(1000) < 500).long()
    x[:, 1], x[:, 3] = torch.arange(1000) % 10 == 0, (torch.arange(1000) < 500).float()
    generator.fit(x, y)
    torch.manual_seed(0)
    noise = torch.randn(40_000, RowGenerator.noise_dims(rows, 4))
    labels = torch.eye(classes)[torch.ones(40_000, dtype=torch.long)] if classes else torch.empty(40_000, 0)
    drawn = generator(torch.cat([noise, labels], dim=1))
    of_categories = drawn[:, 2:]
    assert set(of_categories.unique().tolist()) == {-1.0, 1.0}
    flags = [0.0, 1.0] if classes else [0.5, 0.5]  # of label 1 all have the flag
    for found, given, logit in zip(
        rows.by_column((of_categories == 1).float().mean(0)),
        ([0.9, 0.1, 0.0], flags),
        rows.by_column(logits[2:]),
        strict=True,
    ):
        expected = (torch.tensor(given) + logit.softmax(0)) / 2
        torch.testing.assert_close(found, expected, rtol=0, atol=0.01)
    (drawn * torch.randn(drawn.shape[1])).sum().backward()
    assert generator.network.values.grad.all()


def test_a_place_that_is_said_leaves_nothing_to_chance(rows: Rows) -> None:
    x = sales(500)
    once, again = rows.encode(x, within=0.5), rows.encode(x, within=0.5)
    assert torch.equal(once, again)
    assert torch.equal(rows.decode(once)[:, [1, 4]], x[:, [1, 4]])
    assert not torch.equal(rows.encode(x), rows.encode(x))


def test_the_values_of_marked_columns_are_found(rows: Rows) -> None:
    """A change of a column changes those of its values and no others."""
    known = sales(500)
    x = known[:1]
    for column in range(5):
        other = x.clone()
        other[:, column] = known[known[:, column] != x[0, column]][0, column]
        changed = rows.encode(x, within=0.5) != rows.encode(other, within=0.5)
        marks = torch.zeros(1, 5, dtype=torch.bool)
        marks[:, column] = True
        assert changed.any()
        assert (rows.of_columns(marks) | ~changed).all()
        assert rows.of_columns(marks).sum() == (3 if column == 1 else 1)


@pytest.mark.parametrize(
    "case", [Case("diffusion", TABLE, SMALL_DIFFUSION), Case("flow_matching", TABLE, SMALL_FLOW_MATCHING)]
)
def test_columns_that_are_given_stay_and_codes_lead_back(case: Case) -> None:
    torch.manual_seed(0)
    model, batch = make_model(case), make_batch(TABLE, 64, seed=3)
    model.initialize(batch)
    model.eval()
    kept = torch.tensor([True, False, True, False])
    filled = model.inpaint(batch.x, kept, generator=torch.Generator().manual_seed(1))
    assert torch.equal(filled[:, kept], batch.x[:, kept])
    assert not torch.equal(filled[:, ~kept], batch.x[:, ~kept])
    model.check(Batch(filled))
    z = model.encode(batch.x[:4])
    assert torch.equal(z, model.encode(batch.x[:4]))
    assert model.decode(z).shape == batch.x[:4].shape
