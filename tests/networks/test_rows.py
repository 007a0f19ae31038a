"""Rows of tables in the cells of a space: what a flow says of them is a bound of what can be integrated."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats
from torch import Tensor

from genlab.core.likelihood import Logit
from genlab.core.spec import DataSpec, Field
from genlab.models.base import GenerativeModel
from genlab.networks.flow.rows import RowCells
from tests.contract.families import SMALL_FLOW, TABLE, Case, make_batch, make_model, perturb

FIVE = DataSpec(
    "five",
    "table",
    (4,),
    fields=(Field("size"), Field("kind", levels=5), Field("tenths", decimals=1, rounded=True), Field("flag", levels=2)),
)


def cells(spec: DataSpec, hidden: int | None) -> tuple[RowCells, Tensor]:
    torch.manual_seed(0)
    found, x = RowCells(spec, hidden, Logit(1e-6)), 3 * make_batch(spec, 200).x
    x = x.where(~found.columns.is_category, x / 3)
    found.columns.fit(x)
    for parameter in found.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return found, x


@pytest.mark.parametrize("hidden", [None, 8])
def test_a_point_in_the_cell_of_a_row_is_that_row(hidden: int | None) -> None:
    found, x = cells(FIVE, hidden)
    assert found.num_features == 1 + 3 + 1 + 1
    z, _ = found.of_noise(x, found.uniform(x, torch.Generator().manual_seed(0)))
    torch.testing.assert_close(found.rows(z), x, rtol=0, atol=1e-5)
    # Five kinds have three signs, of which three patterns are no kind's: they are drawn as others.
    every = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3)
    points = torch.cat([torch.zeros(8, 1), every, torch.zeros(8, 2)], 1)
    assert found.rows(points)[:, 1].sort().values.tolist() == [0, 0, 1, 1, 2, 2, 3, 4]


@pytest.mark.parametrize("hidden", [None, 8])
def test_weights_have_the_probability_of_the_row_for_their_mean(hidden: int | None) -> None:
    """Of a density whose cells have closed forms: logistic signs, normal numbers; in the table's own units."""
    found, x = cells(FIVE, hidden)
    shift = torch.tensor([0.4, 1.0, -0.5, 0.2, -0.3, 0.7])

    def log_density(z: Tensor) -> Tensor:
        signs = torch.nn.functional.logsigmoid(z - shift) + torch.nn.functional.logsigmoid(shift - z)
        numbers = -0.5 * ((z - shift).square() + math.log(2 * math.pi))
        return torch.where(found.is_sign, signs, numbers).sum(1)

    row, many = x[:3], 20_000
    with torch.no_grad():
        rows = row.repeat(many, 1)
        z, log_volume = found.of_noise(rows, found.uniform(rows, torch.Generator().manual_seed(0)))
        weights = (log_density(z) + log_volume).double().view(many, 3)
    location, unit = (part.double().numpy() for part in (found.columns.location, found.columns.unit))
    for number, (size, kind, tenth, flag) in enumerate(row.double().numpy()):
        expected = stats.norm(location[0] + 0.4 * unit[0], unit[0]).pdf(size)
        tenths = stats.norm(location[2] - 0.3 * unit[2], unit[2])
        expected *= tenths.cdf(tenth + 0.05) - tenths.cdf(tenth - 0.05)
        signs = [int(kind) & 1, int(kind) >> 1 & 1, int(kind) >> 2, int(flag)]
        for sign, mean in zip(signs, (1.0, -0.5, 0.2, 0.7), strict=True):
            expected *= stats.logistic.cdf(mean if sign else -mean)
        found_here = weights[:, number]
        assert found_here.exp().mean().item() == pytest.approx(expected, rel=0.05)
        assert found_here.mean().item() < math.log(expected) - 0.01


def flow(spec: DataSpec, *changes: str) -> GenerativeModel:
    model = make_model(Case("flow", spec, [*SMALL_FLOW, "vector.transforms=3", *changes]))
    perturb(model.density)
    perturb(model.cells, 0.1)  # noise much narrower than the density would leave weights of no finite variance
    return model.eval()


def weights_of(model: GenerativeModel, rows: Tensor, draws: int) -> Tensor:
    """Importance weights of each row, ``[draws, N]``."""
    log_weights = model.log_prob(rows.repeat(draws, 1), generator=torch.Generator().manual_seed(0))
    return log_weights.double().exp().view(draws, -1)


@torch.no_grad()
@pytest.mark.parametrize("dequantization", ["uniform", "variational"])
def test_a_bound_lies_below_what_the_grid_says_and_draws_close_the_gap(dequantization: str) -> None:
    """Two signs are a plane, on which the flow's density can be integrated over each of the four quadrants."""
    model = flow(
        DataSpec("four", "table", (1,), fields=(Field("kind", levels=4),)), f"table.dequantization={dequantization}"
    )
    axis = (torch.arange(240) - 119.5) / 8
    grid = torch.cartesian_prod(axis, axis)
    mass = model.density.log_prob(grid).double().exp() / 64
    exact = torch.zeros(4, dtype=torch.float64).index_add(0, model.cells.rows(grid)[:, 0].long(), mass)
    assert exact.sum().item() == pytest.approx(1, abs=0.01)
    assert model.likelihood_kind(7) == "dequantized-7"
    weights = weights_of(model, torch.arange(4.0)[:, None], 4000)
    assert (weights.log().mean(0) < exact.log() - 1e-3).all()
    assert ((weights.mean(0) - exact).abs() < 4 * weights.std(0) / 4000**0.5 + 1e-3).all()


@torch.no_grad()
def test_all_rows_together_have_what_signs_of_no_category_leave() -> None:
    """A sum over three kinds and the grid of a number; the fourth pattern of their two signs is no kind."""
    model = flow(DataSpec("three", "table", (2,), fields=(Field("kind", levels=3), TABLE.fields[2])))
    tenths = torch.arange(-60, 61) / 10
    rows = torch.cartesian_prod(torch.arange(3.0), tenths)
    total = weights_of(model, rows, 60).mean(0).sum().item()
    points = model.density.sample(20_000, generator=torch.Generator().manual_seed(0))
    of_no_kind = (points[:, :2] > 0).all(1).float().mean().item()
    assert of_no_kind > 0.02
    assert total == pytest.approx(1 - of_no_kind, abs=0.02)


@torch.no_grad()
def test_samples_are_rows_with_at_least_the_probabilities_that_are_said() -> None:
    model = flow(DataSpec("three", "table", (2,), fields=(Field("kind", levels=3), Field("flag", levels=2))))
    rows = torch.cartesian_prod(torch.arange(3.0), torch.arange(2.0))
    said = weights_of(model, rows, 4000).mean(0)
    drawn = model.sample(20_000, generator=torch.Generator().manual_seed(1))
    share = torch.stack([(drawn == row).all(1).double().mean() for row in rows])
    assert share.sum().item() == pytest.approx(1)
    assert (share > said - 0.02).all()
    torch.testing.assert_close(share[2:], said[2:], rtol=0, atol=0.02)  # the fourth pattern is drawn as the first kind
