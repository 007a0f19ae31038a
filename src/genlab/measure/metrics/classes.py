"""Total variation distance between the class histograms of real and of generated examples."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from genlab.measure.metrics.rows import as_labels, require_examples

__all__ = ["RARE", "ClassHistogramDistance"]

RARE = 0.1
"""A class is missing if its share among the samples is less than this part of its share in the data."""


class ClassHistogramDistance(Metric):
    """Total variation distance between the class frequencies of real and of generated examples.

    Half the sum of the absolute differences: 0 for equal frequencies, 1 for no class in common. Frequencies of finite
    sets differ by chance too, so a figure stands beside that of a held-out real set of the same size.

    Args:
        num_classes: Number of classes.

    Attributes:
        real_counts: ``[num_classes]``, int64: real examples of each class.
        fake_counts: ``[num_classes]``, int64: generated examples of each class.
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = False

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        for name in ("real_counts", "fake_counts"):
            self.add_state(name, torch.zeros(num_classes, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, labels: Tensor, real: bool) -> None:
        """Add the labels ``[N]``, given or predicted, of real or of generated examples.

        Raises:
            ValueError: If the labels are not whole numbers in ``[0, num_classes)``.
        """
        counts = torch.bincount(as_labels(labels, self.num_classes), minlength=self.num_classes)
        if real:
            self.real_counts += counts
        else:
            self.fake_counts += counts

    def compute(self) -> Tensor:
        """Return the distance, a float64 scalar in ``[0, 1]``.

        Raises:
            MetricError: Without a real or without a generated example.
        """
        real, fake = self._shares()
        return ((real - fake).abs().sum() / 2).clamp_max(1)  # shares that sum to 1 but for rounding may exceed it

    def missing_classes(self) -> int:
        """Return how many classes are missing: their share among generated examples is under a tenth of the real one.

        A sign of mode collapse. With few generated examples a class may be missing by chance: one that holds a tenth of
        the real examples is so among 100 with a probability of 3e-5.

        Raises:
            MetricError: Without a real or without a generated example.
        """
        real, fake = self._shares()
        return int((fake < RARE * real).sum())

    def _shares(self) -> tuple[Tensor, Tensor]:
        require_examples("real", int(self.real_counts.sum()), 1)
        require_examples("generated", int(self.fake_counts.sum()), 1)
        return self.real_counts.double() / self.real_counts.sum(), self.fake_counts.double() / self.fake_counts.sum()
