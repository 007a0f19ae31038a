"""The forest family: scikit-learn's own leaves and scipy's kernels, what ``auto`` finds, and a training of one step."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from genlab.core.batch import Batch
from genlab.core.errors import GenlabError
from genlab.core.spec import DataSpec, Field
from genlab.models.forest import Forest
from genlab.networks.causal.grown_trees import GrownTrees
from genlab.runs.checkpoints import load_checkpoint
from tests.contract.families import make_batch
from tests.tiny import run_folder, train

MIXED = DataSpec(
    "mixed",
    "table",
    (4,),
    fields=(Field("kind", levels=3), Field("size"), Field("tenths", decimals=1, rounded=True), Field("flag", levels=2)),
)


def forest(spec: DataSpec, x: torch.Tensor, **changes: object) -> Forest:
    options = {"trees": 4, "min_rows": 5, "bandwidth": 1.0, "features": 0.5, "prior": 1.0, **changes}
    torch.manual_seed(0)
    made = Forest(spec, name="forest", **options)
    made.initialize(Batch(x))
    return made


def test_the_distribution_of_a_column_is_that_of_the_trees_own_leaves() -> None:
    """Grown again, asked by scikit-learn which rows share a leaf, and computed in float64 by scipy, row by row."""
    x, rows = make_batch(MIXED, 60).x, make_batch(MIXED, 5, seed=3).x
    made = forest(MIXED, x, prior=2.0, bandwidth=0.7)
    found = made.log_prob_of_values(rows).double().numpy()
    torch.manual_seed(0)
    seeds = torch.randint(2**31 - 1, (4,)).tolist()
    unit, location = x.double().std(0, correction=0).numpy(), x.double().mean(0).numpy()
    for column, field in enumerate(MIXED.fields[1:], 1):
        target = x[:, column] if field.levels else made.columns.standardize(x)[:, column]
        grown = GrownTrees.grow(
            x[:, :column].numpy(), target.numpy(), field.levels is not None, 4, 5, 0.5, seeds[column]
        )
        of_trees = np.zeros(len(rows))
        spreads = []
        for tree, seen in zip(grown._trees, grown._rows, strict=True):
            leaves, values = tree.apply(x[seen, :column].numpy()), x[seen, column].double().numpy()
            spreads.append(
                sum(((values[leaves == leaf] - values[leaves == leaf].mean()) ** 2).sum() for leaf in set(leaves))
            )
        within = sum(spreads) / (4 * len(grown._rows[0]))
        for tree, seen in zip(grown._trees, grown._rows, strict=True):
            leaves, values = tree.apply(x[seen, :column].numpy()), x[seen, column].double().numpy()
            for number, leaf in enumerate(tree.apply(rows[:, :column].numpy())):
                inside, value = values[leaves == leaf], float(rows[number, column])
                if field.levels:
                    whole = np.bincount(x[:, column].long().numpy(), minlength=field.levels) + 1
                    share = (inside == value).sum() + 2 * whole[int(value)] / whole.sum()
                    of_trees[number] += share / (len(inside) + 2)
                    continue
                squares = ((inside - inside.mean()) ** 2).sum()
                scale = 0.7 * np.sqrt((squares + within) / (len(inside) + 1)) * len(inside) ** -0.2
                kernels = [
                    *((stats.norm(v, scale), 1.0) for v in inside),
                    (stats.norm(location[column], 3 * unit[column]), 2.0),
                ]
                of_kernels = sum(
                    weight
                    * (kernel.cdf(value + 0.05) - kernel.cdf(value - 0.05) if field.rounded else kernel.pdf(value))
                    for kernel, weight in kernels
                )
                of_trees[number] += of_kernels / (len(inside) + 2)
        np.testing.assert_allclose(found[:, column], np.log(of_trees / 4), atol=2e-3)


def test_the_probabilities_of_all_categories_sum_to_one() -> None:
    spec = DataSpec("kinds", "table", (2,), fields=(Field("kind", levels=3), Field("flag", levels=2)))
    made = forest(spec, make_batch(spec, 50).x)
    every = torch.tensor(list(itertools.product(range(3), range(2)))).float()
    assert made.log_prob(every).double().exp().sum().item() == pytest.approx(1, abs=1e-5)


def test_a_column_of_numbers_has_all_its_probability_whatever_comes_before() -> None:
    x = make_batch(MIXED, 60).x
    made = forest(MIXED, x, min_rows="auto", bandwidth="auto")
    for before in x[:3]:
        for column, grid, width in ((1, torch.linspace(-20, 20, 8001), 0.005), (2, torch.arange(-200, 201) / 10, 1.0)):
            rows = before.repeat(len(grid), 1)
            rows[:, column] = grid
            each = made.log_prob_of_values(rows)[:, column].double().exp()
            assert each.sum().item() * width == pytest.approx(1, abs=1e-3)


def test_samples_occur_as_often_as_their_probability_says() -> None:
    spec = DataSpec("pair", "table", (2,), fields=(Field("kind", levels=3), Field("whole", decimals=0, rounded=True)))
    made = forest(spec, make_batch(spec, 60).x, trees=3)
    every = torch.cartesian_prod(torch.arange(3.0), torch.arange(-3.0, 4.0))
    expected = made.log_prob(every).double().exp()
    drawn = made.sample(20_000, generator=torch.Generator().manual_seed(0))
    share = torch.stack([(drawn == row).all(1).double().mean() for row in every])
    assert ((share - expected).abs() < 5 * (expected / 20_000).sqrt() + 1e-4).all()
    made.codec.check(drawn)


def test_what_depends_is_split_and_what_does_not_is_left_whole() -> None:
    spec = DataSpec("three", "table", (3,), fields=(Field("a"), Field("b"), Field("c")))
    x = torch.randn(400, 3, generator=torch.Generator().manual_seed(0))
    x[:, 1] = x[:, 0].sign() + 0.1 * x[:, 1]
    made = forest(spec, x, min_rows="auto", bandwidth="auto", features=1.0)
    sizes = [len(one.feature) for one in made.forests]
    assert sizes[0] == 4, "a leaf for each tree: nothing comes before"
    assert sizes[1] > 8
    assert sizes[2] == 4
    better = made.log_prob_of_values(x).mean(0)
    assert better[1] > forest(spec, x, min_rows=400, bandwidth="auto").log_prob_of_values(x).mean(0)[1] + 0.4


def test_the_unit_of_a_column_changes_the_density_by_the_unit_alone() -> None:
    spec = DataSpec("pair", "table", (2,), fields=(Field("a"), Field("b")))
    x = make_batch(spec, 80).x
    scores = [
        forest(spec, x * factor, min_rows="auto").log_prob(x * factor) + 2 * math.log(factor)
        for factor in (1.0, 1024.0)
    ]
    torch.testing.assert_close(*scores, rtol=0, atol=1e-3)


def test_far_out_rows_stay_finite_and_columns_may_be_constant() -> None:
    x = make_batch(MIXED, 60).x
    x[:, 2] = 0.5
    made = forest(MIXED, x, min_rows="auto", bandwidth="auto")
    far = x[:3].clone()
    far[:, 1], far[:, 2] = 1e6, -4e4
    assert made.log_prob(far).isfinite().all()
    assert (made.log_prob_of_values(x)[:, 2] > math.log(0.9)).all()


def test_much_in_a_leaf_is_told_by_its_quantiles() -> None:
    spec = DataSpec("one", "table", (1,), fields=(Field("a"),))
    x = torch.randn(3000, 1, generator=torch.Generator().manual_seed(0))
    made = forest(spec, x, trees=1, bandwidth=1.0)
    assert made.forests[0].kernels.tolist() == [256]
    rows = torch.linspace(-2, 2, 9)[:, None]
    expected = torch.distributions.Normal(0, 1).log_prob(rows[:, 0])
    torch.testing.assert_close(made.log_prob(rows), expected, rtol=0, atol=0.15)


def test_what_has_no_columns_is_refused() -> None:
    digits, counts = DataSpec("digits", "image", (1, 8, 8), levels=17), DataSpec("counts", "vector", (3,), levels=5)
    assert Forest.unsupported(digits) == (
        "The forest family models table and vector data, but digits is image. Use model=gmm."
    )
    with pytest.raises(GenlabError, match=r"models columns of a table, but counts has levels\. Use model=gmm\."):
        Forest(counts, name="forest", trees=1, min_rows=3, bandwidth=1.0, features=1.0, prior=1.0)
    assert Forest.unsupported(DataSpec("plane", "vector", (2,))) is None


def test_a_training_is_one_step(tmp_path: Path) -> None:
    asked = ["data=wine", "model.trees=3"]
    result = train(tmp_path, *asked, model="forest")
    assert result.training.stopped_by == "fitted"
    assert result.training.examples_seen == 124
    assert result.model.variant == "3 trees"
    assert result.model.parameters_to_sample == result.model.parameters > 1000
    assert result.likelihood.kind == "exact"
    state = load_checkpoint(run_folder(tmp_path) / "checkpoints" / "best.ckpt")["state_dict"]
    assert state["forests.3.feature"].dtype == torch.int64
