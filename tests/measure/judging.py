"""The quality of samples, as tests ask for it, and points of a plane to be judged."""

from __future__ import annotations

from typing import Any

import torch

from genlab.core.batch import Batch
from genlab.core.spec import DataSpec
from genlab.measure.case import Instruments, Reference
from genlab.measure.features.choice import choose_extractor
from genlab.measure.quality import Quality, measure_quality

PLANE = DataSpec("plane", "vector", (2,))


def judged(
    samples: torch.Tensor,
    test: Batch,
    train: Batch,
    spec: DataSpec,
    labels: torch.Tensor | None = None,
    only: list[str] | None = None,
    rows: torch.Tensor | None = None,
    **instruments: Any,
) -> Quality:
    """The quality of samples in the features that the data's own extractor gives."""
    found = Instruments(choose_extractor(spec, lambda: train.x), **instruments)
    return measure_quality(Batch(samples, labels), Reference(spec, test, "test", train), found, only, rows)


def plane(n: int, seed: int, shift: float = 0.0) -> torch.Tensor:
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(seed)) + shift
