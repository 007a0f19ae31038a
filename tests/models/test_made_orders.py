"""MADE with several orders: an exact mixture of networks, and samples and fillings-in that are of it."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from genlab.core.batch import Batch
from genlab.core.errors import GenlabError
from genlab.core.spec import DataSpec, Field
from genlab.models.made import Made
from tests.contract.families import Case, make_batch, make_model, perturb

COUNTS = DataSpec("counts", "vector", (3,), levels=3)
ALL = torch.tensor(list(itertools.product(range(3), repeat=3)))
DRAWN = 8_000


def make(spec: DataSpec = COUNTS, *overrides: str, scale: float = 0.6) -> Made:
    made = make_model(Case("made", spec, ["hidden=16", "orders=4", *overrides]))
    perturb(made, scale)
    assert isinstance(made, Made)
    return made.eval()


def shares(x: Tensor) -> Tensor:
    cells = (x.long() * torch.tensor([9, 3, 1])).sum(1)
    return torch.bincount(cells, minlength=27).double() / len(x)


def test_the_probability_is_the_mean_of_those_of_all_orders_and_sums_to_one() -> None:
    made = make()
    probability = made.log_prob(ALL).double().exp()
    assert probability.sum().item() == pytest.approx(1, abs=1e-5)
    alone = [Made._log_prob(made.others[0], ALL.flip(1), None)]  # the second order is backwards
    alone += [other.log_prob(ALL[:, order]) for other, (order, _) in made._in_other_orders()[1:]]
    first = 4 * probability - sum(part.double().exp() for part in alone)
    assert first.sum().item() == pytest.approx(1, abs=1e-5)
    assert first.min() > -1e-6
    assert (alone[0] - alone[1]).abs().max() > 0.05


def test_a_density_in_several_orders_integrates_to_one() -> None:
    spec = DataSpec("plane", "table", (2,), fields=(Field("a"), Field("b")))
    made = make(spec, "components=2", scale=0.15)
    axis = torch.linspace(-20, 20, 401)
    points = torch.cartesian_prod(axis, axis)
    assert made.log_prob(points).double().exp().sum().item() * 0.1**2 == pytest.approx(1, abs=0.01)


def test_samples_are_of_the_mixture() -> None:
    made = make()
    expected = made.log_prob(ALL).double().exp()
    drawn = shares(made.sample(DRAWN, generator=torch.Generator().manual_seed(0)))
    assert (drawn - expected).abs().sum() / 2 < 0.03


def test_what_is_filled_in_is_of_the_mixture_given_the_rest() -> None:
    made = make()
    kept, given = torch.tensor([False, False, True]), torch.tensor([[0, 0, 2]])
    x = given.expand(DRAWN, 3).to(torch.uint8)
    filled = made.inpaint(x, kept.expand(DRAWN, 3), generator=torch.Generator().manual_seed(0))
    assert (filled[:, 2] == 2).all()
    joint = made.log_prob(ALL).double().exp() * (ALL[:, 2] == 2)
    assert (shares(filled) - joint / joint.sum()).abs().sum() / 2 < 0.03
    assert not made.inpainting(kept[None]).is_exact


def test_each_order_learns_and_is_standardized_by_its_own_columns() -> None:
    spec = DataSpec("two", "table", (2,), fields=(Field("a"), Field("b")))
    made = make_model(Case("made", spec, ["hidden=16", "orders=2"]))
    assert isinstance(made, Made)
    noise = torch.Generator().manual_seed(0)
    x = torch.randn(64, 2, generator=noise) * torch.tensor([1.0, 50.0]) + torch.tensor([0.0, 300.0])
    made.initialize(Batch(x, None))
    columns = made.others[0].columns
    assert columns is not None
    torch.testing.assert_close(columns.location, x.mean(0).flip(0))
    perturb(made, 0.3)  # at the start all orders say the same
    loss = made.loss(Batch(x, None))["loss"]
    alone = [-part.mean() for part in made._log_probs(x, None)]
    torch.testing.assert_close(loss, torch.stack(alone).mean())
    loss.backward()
    assert all(p.grad is not None for p in made.parameters())


def test_values_that_have_an_order_are_refused() -> None:
    image = DataSpec("image", "image", (1, 2, 2), levels=2)
    with pytest.raises(GenlabError, match=r"orders is 2, but the values of image, image, have an order"):
        make_model(Case("made", image, ["hidden=16", "orders=2"]))
    made = make()
    with pytest.raises(GenlabError, match="4 orders, so that no value comes before another"):
        made.log_prob_of_values(make_batch(COUNTS, 2).x)
