"""What samples are worth to a classifier: the comparison is fair, and its verdict is what the figures say."""

from __future__ import annotations

import pytest
import torch

from genlab.core.batch import Batch
from genlab.core.errors import GenlabError
from genlab.core.spec import DataSpec
from genlab.uses.augment import Accuracies, Interval, accuracies, learner_of, require_labels, some_of_each
from tests.contract.families import GRAY, PLANE, TABLE, TEXT, Case, make_batch, make_model


def test_intervals_are_students() -> None:
    found = Interval.of([0.5, 0.6, 0.7])
    assert found.mean == pytest.approx(0.6)
    assert found.half_width == pytest.approx(4.302653 * 0.1 / 3**0.5, rel=1e-5)
    assert (found.sign, Interval.of([0.5, 0.6, -0.6]).sign, Interval.of([-0.1, -0.11]).sign) == (1, 0, -1)
    pairs = Accuracies({"real": [0.5, 0.8], "both": [0.6, 0.9], "synthetic": [0.5, 0.6]}, 1, 1, 0.5)
    assert pairs.gain.mean == pytest.approx(0.1), "seed by seed"
    assert pairs.gain.half_width == pytest.approx(0)
    assert pairs.gap.mean == pytest.approx(-0.1), "train on synthetic, test on real"


def test_a_fraction_of_each_class() -> None:
    y = torch.tensor([0] * 100 + [1] * 50 + [2])
    rows = some_of_each(y, 0.1, seed=0)
    assert torch.bincount(y[rows]).tolist() == [10, 5, 1]
    assert len(rows.unique()) == 16
    assert not torch.equal(rows, some_of_each(y, 0.1, seed=1))


def test_only_models_that_are_told_labels() -> None:
    with pytest.raises(GenlabError, match=r"not class-conditional\. Train a flow, .* with model\.conditional=true\.$"):
        require_labels(make_model(Case("made", PLANE, ["hidden=8"])))
    with pytest.raises(GenlabError, match="augment has no classifier of text data"):
        learner_of(TEXT)


@pytest.mark.parametrize("spec", [PLANE, TABLE], ids=["vector", "table"])
def test_what_classifiers_see(spec: DataSpec) -> None:
    model = make_model(Case("made", spec, ["hidden=8", "conditional=true"])).eval()
    train, test = make_batch(spec, 80), make_batch(spec, 40, seed=1)
    seen: list[Batch] = []

    def learner(batch: Batch, tested: Batch, seed: int) -> float:
        assert tested is test
        seen.append(batch)
        return learner_of(spec)(batch, tested, seed) if len(seen) <= 3 else seed / 10

    found = accuracies(model, train, test, learner, fraction=0.5, n=30, seeds=2)
    real, synthetic, both, again, *_ = seen
    assert (len(real.x), len(synthetic.x), len(both.x)) == (found.real, 30, found.real + 30)
    rows = {tuple(row) for row in train.x.tolist()}
    assert all(tuple(row) in rows for row in real.x.tolist())
    assert found.guess == (test.y == train.y.bincount().argmax()).double().mean()
    assert torch.equal(both.x, torch.cat([real.x, synthetic.x]))
    assert torch.equal(both.y, torch.cat([real.y, synthetic.y]))
    assert not torch.equal(real.x, again.x), "another seed has other real examples"
    assert not torch.equal(synthetic.x, seen[4].x), "and draws others"
    assert [values[1] for values in found.of_seeds.values()] == [0.1] * 3


def test_trees_learn_what_is_there_to_learn() -> None:
    """Two clouds apart: nothing is left to chance."""
    y = torch.arange(200) % 2
    x = torch.randn(200, 2, generator=torch.Generator().manual_seed(0)) + 8 * y[:, None]
    assert learner_of(PLANE)(Batch(x, y), Batch(x.flip(0), y.flip(0)), 0) == 1


def test_pictures_have_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    import genlab.measure.metrics.classification_accuracy as recipe

    monkeypatch.setattr(recipe, "STEPS", 40)
    y = torch.arange(60) % 3
    x = (y.view(-1, 1, 1, 1) * 8).expand(-1, 1, 4, 4).to(torch.uint8)
    assert learner_of(GRAY)(Batch(x, y), Batch(x, y), 1) == 1
