"""What the metrics on features share: states that hold feature matrices, their checks, and an order of their rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor
from torchmetrics import Metric
from torchmetrics.utilities.data import dim_zero_cat

from genlab.core.errors import GenlabError

__all__ = [
    "FeatureMetric",
    "MetricError",
    "RowsMetric",
    "as_features",
    "as_labels",
    "canonical_order",
    "require_examples",
    "subset",
]


class MetricError(GenlabError, ValueError):
    """A figure that cannot be computed from what was given, such as too few examples or features that are not finite.

    The message says why, so that it can stand as the reason of a missing figure.
    """


def as_features(features: Tensor, num_features: int) -> Tensor:
    """Return features ``[N, num_features]`` detached and in float32.

    Raises:
        ValueError: If the shape is another one.
        MetricError: If a feature is nan or infinite. Comparisons would silently count such an example as far away.
    """
    if features.ndim != 2 or features.shape[1] != num_features:
        raise ValueError(f"Features must have the shape [N, {num_features}], not {list(features.shape)}.")
    features = features.detach().float()
    broken = int((~torch.isfinite(features)).any(1).sum())
    if broken:
        raise MetricError(f"The features of {broken} of {len(features)} examples are nan or infinite.")
    return features


def as_labels(labels: Tensor, num_classes: int) -> Tensor:
    """Return labels ``[N]`` detached and in int64.

    Raises:
        ValueError: If they are not whole numbers ``[N]`` in ``[0, num_classes)``.
    """
    if labels.ndim != 1 or labels.is_floating_point() or labels.is_complex():
        raise ValueError(f"Labels must be whole numbers [N], not {labels.dtype} {list(labels.shape)}.")
    labels = labels.detach().long()
    if len(labels):
        least, most = (int(bound) for bound in labels.aminmax())
        if least < 0 or most >= num_classes:
            raise ValueError(f"Labels must be in [0, {num_classes}), not in [{least}, {most}].")
    return labels


def require_examples(name: str, count: int, least: int) -> None:
    """Raise :class:`MetricError` if ``count`` examples of the kind ``name`` are fewer than ``least``."""
    if count < least:
        raise MetricError(f"At least {least} {name} examples are needed, {count} were given.")


class RowsMetric(Metric):
    """A metric that keeps rows, such as the features of examples, until the figure is computed.

    Rows are not copied: metrics that are given the same matrix share its memory. Processes may see any numbers of
    batches, none included.
    """

    full_state_update = False
    is_differentiable = False

    def __init__(self) -> None:
        super().__init__()
        self._empty: dict[str, Tensor] = {}

    def add_rows(self, name: str, empty: Tensor) -> None:
        """Add a state that concatenates rows; ``empty`` has no row, and the shape and dtype of all of them.

        Two metrics that are not given the same rows need states of different names: a ``MetricCollection`` updates only
        one of those that have equal states, and takes a state without rows for equal to any other.
        """
        self.add_state(name, [], dist_reduce_fx="cat")
        self._empty[name] = empty

    def keep(self, name: str, rows: Tensor) -> None:
        """Append rows to a state."""
        getattr(self, name).append(rows)

    def rows(self, name: str) -> Tensor:
        """Return all rows of a state as one tensor; no row if there was no update."""
        return dim_zero_cat(getattr(self, name)) if len(getattr(self, name)) else self._empty[name].to(self.device)

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """Gather the states of all processes; see :meth:`torchmetrics.Metric.sync`."""
        # For a process without rows torchmetrics would gather a tensor of one axis, which the others' do not match.
        for name, empty in self._empty.items():
            if not len(getattr(self, name)):
                setattr(self, name, [empty.to(self.device)])
        super().sync(*args, **kwargs)


class FeatureMetric(RowsMetric):
    """A metric that keeps the features of real and of generated examples, in float32.

    Args:
        num_features: Length D of one example's features.
    """

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features
        self.add_rows("real_features", torch.empty(0, num_features))
        self.add_rows("fake_features", torch.empty(0, num_features))

    def update(self, features: Tensor, real: bool) -> None:
        """Add the features ``[N, num_features]`` of real or of generated examples.

        Raises:
            ValueError: If the features' shape is another one.
            MetricError: If a feature is nan or infinite.
        """
        self.keep("real_features" if real else "fake_features", as_features(features, self.num_features))


def canonical_order(features: Tensor) -> Tensor:
    """Sort the rows ``[N, D]`` of float32 by their values, so that what is drawn from them forgets how they came.

    The order is by the bytes of the big-endian numbers, column by column; rounding of a feature moves few rows.
    """
    # Adding zero turns -0 into 0, which is equal but has other bytes.
    rows = (features + 0.0).cpu().numpy().astype(">f4")
    order = rows.view(f"V{rows.itemsize * rows.shape[1]}").ravel().argsort(kind="stable")
    return features[torch.from_numpy(np.ascontiguousarray(order)).to(features.device)]


def subset(rows: Tensor, size: int, generator: Generator) -> Tensor:
    """Draw ``size`` of the rows without replacement, with a generator on the CPU."""
    return rows[torch.randperm(len(rows), generator=generator)[:size].to(rows.device)]
