"""Kernel distance (KID): squared maximum mean discrepancy with a polynomial kernel."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from genlab.measure.metrics.rows import FeatureMetric, canonical_order, require_examples, subset

__all__ = ["KernelDistance"]

ROWS_AT_ONCE = 256


class KernelDistance(FeatureMetric):
    """Unbiased squared maximum mean discrepancy with the kernel (x^T y / D + 1)^3, over random subsets.

    Binkowski et al. (2018), "Demystifying MMD GANs", section 4; called KID with the features of Inception-v3. Its
    expectation is zero for equal distributions whatever the number of examples, so a figure may be below zero.

    Written here, because torchmetrics draws the subsets from the global generator and by the order of the updates,
    cannot gather processes that saw different numbers of batches, and sums in the features' float32. Here the subsets
    depend on the seed and on the set of features alone, and the sums are in float64.

    Args:
        num_features: Length D of one example's features.
        num_subsets: Number of subsets.
        subset_size: Real and generated examples in each, drawn without replacement. At the number of examples itself
            all subsets are the same, and the standard deviation says nothing.
        seed: Seed of the subsets.
    """

    higher_is_better = False

    def __init__(self, num_features: int, num_subsets: int = 100, subset_size: int = 1000, seed: int = 0) -> None:
        super().__init__(num_features)
        if num_subsets < 1 or subset_size < 2:
            raise ValueError(f"num_subsets must be at least 1 and subset_size 2, not {num_subsets} and {subset_size}.")
        self.num_subsets = num_subsets
        self.subset_size = subset_size
        self.seed = seed

    def compute(self) -> dict[str, Tensor]:
        """Return ``kid``, the mean, and ``kid_sd``, the standard deviation over the subsets, as float64 scalars.

        Raises:
            MetricError: With fewer real or generated examples than a subset has.
        """
        real, fake = self.rows("real_features"), self.rows("fake_features")
        require_examples("real", len(real), self.subset_size)
        require_examples("generated", len(fake), self.subset_size)
        real, fake = canonical_order(real), canonical_order(fake)
        generator = Generator().manual_seed(self.seed)
        distances = torch.stack([self._of_one_subset(real, fake, generator) for _ in range(self.num_subsets)])
        return {"kid": distances.mean(), "kid_sd": distances.std(unbiased=False)}

    def _of_one_subset(self, real: Tensor, fake: Tensor, generator: Generator) -> Tensor:
        some_real = subset(real, self.subset_size, generator).double()
        some_fake = subset(fake, self.subset_size, generator).double()
        return _squared_discrepancy(some_real, some_fake)


def _squared_discrepancy(first: Tensor, second: Tensor) -> Tensor:
    pairs = len(first) * (len(first) - 1)
    among = sum(_kernel_sum(points, points) - _self_kernel_sum(points) for points in (first, second))
    return among / pairs - 2 * _kernel_sum(first, second) / len(first) ** 2


def _kernel_sum(first: Tensor, second: Tensor) -> Tensor:
    total, one = first.new_zeros(()), first.new_ones(())
    # A whole matrix would leave the processor's cache, which makes this several times slower.
    for rows in first.split(ROWS_AT_ONCE):
        base = torch.addmm(one, rows, second.T, alpha=1 / first.shape[1]).ravel()
        total += base.square() @ base
    return total


def _self_kernel_sum(points: Tensor) -> Tensor:
    return (points.square().mean(1) + 1).pow(3).sum()
