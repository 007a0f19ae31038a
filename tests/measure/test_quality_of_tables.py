"""The quality of tables: columns, their pairs, what is learned from samples, and copies."""

from __future__ import annotations

import pytest
import torch

from genlab.core.batch import Batch
from genlab.core.spec import DataSpec, Field
from tests.measure.judging import judged, plane


def test_a_table_is_judged_by_its_columns_and_their_pairs() -> None:
    """Shuffled within its columns a table has the same columns, and other pairs; alone, a column has no pair."""
    fields = (Field("size"), Field("kind", levels=2), Field("age", decimals=0, rounded=True))
    spec = DataSpec("people", "table", (3,), fields=fields)
    size = plane(700, 0)[:, 0]
    x = torch.stack([size, (size > 0).float(), (3 * size + plane(700, 1)[:, 0]).round()], dim=1)
    train, test, held_out = Batch(x[:400]), Batch(x[400:550]), x[550:]
    shuffled = torch.stack([column[torch.randperm(150)] for column in held_out.T], dim=1)
    near, far = (judged(samples, test, train, spec).figures for samples in (held_out, shuffled))
    assert near["column_distance"] == pytest.approx(far["column_distance"])
    assert len(near["column_distance_by_column"]) == 3
    for key in ("correlation_difference", "contingency_difference"):
        assert near[key] + 3 * near[f"{key}_se"] < far[key]
    assert near["fid"] is near["extractor"] is None
    alone = DataSpec("sizes", "table", (1,), fields=fields[:1])
    found = judged(x[:150, :1], Batch(x[150:, :1]), Batch(x[:, :1]), alone).figures
    assert {key for key in found if "difference" in key} == set()
    assert found["column_distance"] < 0.2


def people(count: int, seed: int) -> torch.Tensor:
    """Sizes, kinds that depend on them, and ages that depend on both."""
    noise = plane(count, seed)
    kind = (noise[:, 0] > 0).float()
    return torch.stack([noise[:, 0], kind, (3 * noise[:, 0] + 4 * kind + noise[:, 1]).round()], dim=1)


PEOPLE = (Field("size"), Field("kind", levels=2), Field("age", decimals=0, rounded=True))


@pytest.mark.parametrize("predicted", ["age", "kind"])
def test_a_table_is_judged_by_what_can_be_learned_from_samples(predicted: str) -> None:
    """Shuffled within its columns nothing is predicted."""
    spec = DataSpec("people", "table", (3,), fields=PEOPLE, predicted=predicted)
    train, test, held_out = Batch(people(400, 0)), Batch(people(200, 1)), people(150, 2)
    shuffled = torch.stack([column[torch.randperm(150)] for column in held_out.T], dim=1)
    figure, other = ("tstr_r2", "tstr_accuracy") if predicted == "age" else ("tstr_accuracy", "tstr_r2")
    keys = [f"{name}{ending}" for name in (figure, other) for ending in ("", "_se", "_real")]
    near, far = (judged(x, test, train, spec, only=keys).figures for x in (held_out, shuffled))
    assert other not in near
    assert near[figure] > 0.8
    assert near[figure] == pytest.approx(near[f"{figure}_real"], abs=3 * near[f"{figure}_se"] + 0.03)
    assert far[figure] + 3 * far[f"{figure}_se"] < near[figure]
    assert far[f"{figure}_real"] == near[f"{figure}_real"]


def test_a_table_is_judged_by_a_classifier_and_by_what_is_copied() -> None:
    spec = DataSpec("people", "table", (3,), fields=PEOPLE)
    train, test, held_out = Batch(people(400, 0)), Batch(people(200, 1)), people(150, 2)
    shuffled = torch.stack([column[torch.randperm(150)] for column in held_out.T], dim=1)
    keys = ["c2st_auc", "c2st_auc_se", "nearer_share", "nearer_share_se"]
    near, far, copied = (judged(x, test, train, spec, only=keys).figures for x in (held_out, shuffled, train.x[:150]))
    assert abs(near["c2st_auc"] - 0.5) < 3 * near["c2st_auc_se"]
    assert far["c2st_auc"] > 0.5 + 3 * far["c2st_auc_se"]
    assert abs(near["nearer_share"] - 0.5) < 3 * near["nearer_share_se"]
    assert copied["nearer_share"] > 0.5 + 3 * copied["nearer_share_se"]


def test_labels_of_a_table_are_predicted_where_samples_have_them() -> None:
    spec = DataSpec("people", "table", (2,), num_classes=2, fields=PEOPLE[::2])
    train, test, drawn = (Batch(x[:, ::2], x[:, 1].long()) for x in (people(300, 0), people(100, 1), people(150, 2)))
    keys = ["tstr_accuracy", "tstr_accuracy_real"]
    found = judged(drawn.x, test, train, spec, drawn.y, only=keys).figures
    assert found["tstr_accuracy"] > 0.9
    turned = judged(drawn.x, test, train, spec, 1 - drawn.y, only=keys).figures
    assert turned["tstr_accuracy"] < 0.1
    assert judged(drawn.x, test, train, spec, only=keys).figures is None


def test_training_rows_in_the_place_of_samples_are_no_copies() -> None:
    """The floor of a table whose rows come again and again: a training row is not compared with those it equals."""
    spec = DataSpec("people", "table", (3,), fields=PEOPLE)
    again = people(300, 0).repeat(3, 1)
    order = torch.randperm(900, generator=torch.Generator().manual_seed(0))
    train, test, rows = Batch(again[order]), people(150, 1), torch.arange(120)
    keys = ["nearer_share", "nearer_share_se"]
    floor = judged(train.x[rows], Batch(test), train, spec, only=keys, rows=rows).figures
    assert abs(floor["nearer_share"] - 0.5) < 3 * floor["nearer_share_se"]
    assert judged(train.x[rows], Batch(test), train, spec, only=keys).figures["nearer_share"] > 0.6


def test_rows_of_a_table_that_are_not_finite_have_no_figures() -> None:
    spec = DataSpec("people", "table", (3,), fields=PEOPLE, predicted="age")
    train, broken = Batch(people(200, 0)), people(150, 2)
    broken[3, 0] = torch.nan
    found = judged(broken, train, train, spec, only=["c2st_auc", "tstr_r2", "nearer_share"])
    assert found.figures is None
    assert "1 of 150 rows have values that are nan or infinite" in found.missing()["quality"]
