"""How the figures of samples of a table are measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genlab.core.batch import Batch
from genlab.core.spec import DataSpec, Field
from genlab.measure.case import Case
from genlab.measure.metrics.nearer import share_nearer
from genlab.measure.metrics.prediction import MOST_ROWS, Rows, predict_classes, predict_numbers
from genlab.measure.metrics.rows import MetricError
from genlab.measure.metrics.tables import TableDistances
from genlab.measure.metrics.two_samples import tell_apart

__all__ = ["distances", "predicted_class", "predicted_number", "told_apart", "training_rows"]


def distances(case: Case) -> Mapping[str, Any]:
    """Return how far columns and pairs of columns are from those of held-out rows, and how sure that is."""
    metric = TableDistances(case.reference.spec.fields)
    metric.distributed_available_fn = lambda: False  # the other processes do not measure
    metric.update(case.reference.examples.x, real=True)
    metric.update(case.samples.x, real=False)
    computed = metric.compute()
    found = {"column_distance_by_column": computed.pop("by_column").tolist()}
    for name, key in (
        ("column", "column_distance"),
        ("correlation", "correlation_difference"),
        ("contingency", "contingency_difference"),
    ):
        if name in computed:
            found |= {key: float(computed[name]), f"{key}_se": float(computed[f"{name}_se"])}
    return found


def told_apart(case: Case) -> Mapping[str, Any]:
    """Return how well a classifier tells samples from held-out rows, and how sure that is."""
    real, fake = case.reference.examples.x.numpy(), _finite(case.samples.x).numpy()
    area, error = tell_apart(real, fake, case.reference.spec.fields)
    return {"c2st_auc": area, "c2st_auc_se": error}


def training_rows(case: Case) -> Mapping[str, Any]:
    """Return the share of samples that are nearer to training rows than to held-out ones, and how sure that is."""
    reference, samples = case.reference, _finite(case.samples.x)
    assert reference.training is not None
    training = reference.training.x if case.trained_rows is None else reference.training.x[case.trained_rows]
    if case.rows is not None:
        # No held-out row equals a training row, so neither may those that are compared with these.
        training = _others(training, samples)
    share, error = share_nearer(samples, training, reference.examples.x, reference.spec.fields)
    return {"nearer_share": share, "nearer_share_se": error}


def predicted_number(case: Case) -> Mapping[str, Any]:
    """Return how well models trained on samples predict a number of held-out rows, and those trained on real rows."""
    train, real, test, fields = _to_predict(case)
    found, error = predict_numbers(train, test, fields)
    return {"tstr_r2": found, "tstr_r2_se": error, "tstr_r2_real": predict_numbers(real, test, fields)[0]}


def predicted_class(case: Case) -> Mapping[str, Any]:
    """Return how well models trained on samples predict the class of held-out rows, and those trained on real rows."""
    train, real, test, fields = _to_predict(case)
    found, error = predict_classes(train, test, fields)
    by_real, _ = predict_classes(real, test, fields)
    return {"tstr_accuracy": found, "tstr_accuracy_se": error, "tstr_accuracy_real": by_real}


def _to_predict(case: Case) -> tuple[Rows, Rows, Rows, list[Field]]:
    """Samples, as many training rows, and the held-out rows, each as inputs and what is predicted; and the inputs."""
    reference, spec = case.reference, case.reference.spec
    assert reference.training is not None
    _finite(case.samples.x)
    count = min(len(case.samples.x), len(reference.training.x), MOST_ROWS)
    samples, real = (_some(rows, count) for rows in (case.samples, reference.training))
    train, real, test = (_inputs(rows, spec) for rows in (samples, real, reference.examples))
    return train, real, test, [field for field in spec.fields if field.name != spec.predicted]


def _some(rows: Batch, count: int) -> Batch:
    return rows.rows(torch.randperm(len(rows.x), generator=torch.Generator().manual_seed(0))[:count])


def _inputs(rows: Batch, spec: DataSpec) -> Rows:
    x = rows.x.double().numpy()
    if spec.predicted is None:
        assert rows.y is not None
        return x, rows.y.numpy()
    place = [field.name for field in spec.fields].index(spec.predicted)
    return np.delete(x, place, axis=1), x[:, place]


def _finite(x: Tensor) -> Tensor:
    if broken := int((~x.isfinite()).any(1).sum()):
        raise MetricError(f"{broken} of {len(x)} rows have values that are nan or infinite.")
    return x


def _others(rows: Tensor, without: Tensor) -> Tensor:
    """Rows ``[N, D]`` but those that equal one of ``without``."""
    _, group = np.unique(torch.cat([rows, without]).numpy(), axis=0, return_inverse=True)
    group = group.reshape(-1)
    return rows[torch.from_numpy(~np.isin(group[: len(rows)], group[len(rows) :]))]
