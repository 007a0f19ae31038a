"""Whether generated rows of a table lie nearer to the rows that were trained on than to as many that were not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from genlab.core.spec import Field
from genlab.measure.metrics.rows import require_examples

__all__ = ["MOST_ROWS", "share_nearer"]

MOST_ROWS = 5_000
"""Samples, and rows of each kind, whose distances are computed."""
FEWEST_ROWS = 20
_FARTHEST = 1e6
"""Standard deviations beyond which all is alike: their squares are within float32."""
_TOGETHER = 200


def share_nearer(samples: Tensor, training: Tensor, held_out: Tensor, fields: Sequence[Field]) -> tuple[float, float]:
    """Return the share of samples whose nearest real row was trained on, and its standard error.

    The nearest of as many different training rows as held-out ones: 0.5 where the samples know nothing of the training
    rows that they do not know of all data; more where rows are repeated. Rows at the same distance share a sample. The
    distance is Euclidean, of numbers in standard deviations of the training rows, and of categories as places of their
    own, two apart for their square: what two numbers drawn alike are apart on average.

    The error is that over which of the real rows were trained on, all choices being equally likely: it counts each
    sample, and that many samples may have one nearest row.

    Args:
        samples: ``[N, D]``, finite.
        training: ``[T, D]``, rows that were trained on.
        held_out: ``[H, D]``, rows that were not.
        fields: The columns.

    Raises:
        MetricError: With fewer than 20 samples, or different rows of either kind.
    """
    generator = torch.Generator().manual_seed(0)
    training, held_out = training.double(), held_out.double()
    centre, scale = training.mean(0), training.std(0)
    # Of equal rows one: they are all in the same split, so that together they are one that might be in another.
    kinds = [torch.from_numpy(np.unique(rows.numpy(), axis=0)) for rows in (training, held_out)]
    for name, rows in zip(("generated", "training", "held-out"), (samples, *kinds), strict=True):
        require_examples(name, len(rows), FEWEST_ROWS)
    count = min(MOST_ROWS, *map(len, kinds))
    real = torch.cat([rows[torch.randperm(len(rows), generator=generator)[:count]] for rows in kinds])
    drawn = samples.double()[torch.randperm(len(samples), generator=generator)[:MOST_ROWS]]
    numbers = torch.tensor([field.levels is None and bool(s > 0) for field, s in zip(fields, scale, strict=True)])
    categories = torch.tensor([field.levels is not None for field in fields])
    real_numbers, drawn_numbers = (
        ((x - centre) / scale)[:, numbers].clamp(-_FARTHEST, _FARTHEST).float() for x in (real, drawn)
    )
    weight = torch.zeros(2 * count, dtype=torch.float64)
    drawn_kinds, real_kinds = (x[:, categories].float() for x in (drawn, real))
    for kinds_of, near in zip(drawn_kinds.split(_TOGETHER), drawn_numbers.split(_TOGETHER), strict=True):
        # Without matrix products, whose rounding would tell rows at the same distance apart.
        apart = torch.cdist(near, real_numbers, compute_mode="donot_use_mm_for_euclid_dist").square()
        apart += 2 * torch.cdist(kinds_of, real_kinds, p=0)
        nearest = apart == apart.amin(1, keepdim=True)
        weight += (nearest / nearest.sum(1, keepdim=True)).sum(0)
    weight /= len(drawn)
    return float(weight[:count].sum()), float(_error(weight))


def _error(weight: Tensor) -> Tensor:
    """Deviation of the summed weight of a random half of the rows; weights ``[2 M]`` that sum to one."""
    rows = len(weight)
    return ((rows * weight.square().sum() - 1) / (rows - 1) / 4).clamp_min(0).sqrt()
