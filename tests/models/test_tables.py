"""Likelihoods of rows of a table, in the table's own units, against an independent computation and their total."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats
import torch
from scipy.special import logsumexp

from genlab.core.batch import Batch
from genlab.core.errors import GenlabError
from genlab.core.spec import DataSpec, Field
from genlab.models.base import GenerativeModel
from genlab.networks.blocks.columns import Columns
from genlab.networks.blocks.mixed_observation import MixedObservation
from tests.contract.families import (
    SMALL_GMM,
    SMALL_HVAE,
    SMALL_TRANSFORMER,
    SMALL_VAE,
    TABLE,
    Case,
    make_batch,
    make_model,
    perturb,
)

PRICES = DataSpec(
    "prices",
    "table",
    (4,),
    fields=(
        Field("price", decimals=0, rounded=True),
        Field("cut", levels=3, categories=("fair", "good", "ideal")),
        Field("weight"),
        Field("depth", decimals=2, rounded=True),
    ),
)
"""Numbers of very different units: thousands, thousandths, and hundredths that are finer than what they vary by."""


def prices(n: int, seed: int = 0) -> torch.Tensor:
    random = np.random.RandomState(seed)
    cut = random.randint(3, size=n)
    price = np.round(3000 + 2000 * cut + 500 * random.standard_normal(n))
    weight = 0.002 + 0.0005 * cut + 0.0001 * random.standard_normal(n)
    depth = np.round(61 + 1.5 * random.standard_normal(n), 2)
    return torch.from_numpy(np.column_stack([price, cut, weight, depth])).float()


def fitted(case: Case, x: torch.Tensor) -> GenerativeModel:
    torch.manual_seed(0)
    model = make_model(case)
    model.initialize(Batch(x))
    perturb(model, 0.02)
    return model.eval()


def test_the_mixture_is_that_of_scipy() -> None:
    """Normals from scipy with means and deviations in the table's units: cells by their ends, densities as they are."""
    x = prices(400)
    model = fitted(Case("gmm", PRICES, SMALL_GMM), x)
    mixture = model.mixture
    unit, location = (t[[0, 2, 3]].double().numpy() for t in (x.double().std(0, correction=0), x.double().mean(0)))
    mean = location + unit * mixture.mean.detach().double().numpy()
    scale = unit * mixture.scale.detach().double().numpy()
    log_weights = mixture.logits.detach().double().log_softmax(0).numpy()
    cuts = mixture.values.detach().double().log_softmax(1).numpy()
    some = x[:40]
    rows = some.double().numpy()
    expected = np.empty(len(some))
    for row, (price, cut, weight, depth) in enumerate(rows):
        parts = [
            log_weights[k]
            + cuts[k, int(cut)]
            + _log_cell(price, 1.0, mean[k, 0], scale[k, 0])
            + scipy.stats.norm.logpdf(weight, mean[k, 1], scale[k, 1])
            + _log_cell(depth, 0.01, mean[k, 2], scale[k, 2])
            for k in range(mixture.components)
        ]
        expected[row] = logsumexp(parts)
    found = model.log_prob(some).detach().double().numpy()
    np.testing.assert_allclose(found, expected, atol=2e-3)


def _log_cell(value: float, step: float, mean: float, scale: float) -> float:
    low, high = (value - step / 2 - mean) / scale, (value + step / 2 - mean) / scale
    if low > 0:  # the tail with fewer digits lost
        low, high = -high, -low
    return float(logsumexp([scipy.stats.norm.logcdf(high), scipy.stats.norm.logcdf(low)], b=[1, -1]))


@pytest.mark.parametrize("factor", [1000.0, 0.001])
def test_another_unit_changes_a_density_by_its_logarithm_and_no_probability(factor: float) -> None:
    """Grams for kilograms: the density of the one column changes by log(factor), and nothing else does."""
    x = prices(300)
    model = fitted(Case("gmm", PRICES, SMALL_GMM), x)
    scaled = x * torch.tensor([1, 1, factor, 1])
    other = fitted(Case("gmm", PRICES, SMALL_GMM), scaled)
    difference = model.log_prob(x) - other.log_prob(scaled)
    torch.testing.assert_close(difference, torch.full_like(difference, math.log(factor)), rtol=0, atol=2e-3)


@pytest.mark.parametrize(
    ("case", "tolerance"),
    [
        (Case("gmm", TABLE, SMALL_GMM), 2e-3),
        (Case("made", TABLE, ["hidden=64", "components=2"]), 2e-3),
        (Case("transformer", TABLE, [*SMALL_TRANSFORMER, "components=2"]), 2e-3),
        # Each row's weight has its probability for its mean: their sum is one but for the chance of the draws.
        (Case("vae", TABLE, [*SMALL_VAE, "components=2"]), 0.02),
    ],
    ids=lambda value: getattr(value, "model", ""),
)
def test_the_probability_of_all_rows_is_one(case: Case, tolerance: float) -> None:
    """A sum over both categories and the grid of one number, an integral over the other."""
    model = make_model(case)
    perturb(model)
    for parameter in model.parameters():
        parameter.data *= 0.3  # a posterior near the prior, whose weights differ little
    sizes, tenths = torch.linspace(-10, 10, 51), torch.arange(-100, 101) / 10
    noise, total = torch.Generator().manual_seed(0), 0.0
    for kind, flag in itertools.product(range(3), range(2)):
        size, tenth = (grid.flatten() for grid in torch.meshgrid(sizes, tenths, indexing="ij"))
        rows = torch.stack([size, torch.full_like(size, kind), tenth, torch.full_like(size, flag)], dim=1)
        with torch.no_grad():
            total += model.log_prob(rows, generator=noise).double().exp().sum().item() * 0.4
    assert total == pytest.approx(1.0, abs=tolerance)


def test_the_distributions_of_columns_are_those_of_scipy() -> None:
    """What MADE and the decoder of a VAE say: logistics from scipy, in the table's units."""
    x, columns = prices(40), Columns(PRICES)
    columns.fit(x)
    observation = MixedObservation(columns, 3)
    params = torch.randn(40, observation.num_params, 4, generator=torch.Generator().manual_seed(0))
    found = observation.log_prob(x, params).double().numpy()
    log_weights, means, log_scales = (part.double().numpy() for part in observation._components(params))
    unit, location = columns.unit.double().numpy(), columns.location.double().numpy()
    for column, step in ((0, 1.0), (2, None), (3, 0.01)):
        each = scipy.stats.logistic(
            location[column] + unit[column] * means[:, :, column], unit[column] * np.exp(log_scales[:, :, column])
        )
        value = x[:, column, None].double().numpy()
        if step is None:
            expected = each.logpdf(value)
        else:
            low, high = value - step / 2, value + step / 2
            mass = np.where(low > location[column], each.sf(low) - each.sf(high), each.cdf(high) - each.cdf(low))
            expected = np.log(mass)
        expected = logsumexp(log_weights[:, :, column] + expected, axis=1)
        np.testing.assert_allclose(found[:, column], expected, atol=2e-3)
    logits = params[:, :3, 1].double()
    expected = torch.distributions.Categorical(logits=logits).log_prob(x[:, 1]).numpy()
    np.testing.assert_allclose(found[:, 1], expected, atol=1e-5)


def test_samples_of_columns_have_the_probabilities_that_are_said() -> None:
    columns = Columns(PRICES)
    columns.fit(prices(500))
    observation = MixedObservation(columns, 2)
    params = torch.randn(1, observation.num_params, 4, generator=torch.Generator().manual_seed(1)).expand(
        40_000, -1, -1
    )
    drawn = observation.sample(params, torch.Generator().manual_seed(0))
    for column in (1, 3):
        values, counts = drawn[:, column].unique(return_counts=True)
        common = counts > 200
        rows = torch.zeros(int(common.sum()), 4)
        rows[:, column] = values[common]
        expected = observation.log_prob(rows, params[: len(rows)])[:, column].exp()
        torch.testing.assert_close(counts[common] / 40_000, expected, rtol=0.25, atol=0)
    one = torch.stack([observation.at(c).transform(params[:5, :, c], torch.full((5, 2), 0.3)) for c in range(4)], 1)
    torch.testing.assert_close(one, observation.transform(params[:5], torch.full((5, 4, 2), 0.3)))


def test_a_number_that_comes_again_and_again_has_at_most_probability_one() -> None:
    """As a density such a column would be worth any number of nats: the more, the narrower its peaks."""
    spec = DataSpec("doors", "table", (1,), fields=(Field("doors", decimals=0, rounded=True),))
    x = torch.tensor([[2.0], [4.0]]).repeat(200, 1)
    model = fitted(Case("gmm", spec, ["components=4", "prior=1e-9", "min_scale=1e-6"]), x)
    log_prob = model.log_prob(x).detach()
    assert log_prob.max() <= 1e-6
    assert log_prob.mean().item() == pytest.approx(-math.log(2), abs=0.05)


def test_far_out_rows_stay_finite() -> None:
    """Heavy tails: a row a thousand deviations away is improbable, not impossible, and leaves a gradient."""
    x = prices(300)
    model = fitted(Case("gmm", PRICES, SMALL_GMM), x)
    far = x[:4].clone()
    far[:, 0], far[:, 2] = 3_000_000.0, -50.0
    log_prob = model.log_prob(far)
    assert torch.isfinite(log_prob).all()
    log_prob.mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_what_is_no_row_of_the_table_is_refused() -> None:
    model = make_model(Case("gmm", TABLE, SMALL_GMM))
    row = make_batch(TABLE, 1).x
    for column, value, words in (
        (1, 3.0, r"column 'kind' of tiny_table has values from 3 to 3, expected whole numbers 0 to 2"),
        (1, 0.5, r"column 'kind' .* expected whole numbers"),
        (2, 0.15, r"column 'tenths' of tiny_table has values between those with 1 decimals"),
        (0, math.nan, "not finite"),
    ):
        wrong = row.clone()
        wrong[:, column] = value
        with pytest.raises(GenlabError, match=words):
            model.log_prob(wrong)


def test_other_families_say_what_they_cannot() -> None:
    with pytest.raises(
        GenlabError, match=r"The hierarchical vae family cannot model categories beside .* or model=gmm"
    ):
        make_model(Case("hvae", TABLE, SMALL_HVAE))
    numbers = DataSpec("cells", "table", (2,), fields=(Field("a", decimals=0, rounded=True), Field("b")))
    with pytest.raises(GenlabError, match=r"probability of a rounded number.* Use data.rounding=noise"):
        make_model(Case("hvae", numbers, SMALL_HVAE))
    with pytest.raises(GenlabError, match=r"model.covariance is full, but cells has categories or rounded numbers"):
        make_model(Case("gmm", numbers, [*SMALL_GMM, "covariance=full"]))
