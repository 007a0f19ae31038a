"""The transformer on mixed tables: a token for each column, against a computation that keeps nothing."""

from __future__ import annotations

import torch

from genlab.core.spec import DataSpec, Field
from tests.contract.families import SMALL_TRANSFORMER, TABLE, Case, make_batch, make_model, perturb


def transformer(spec: DataSpec = TABLE, *changes: str) -> torch.nn.Module:
    model = make_model(Case("transformer", spec, [*SMALL_TRANSFORMER, *changes]))
    perturb(model, 0.3)
    return model.eval()


def test_cached_and_naive_sampling_agree() -> None:
    model = transformer()
    drawn = model.sample(50, generator=torch.Generator().manual_seed(0))
    naive = model.draw(model.network.naive_steps(50), torch.Generator().manual_seed(0))
    torch.testing.assert_close(drawn, naive, rtol=1e-4, atol=1e-4)
    assert len(drawn[:, 0].unique()) == 50
    assert torch.equal(drawn[:, 1].unique(), torch.arange(3.0))
    model.codec.check(drawn)


def test_categories_are_symbols_and_numbers_have_sizes() -> None:
    """A number's token is as many times as long as the number is large; a category's is one of its column's own."""
    tokens = transformer().network.tables[0]
    columns = tokens._columns[0]
    x = make_batch(TABLE, 20).x
    each = tokens(x)
    z = columns.standardize(x)
    for column, field in enumerate(TABLE.fields):
        row = sum(f.levels or 1 for f in TABLE.fields[:column])
        expected = tokens.vectors.weight[row + (x[:, column].long() if field.levels else 0)]
        expected = expected if field.levels else z[:, column, None] * expected
        torch.testing.assert_close(each[:, column], expected)
        torch.testing.assert_close(tokens(x[:, column, None], column)[:, 0], expected)


def test_the_unit_of_a_column_changes_the_density_by_the_unit_alone() -> None:
    spec = DataSpec("units", "table", (2,), fields=(Field("a"), Field("b", levels=2)))
    x = make_batch(spec, 200).x
    scores = []
    for factor in (1.0, 1000.0):
        model = transformer(spec)
        scaled = x * torch.tensor([factor, 1.0])
        model.initialize(make_batch(spec, 200)._replace(x=scaled))
        scores.append(model.log_prob(scaled) + torch.tensor(factor).log())
    torch.testing.assert_close(*scores, rtol=0, atol=1e-3)
