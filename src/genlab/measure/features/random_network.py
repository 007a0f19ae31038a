"""Features of a fixed random network: for images of which no classifier is known.

Naeem et al. (2020), "Reliable fidelity and diversity metrics for generative models", section 4, find that for data far
from natural photographs the 64 features of a randomly initialized convolutional network rank models as well as, or
better than, those of a network trained on ImageNet. Here the network is small and made anew for each shape of images.
"""

from __future__ import annotations

import hashlib
import itertools
import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from genlab.core.codec import mean_and_deviation
from genlab.core.hardware import full_float32
from genlab.core.spec import DataSpec
from genlab.measure.features.extractors import Features

__all__ = ["MOST_STATISTICS", "RandomExtractor"]

FEATURES = 64
WIDTH = 32
MOST_STATISTICS = 10_000
"""Training examples, at most, from which the features' means and deviations are taken."""

_SEED = 64
_SMALLEST = 1e-6
"""Bound below the spread of pixels and of features."""
_BATCH = 500


class RandomExtractor:
    """Four random convolutions, their outputs averaged over quarters of the image and mixed into 64 features.

    The weights come from a fixed seed of NumPy's legacy generator, whose streams never change. Pixels and features are
    put into units of their spread over the training data, so that figures have the size that they have with a trained
    extractor. The name is that of the network; the checksum is of the weights and of the examples that give the
    statistics.

    Args:
        spec: Images, discrete or continuous.
        training: ``[N, *spec.shape]``, training examples, of which the first 10,000 give the statistics.
        source: ``[N, ...]``, what these pictures were made of; None where they are the data itself.
    """

    name = f"random-{FEATURES}"

    def __init__(self, spec: DataSpec, training: Tensor, source: Tensor | None = None) -> None:
        self._weights = _draw_weights(spec.shape[0])
        some = training[:MOST_STATISTICS]
        values = some.float()
        self._pixels = (values.mean(), values.std().clamp_min(_SMALLEST))
        mean, deviation = mean_and_deviation(self._features(some).double(), smallest=_SMALLEST)
        # Whatever it is of: a feature that hardly ever is not zero says little.
        self._mean, self._sd = mean.float(), deviation.clamp_min(_SMALLEST).float()
        digest = hashlib.sha256()
        # Of the examples, and not of their statistics, whose last bits differ between machines.
        for tensor in (*self._weights, some if source is None else source[:MOST_STATISTICS]):
            digest.update(f"{tensor.dtype} {list(tensor.shape)};".encode())
            digest.update(tensor.contiguous().numpy())
        self.sha256 = digest.hexdigest()

    def __call__(self, x: Tensor) -> Features:
        """Return standardized features ``[N, 64]`` of images ``[N, C, H, W]``; it knows no classes."""
        return Features((self._features(x) - self._mean) / self._sd)

    def to(self, device: torch.device) -> None:
        """Compute on another device from now on."""
        self._weights = [weight.to(device) for weight in self._weights]

    @torch.no_grad()
    def _features(self, x: Tensor) -> Tensor:
        device = self._weights[0].device
        with full_float32():
            return torch.cat([self._of_part(part.to(device)).cpu() for part in x.split(_BATCH)])

    def _of_part(self, x: Tensor) -> Tensor:
        *convolutions, last = self._weights
        mean, sd = self._pixels
        h = (x.float() - mean) / sd
        for depth, weight in enumerate(convolutions):
            h = F.relu(F.conv2d(h, weight, padding=1, stride=2 if depth % 2 else 1))
        return F.adaptive_avg_pool2d(h, 2).flatten(1) @ last


def _draw_weights(channels: int) -> list[Tensor]:
    """Draw four kernels and a matrix, normal, scaled so that a rectified layer keeps its variance (He et al., 2015)."""
    random = np.random.RandomState(_SEED)
    widths = [channels, WIDTH, 2 * WIDTH, 2 * WIDTH, 2 * WIDTH]
    shapes = [(after, before, 3, 3) for before, after in itertools.pairwise(widths)]
    kernels = [random.standard_normal(shape) * math.sqrt(2 / (shape[1] * 9)) for shape in shapes]
    last = random.standard_normal((4 * widths[-1], FEATURES)) / math.sqrt(4 * widths[-1])
    return [torch.from_numpy(values.astype(np.float32)) for values in (*kernels, last)]
