from __future__ import annotations

import random

import numpy as np
import pytest

from genlab.comparison.columns import columns
from genlab.comparison.ranking import Group, compare
from tests.comparison.results import compared, many_runs, run


def best(group: Group, column: str) -> list[str]:
    return sorted(row.model for row in group.rows if column in row.best)


def only(*runs) -> Group:
    (group,) = compared(*runs).groups
    return group


def test_no_result_makes_no_group() -> None:
    assert compared().groups == ()


def test_one_row_has_its_figures_and_no_mark() -> None:
    (row,) = only(run()).rows
    figure = row.figures["likelihood"]
    assert (figure.mean, figure.sd, figure.count) == (1.0772, None, 1)
    assert row.figures["train_minutes"].mean == 9.0
    assert row.best == set()


def test_seeds_are_aggregated_as_numpy_does() -> None:
    chance = random.Random(0)
    values = [[1e6 + chance.random(), chance.uniform(-1, 1)] for _ in range(7)]
    runs = [run(1, seed, quality__fid=fid, quality__kid=kid) for seed, (fid, kid) in enumerate(values)]
    (row,) = only(*runs[::-1]).rows
    assert row.seeds == tuple(range(7))
    for column, expected in zip(("fid", "kid"), np.array(values).T, strict=True):
        figure = row.figures[column]
        assert figure.mean == pytest.approx(expected.mean(), rel=1e-14)
        assert figure.sd == pytest.approx(expected.std(ddof=1), rel=1e-9)
        assert figure.count == 7


def test_a_seed_without_a_figure_is_not_counted_as_zero() -> None:
    (row,) = only(run(1, 0, quality__fid=4.0), run(1, 1, quality__fid=None), run(1, 2, quality__fid=8.0)).rows
    assert (row.figures["fid"].mean, row.figures["fid"].count, len(row.runs)) == (6.0, 2, 3)


def test_of_one_seed_only_the_newest_result_counts() -> None:
    runs = [
        run(1, 0, created=f"2026-01-0{day}T00:00:00Z", quality__fid=float(day), run_id=f"x-s0-r{day}")
        for day in (2, 3, 1)
    ]
    comparison = compared(*runs)
    (row,) = comparison.groups[0].rows
    assert (row.figures["fid"].mean, row.figures["fid"].count, comparison.superseded) == (3.0, 1, 2)


def test_the_same_samples_under_two_names_are_two_rows() -> None:
    comparison = compared(*(run(1, model__name=name, model__family="foreign") for name in ("theirs", "ours")))
    assert ([row.first.model for row in comparison.groups[0].rows], comparison.superseded) == (["ours", "theirs"], 0)


def test_what_a_figure_is_keeps_runs_apart() -> None:
    """Means over figures of different kinds, checkpoints or features would say nothing."""
    changes = [
        {}, {"likelihood__kind": "exact"}, {"likelihood__of": "p(x|y)"}, {"training__checkpoint": "last"},
        {"likelihood__examples": 128},
        {"quality__extractor_sha256": "cd" * 32}, {"quality__n_fake": 999},
    ]  # fmt: skip
    assert len(only(*(run(1, seed, **change) for seed, change in enumerate(changes))).rows) == len(changes)


@pytest.mark.parametrize(
    "change",
    [
        {"data__name": "other"}, {"data__split": "validation"}, {"data__levels": 2}, {"data__shape": [1, 14, 14]},
        {"reference__true_entropy_nats": 1.5}, {"protocol__name": "other"}, {"protocol__hash": "ffff"},
    ],
)  # fmt: skip
def test_other_data_or_another_protocol_is_a_group_of_its_own(change: dict[str, object]) -> None:
    comparison = compared(run(1, quality__fid=1.0), run(2, quality__fid=2.0), run(3, quality__fid=9.0, **change))
    assert [len(group.rows) for group in comparison.groups] in ([2, 1], [1, 2])
    alone = next(group for group in comparison.groups if len(group.rows) == 1)
    assert alone.rows[0].best == set(), "nothing is best alone"
    pair = next(group for group in comparison.groups if len(group.rows) == 2)
    assert "fid" in pair.rows[0].best


def test_best_is_lowest_or_highest_as_the_column_has_it() -> None:
    sides = {column.key: column.better for column in columns() if column.basis == "features" and column.better}
    assert "neighbour_ratio" not in sides, "neither way is better"
    low = {f"quality__{key}": 0.1 for key in sides}
    high = {f"quality__{key}": 0.9 for key in sides}
    group = only(run(1, model__name="low", **low), run(2, model__name="high", **high))
    for key, better in sides.items():
        assert best(group, key) == ["low" if better == "lower" else "high"], key
    assert {key for key, better in sides.items() if better == "higher"} == {
        "inception_score", "precision", "recall", "density", "coverage", "classification_accuracy", "known_words",
        "asked_class_accuracy", "tstr_accuracy", "tstr_r2",
    }  # fmt: skip


def test_figures_that_read_alike_are_marked_alike() -> None:
    group = only(
        run(1, model__name="a", quality__fid=3.001),
        run(2, model__name="b", quality__fid=3.0),
        run(3, model__name="c", quality__fid=3.01),
    )
    assert best(group, "fid") == ["a", "b"]


def test_what_chance_may_have_put_behind_the_best_is_marked_but_nothing_behind_a_worse_one() -> None:
    fids = {"a": (2.0, 2.4, 2.2), "b": (2.3, 2.5, 2.1), "c": (3.0, 3.2, 3.1), "wild": (2.5, 9.0, 6.0)}
    group = only(
        *(
            run(number, seed, model__name=name, quality__fid=fid)
            for number, (name, values) in enumerate(fids.items())
            for seed, fid in enumerate(values)
        )
    )
    assert best(group, "fid") == ["a", "b"]


def test_none_is_best_where_none_can_be_told_from_the_best() -> None:
    """Of KID below zero, which is chance, the lowest was marked."""
    kid = {"quality__n_real": 250, "quality__n_fake": 250, "quality__kid_sd": 0.005}
    figures = {"a": -0.0011, "b": -0.0003, "worse": 0.1}
    runs = [run(n, model__name=name, quality__kid=value, **kid) for n, (name, value) in enumerate(figures.items())]
    assert best(only(*runs[:2]), "kid") == []
    assert best(only(*runs), "kid") == ["a", "b"]
    zero = [run(number, quality__fid=fid) for number, fid in enumerate((0.001, 0.002))]
    assert best(only(*zero), "fid") == [], "both print as 0.00"


def test_what_lies_beyond_the_ideal_is_chance_and_no_better() -> None:
    """Of two areas that say that nothing tells samples from rows, the lower was marked."""
    areas = {"a": 0.44, "b": 0.5, "worse": 0.6}
    sure = {"quality__c2st_auc_se": 0.001}
    runs = [run(n, model__name=name, quality__c2st_auc=area, **sure) for n, (name, area) in enumerate(areas.items())]
    group = only(*runs)
    assert best(group, "c2st_auc") == ["a", "b"]
    assert best(only(*runs[:2]), "c2st_auc") == []
    assert {row.model: row.figures["c2st_auc"].mean for row in group.rows} == areas, "shown is what was measured"


def test_the_own_standard_error_of_a_figure_is_that_of_one_seed_alone() -> None:
    one = {"bits_per_dim": 1.2, "bits_per_dim_se": 0.1, "nats": 9.0, "nats_se": 0.7, "kind": "dequantized-1"}
    group = only(run(1, likelihood__one_draw=one), run(2, 0), run(2, 1))
    (single,) = (row for row in group.rows if len(row.runs) == 1)
    assert (single.figures["likelihood"].se, single.figures["one_draw"].se) == (0.0026, 0.1)
    (several,) = (row for row in group.rows if len(row.runs) == 2)
    assert (several.figures["likelihood"].se, several.figures["likelihood"].sd) == (None, 0.0)
    # 100 subsets of 1,000 of 10,000 examples, see Figure.standard_error.
    assert single.figures["kid"].se == pytest.approx(0.001 * (1000 / 9000 + 0.01) ** 0.5)
    assert single.figures["fid"].se is None


def test_likelihoods_compete_only_where_they_compare() -> None:
    figures = [
        ("exact", "p(x)", 1.10), ("dequantized-16", "p(x)", 1.05), ("elbo", "p(x)", 1.20), ("vlb", "p(x)", 1.30),
        ("ode", "p(x)", 0.90), ("dequantized-ode", "p(x)", 0.89), ("dequantized-ode", "p(x)", 0.95),
        ("exact", "p(x|y)", 0.80), ("iwae-16", "p(x|y)", 0.85),
    ]  # fmt: skip
    group = only(
        *(
            run(
                number,
                model__name=f"{kind} {of} {nll}",
                likelihood__kind=kind,
                likelihood__of=of,
                likelihood__bits_per_dim=nll,
            )
            for number, (kind, of, nll) in enumerate(figures)
        )
    )
    assert best(group, "likelihood") == ["dequantized-16 p(x) 1.05", "dequantized-ode p(x) 0.89", "exact p(x|y) 0.8"]


def test_likelihoods_computed_otherwise_are_no_seeds_of_one_row() -> None:
    """Of a process in steps, and in continuous time: the settings are the same, the bounds are not."""
    kind = {"likelihood__kind": "vlb"}
    group = only(
        run(1, 0, **kind, likelihood__vlb={"steps": 250}), run(1, 1, **kind, likelihood__vlb={"noise_levels": 250})
    )
    assert [len(row.runs) for row in group.rows] == [1, 1]


def test_likelihoods_of_fewer_examples_are_no_rivals_of_those_of_all() -> None:
    few = {"likelihood__examples": 128}
    group = only(
        run(1, model__name="all", likelihood__bits_per_dim=1.10),
        run(2, model__name="all, worse", likelihood__bits_per_dim=1.20),
        run(3, model__name="few", likelihood__kind="vlb", likelihood__bits_per_dim=1.05, **few),
        run(4, model__name="few, worse", likelihood__kind="vlb", likelihood__bits_per_dim=1.07, **few),
    )
    assert best(group, "likelihood") == ["all", "few"]
    assert {row.model: row.few_examples for row in group.rows} == {
        "all": None, "all, worse": None, "few": 128, "few, worse": 128,
    }  # fmt: skip
    assert only(run(1, **few)).rows[0].few_examples == 128, "its quality is of the whole split"


def test_quality_competes_only_on_the_same_features_and_numbers() -> None:
    group = only(
        run(1, model__name="a", quality__fid=5.0),
        run(2, model__name="b", quality__fid=4.0),
        run(3, model__name="few", quality__fid=1.0, quality__n_fake=100),
        run(4, model__name="other", quality__fid=2.0, quality__extractor="inception"),
    )
    assert best(group, "fid") == ["b"]


def test_milliseconds_compete_only_on_one_device() -> None:
    group = only(
        run(1, model__name="a", sampling__ms_per_sample=5.0),
        run(2, model__name="b", sampling__ms_per_sample=4.0),
        run(3, model__name="gpu", sampling__ms_per_sample=0.1, training__device="NVIDIA H100"),
        run(4, model__name="sampled on a gpu", sampling__ms_per_sample=0.2, sampling__device="NVIDIA H200"),
    )
    assert best(group, "ms_per_sample") == ["b"]


def test_milliseconds_of_several_devices_make_no_mean() -> None:
    a = {"model__name": "a", "sampling__ms_per_sample": 5.0}
    group = only(
        run(1, 0, **a),
        run(1, 1, **a, training__device="NVIDIA H100"),
        run(2, 0, model__name="b", sampling__ms_per_sample=4.0, sampling__batch_size=1),
        run(2, 1, model__name="b", sampling__ms_per_sample=4.0),
    )
    (mixed,) = (row for row in group.rows if row.model == "a")
    assert (mixed.figures["ms_per_sample"].mean, mixed.figures["ms_per_sample"].count) == (5.0, 1)
    assert best(group, "ms_per_sample") == [], "of batches of one, and of 250"


def test_a_label_of_more_classes_tells_more() -> None:
    told = {"likelihood__of": "p(x|y)", "likelihood__kind": "exact"}
    sixty = {"data__num_classes": 60}
    group = only(
        run(1, model__name="ten", **told, likelihood__bits_per_dim=1.1),
        run(2, model__name="ten, worse", **told, likelihood__bits_per_dim=1.2),
        run(3, model__name="sixty", **told, likelihood__bits_per_dim=0.9, **sixty),
        run(4, model__name="sixty, worse", **told, likelihood__bits_per_dim=1.0, **sixty),
    )
    assert set(best(group, "likelihood")) == {"ten", "sixty"}


def test_a_device_is_the_same_however_its_thread_was_once_written() -> None:
    old, new = run(1, training__device="cpu x86_64, 1 threads"), run(2, training__device="cpu x86_64, 1 thread")
    assert old.sampling_device == new.sampling_device == old.device == "cpu x86_64, 1 thread"
    assert run(training__device="cpu x86_64, 11 threads").device == "cpu x86_64, 11 threads"


def test_references_stand_first_and_the_floor_is_not_ranked() -> None:
    group = only(
        run(1, model__name="good", quality__fid=2.0),
        run(2, model__name="baseline", model__family="gmm", quality__fid=30.0),
        run(3, model__name="bad", quality__fid=50.0),
        run(4, model__name="floor", model__family="floor", quality__fid=0.1, likelihood=None, sampling=None),
        run(5, model__name="no fid", quality=None, likelihood__bits_per_dim=0.1),
    )
    assert [row.model for row in group.rows] == ["floor", "baseline", "good", "bad", "no fid"]
    assert best(group, "fid") == ["good"]


def test_foreign_samples_are_never_best_and_keep_nobody_from_it() -> None:
    group = only(
        run(1, model__name="good", quality__fid=2.0),
        run(2, model__name="bad", quality__fid=50.0),
        run(3, model__name="theirs", model__family="foreign", quality__fid=0.1, likelihood=None, sampling=None),
    )
    assert best(group, "fid") == ["good"]
    assert [row.reference for row in group.rows if row.model == "theirs"] == ["foreign"]


def test_continuous_data_is_ranked_in_nats() -> None:
    nats = {"data__levels": None, "likelihood__bits_per_dim": None, "likelihood__nats_se": 0.1}
    group = only(
        run(1, model__name="a", likelihood__nats=2.0, **nats), run(2, model__name="b", likelihood__nats=-1.0, **nats)
    )
    assert best(group, "likelihood") == ["b"]
    assert group.rows[0].figures["likelihood"].mean == -1.0


def test_the_bound_of_one_draw_has_a_column_of_its_own() -> None:
    one = {"bits_per_dim": 1.2, "bits_per_dim_se": 0.1, "nats": 9.0, "nats_se": 0.1, "kind": "dequantized-1"}
    (row,) = only(run(likelihood__one_draw=one)).rows
    assert row.figures["one_draw"].mean == 1.2
    assert [row.kind(column) for column in columns()[:3]] == ["dequantized-16", "dequantized-1", None]


def test_rows_of_one_model_are_told_apart_by_what_differs_in_their_commands() -> None:
    command = "python train.py model=flow data=mnist logger=none paths.logs=/x{} seed=0 'model.lr={}'"
    group = only(*(run(number, command=command.format(number, rate)) for number, rate in enumerate(("1e-3", "2e-3"))))
    assert {row.note for row in group.rows} == {"model.lr=1e-3", "model.lr=2e-3"}
    # A command that names only the run says nothing of its configuration.
    group = only(*(run(number, command=f"python scripts/evaluate.py run=x{number}") for number in (1, 2)))
    assert {row.note for row in group.rows} == {"config 00000000"}, "hashes that begin alike"


def test_only_columns_with_a_figure_are_shown() -> None:
    keys = {column.key for column in only(run(quality=None), run(2, quality=None, sampling__nfe=None)).columns}
    assert keys == {"likelihood", "nfe", "ms_per_sample", "parameters", "examples_seen", "train_minutes"}


def test_ten_thousand_results_are_grouped_and_ranked() -> None:
    runs = many_runs()
    random.Random(0).shuffle(runs)
    comparison = compare(runs)
    assert [len(group.rows) for group in comparison.groups] == [500] * 10
    for index, group in enumerate(comparison.groups):
        assert [row.figures["fid"].mean for row in group.rows] == [
            2.0 * number + 0.5 for number in range(index, 5000, 10)
        ]
        assert [row for row in group.rows if "fid" in row.best] == [group.rows[0]]
