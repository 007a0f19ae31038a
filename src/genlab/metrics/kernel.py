"""Kernel distance (KID): squared maximum mean discrepancy with a polynomial kernel."""

from __future__ import annotations

import torch
from torch import Generator, Tensor
from torchmetrics.image.kid import poly_mmd

from genlab.metrics.features import FeatureMetric, canonical_order, require_examples, subset

__all__ = ["KernelDistance"]


class KernelDistance(FeatureMetric):
    """Unbiased squared maximum mean discrepancy with the kernel (x^T y / D + 1)^3, over random subsets.

    Binkowski et al. (2018), "Demystifying MMD GANs", section 4; called KID with the features of Inception-v3. Its
    expectation is zero for equal distributions whatever the number of examples, so a figure may be below zero.

    The estimator is torchmetrics', in float64. What is around it is written here, because torchmetrics draws the
    subsets from the global generator and by the order of the updates, and cannot gather processes that saw different
    numbers of batches. Here they depend on the seed and on the set of features alone.

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
        return poly_mmd(some_real, some_fake)
