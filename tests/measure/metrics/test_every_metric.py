"""What holds for every metric: batches, order, processes, the global generator, collections and errors."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from genlab.core.errors import GenlabError
from genlab.measure.metrics.manifold import ManifoldMetrics
from genlab.measure.metrics.rows import MetricError, canonical_order
from tests import forkserver
from tests.measure.metrics.common import METRICS, ON_FEATURES, D, classes, figures, give, normals
from tests.tiny import ROOT

SETS = [
    (normals(90, seed=1), True, False),
    (normals(70, seed=2) * 0.8 + 0.3, False, False),
    (normals(80, seed=3), True, True),
]


def measured(name: str, batches: Iterator[tuple[Tensor, bool, bool]]) -> dict[str, Tensor]:
    metric = METRICS[name]()
    for features, real, training in batches:
        give(metric, features, real, training)
    return figures(metric)


def in_batches(size: int) -> Iterator[tuple[Tensor, bool, bool]]:
    for features, real, training in SETS:
        for batch in features.split(size):
            yield batch, real, training


def shuffled(size: int) -> Iterator[tuple[Tensor, bool, bool]]:
    """Other rows in each batch, and the three sets in turn."""
    batches = []
    for seed, (features, real, training) in enumerate(SETS):
        rows = features[torch.randperm(len(features), generator=torch.Generator().manual_seed(seed))]
        batches += [(place, batch, real, training) for place, batch in enumerate(rows.split(size))]
    for _, *batch in sorted(batches, key=lambda batch: -batch[0]):
        yield tuple(batch)


@pytest.mark.parametrize("name", METRICS)
def test_batches_and_their_order_do_not_matter(name: str) -> None:
    whole = measured(name, iter(SETS))
    assert all(value.dtype == torch.float64 for value in whole.values())
    torch.testing.assert_close(measured(name, in_batches(7)), whole, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(measured(name, shuffled(16)), whole, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", METRICS)
def test_the_global_generator_is_neither_read_nor_moved(name: str) -> None:
    torch.manual_seed(1)
    first, state = measured(name, iter(SETS)), torch.get_rng_state()
    torch.testing.assert_close(measured(name, iter(SETS)), first, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)


def one_of_two(rank: int, folder: str) -> None:
    """Rank 1 has no generated example, rank 0 no training example, and both saw different numbers of batches."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    (real, *_), (fake, *_), (training, *_) = SETS
    mine = [(real[:20], True, False), (real[20:50], True, False), (fake, False, False)]
    if rank == 1:
        mine = [(real[50:], True, False), (training, True, True)]
    computed = {}
    for name, make in METRICS.items():
        metric = make()
        for batch in mine:
            give(metric, *batch)
        computed[name] = metric.compute()
    torch.save(computed, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_give_the_figures_of_one(tmp_path: Path) -> None:
    code = f"from {__name__} import one_of_two; one_of_two(%d, {str(tmp_path)!r})"
    both = [forkserver.start([sys.executable, "-c", code % rank], cwd=ROOT) for rank in range(2)]
    try:
        said = [process.communicate(timeout=200) for process in both]
    finally:
        for process in both:
            process.kill()
    assert [process.returncode for process in both] == [0, 0], said
    for rank in range(2):
        computed = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for name, make in METRICS.items():
            metric: Metric = make()
            for batch in SETS:
                give(metric, *batch)
            torch.testing.assert_close(computed[name], metric.compute(), rtol=1e-10, atol=1e-12)


def test_a_collection_gives_what_its_metrics_give_alone() -> None:
    names = [name for name in ON_FEATURES if name != "neighbours"]
    collection = MetricCollection({name: METRICS[name]() for name in names})
    collection.add_metrics({"manifold_without_classes": ManifoldMetrics(D)})
    for batch, real, training in in_batches(16):
        if not training:
            collection.update(batch, real=real, labels=classes(batch) if real else None)
    together = collection.compute()
    alone = {name: measured(name, iter(SETS)) for name in names}
    # Keys that two metrics share, here those of both manifolds, make the collection put the names before all.
    expected = {
        (name if key == "value" else f"{name}_{key}"): value for name in names for key, value in alone[name].items()
    }
    torch.testing.assert_close({key: together[key] for key in expected}, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_starts_afresh_after_a_reset(name: str) -> None:
    metric = METRICS[name]()
    for features, real, training in SETS:
        give(metric, features + 1, real, training)
    metric.reset()
    for batch in SETS:
        give(metric, *batch)
    torch.testing.assert_close(figures(metric), measured(name, iter(SETS)), rtol=0, atol=0)


# How many real, generated and training examples are too few, and how the message counts them.
TOO_FEW = [
    ("frechet", 1, 9, 0, "At least 2 real examples are needed, 1"),
    ("frechet", 9, 1, 0, "At least 2 generated examples are needed, 1"),
    ("mifid", 9, 1, 0, "At least 2 generated"),
    ("kernel", 29, 30, 0, "At least 30 real"),
    ("kernel", 30, 29, 0, "At least 30 generated"),
    ("inception_score", 9, 3, 0, "At least 4 generated"),
    ("manifold", 5, 9, 0, "At least 6 real"),
    ("manifold", 9, 3, 0, "At least 4 generated"),
    ("neighbours", 9, 9, 0, "At least 1 training"),
    ("neighbours", 0, 9, 9, "At least 1 held-out"),
    ("wasserstein", 0, 9, 0, "At least 1 real"),
    ("mmd", 9, 1, 0, "At least 2 generated"),
    ("classes", 9, 0, 0, "At least 1 generated"),
]


@pytest.mark.filterwarnings("ignore:The ``compute`` method of metric")
@pytest.mark.parametrize(("name", "real", "fake", "training", "message"), TOO_FEW)
def test_too_few_examples_are_named(name: str, real: int, fake: int, training: int, message: str) -> None:
    metric = METRICS[name]()
    for count, *kind in ((real, True, False), (fake, False, False), (training, True, True)):
        if count:
            give(metric, normals(count, seed=count), *kind)
    with pytest.raises(MetricError, match=message) as error:
        metric.compute()
    assert isinstance(error.value, GenlabError)
    assert isinstance(error.value, ValueError)


def test_every_metric_has_a_case_of_too_few_examples() -> None:
    assert {name for name, *_ in TOO_FEW} == set(METRICS)


@pytest.mark.parametrize("name", ON_FEATURES)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_features_that_are_not_finite_are_refused(name: str, value: float) -> None:
    features = normals(10, seed=1)
    features[3, 1] = features[3, 2] = features[7, 0] = value
    with pytest.raises(MetricError, match="of 2 of 10 examples are nan or infinite"):
        give(METRICS[name](), features, real=False)


@pytest.mark.parametrize("name", ON_FEATURES)
@pytest.mark.parametrize("shape", [(4, D + 1), (D,), (4, D, 1)])
def test_features_of_another_shape_are_refused(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=rf"shape \[N, {D}\]"):
        METRICS[name]().update(torch.zeros(shape), real=False)


@pytest.mark.parametrize("name", METRICS)
def test_states_hold_no_graph(name: str) -> None:
    metric = METRICS[name]()
    for features, real, training in SETS:
        give(metric, features.clone().requires_grad_(), real, training)
    assert not any(value.requires_grad for value in figures(metric).values())


def test_the_canonical_order_forgets_the_order_of_the_rows() -> None:
    rows = torch.cat([normals(50, seed=1).relu(), torch.zeros(3, D), normals(9, seed=1)])
    ordered = canonical_order(rows)
    shuffled = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(5))]
    assert torch.equal(canonical_order(shuffled), ordered)
    # Zeros of either sign are the same feature.
    assert torch.equal(canonical_order(torch.where(shuffled == 0, -shuffled, shuffled)), ordered)
    assert sorted(ordered.tolist()) == sorted(rows.tolist())


def test_the_canonical_order_moves_little_with_a_rounding_error() -> None:
    rows = normals(1000, seed=4)
    moved = canonical_order(rows * (1 + 1e-6)) / (1 + 1e-6)
    assert (moved - canonical_order(rows)).abs().amax(1).lt(1e-3).double().mean() > 0.98


def test_labels_of_the_tests_have_every_class() -> None:
    assert classes(SETS[0][0]).bincount().min() > 5
