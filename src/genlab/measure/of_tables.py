"""How the figures of samples of a table are measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genlab.measure.case import Case
from genlab.measure.metrics.tables import TableDistances

__all__ = ["distances"]


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
