"""The classifier whose penultimate layer shipped and trained extractors are."""

from __future__ import annotations

import json

import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["FEATURES", "Classifier", "pack"]


FEATURES = 64
"""Width of the penultimate layer."""


class Classifier(nn.Module):
    """Small convolutional classifier of gray or colour images.

    Args:
        in_channels: Channels of the images.
        size: Height and width of the images, a multiple of 4.
        num_classes: Number of classes.
        width: Channels of the first convolution; the others have twice as many.

    Attributes:
        feature_mean: ``[64]``, mean of each feature over the training data.
        feature_sd: ``[64]``, standard deviation of each feature over the training data.
    """

    feature_mean: Tensor
    feature_sd: Tensor

    def __init__(self, in_channels: int, size: int, num_classes: int, width: int = 24) -> None:
        super().__init__()
        wide = 2 * width
        self.convolutions = nn.ModuleList(
            [
                nn.Conv2d(in_channels, width, 3, padding=1),
                nn.Conv2d(width, wide, 3, padding=1, stride=2),
                nn.Conv2d(wide, wide, 3, padding=1),
                nn.Conv2d(wide, wide, 3, padding=1, stride=2),
            ]
        )
        self.penultimate = nn.Linear(wide * (size // 4) ** 2, FEATURES)
        self.last = nn.Linear(FEATURES, num_classes)
        # Statistics of the training data: in units of their spread, figures have the same size for every extractor.
        self.register_buffer("feature_mean", torch.zeros(FEATURES))
        self.register_buffer("feature_sd", torch.ones(FEATURES))
        self.arguments = {"in_channels": in_channels, "size": size, "num_classes": num_classes, "width": width}

    def features(self, images: Tensor) -> Tensor:
        """Map images ``[N, C, H, W]`` in [0, 1] to features ``[N, 64]``, before their rectifier."""
        h = images
        for convolution in self.convolutions:
            h = F.gelu(convolution(h))
        return self.penultimate(h.flatten(1))

    def standardized(self, features: Tensor) -> Tensor:
        """Map features ``[N, 64]`` to those of mean 0 and variance 1 over the training data."""
        return (features - self.feature_mean) / self.feature_sd

    def logits(self, features: Tensor) -> Tensor:
        """Map features ``[N, 64]`` to logits ``[N, num_classes]``."""
        return self.last(F.gelu(features))

    def forward(self, images: Tensor) -> Tensor:
        """Map images ``[N, C, H, W]`` in [0, 1] to logits ``[N, num_classes]``."""
        return self.logits(self.features(images))


def pack(classifier: Classifier, about: dict[str, str]) -> bytes:
    """Return a classifier as the content of a safetensors file, with what is known about it."""
    return save(
        {name: value.contiguous() for name, value in classifier.state_dict().items()},
        metadata={**about, "arguments": json.dumps(classifier.arguments)},
    )
