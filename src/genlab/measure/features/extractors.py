"""Frozen feature extractors: small classifiers of the data that is modelled, shipped with the package.

On small gray images the 2048 features of Inception are mostly finite-sample bias; the 64 of a classifier of the very
classes tell samples from data with a few thousand images.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import torch
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.nn import functional as F

from genlab.core.codec import levels_to_unit
from genlab.core.errors import GenlabError
from genlab.core.spec import DataSpec

__all__ = ["EXTRACTORS", "Classifier", "Extractor", "ExtractorInfo", "extractor_for", "load_extractor", "pack"]

FEATURES = 64
"""Width of the penultimate layer."""


@dataclass(frozen=True)
class ExtractorInfo:
    """What is known of a shipped extractor.

    Args:
        name: Name of the extractor and of its file.
        data: Names of the data sets that it serves.
        sha256: Checksum of its file.
    """

    name: str
    data: tuple[str, ...]
    sha256: str


EXTRACTORS: tuple[ExtractorInfo, ...] = (
    ExtractorInfo(
        "fashion_mnist-64", ("fashion_mnist",), "0f45fd277870cfe61d02bdfafcb859afdbabc85934157d4202816cc3d8922c65"
    ),
    ExtractorInfo(
        "mnist-64", ("mnist", "binarized_mnist"), "af38afea6363da0f8c9fab52c633bf32d9198d86ed5cc9280e4ebff2aadaea27"
    ),
    ExtractorInfo("digits-64", ("digits",), "74b744d4e6ea7f9b5fc1f6c09ceba939cb74cd901b072c89dd0f953057455715"),
)
"""All shipped extractors; ``scripts/train_extractor.py`` makes their files again."""


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


class Extractor:
    """A frozen classifier under a name and the checksum of its weights.

    It is no module, so that it never becomes part of one, nor of a checkpoint.

    Args:
        name: Name of the extractor.
        sha256: Checksum of its file.
        classifier: The network.
    """

    def __init__(self, name: str, sha256: str, classifier: Classifier) -> None:
        self.name = name
        self.sha256 = sha256
        self._classifier = classifier.eval().requires_grad_(False)

    @torch.no_grad()
    def __call__(self, x: Tensor, levels: int, batch_size: int = 500) -> tuple[Tensor, Tensor]:
        """Return features and logits of discrete images.

        Args:
            x: ``[N, C, H, W]``, integers in ``[0, levels)``.
            levels: Number of values per dimension.
            batch_size: Images per pass.

        Returns:
            Standardized features ``[N, 64]`` and logits ``[N, num_classes]``, float32, on the CPU.
        """
        device = next(self._classifier.parameters()).device
        features, logits = [], []
        for part in x.split(batch_size):
            found = self._classifier.features(levels_to_unit(part.to(device), levels))
            features.append(self._classifier.standardized(found).cpu())
            logits.append(self._classifier.logits(found).cpu())
        return torch.cat(features), torch.cat(logits)

    def to(self, device: torch.device) -> Extractor:
        """Move the network, in place; return self."""
        self._classifier.to(device)
        return self


def pack(classifier: Classifier, about: dict[str, str]) -> bytes:
    """Return a classifier as the content of a safetensors file, with what is known about it."""
    return save(
        {name: value.contiguous() for name, value in classifier.state_dict().items()},
        metadata={**about, "arguments": json.dumps(classifier.arguments)},
    )


def extractor_for(spec: DataSpec) -> ExtractorInfo | None:
    """Return the extractor that serves such data, or None."""
    return next((info for info in EXTRACTORS if spec.name in info.data), None)


def load_extractor(info: ExtractorInfo, folder: Path | None = None) -> Extractor:
    """Open a shipped extractor and check that it is the one that was shipped.

    Args:
        info: Which one.
        folder: Where its file lies; within the package by default.

    Raises:
        GenlabError: If its file is missing or not the expected one.
    """
    file = (folder or resources.files("genlab.measure.features") / "weights") / f"{info.name}.safetensors"
    if not file.is_file():
        raise GenlabError(f"The feature extractor {file} is missing: install genlab again.")
    content = file.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != info.sha256:
        raise GenlabError(
            f"The feature extractor {file} has the SHA-256 {found}, expected {info.sha256}: figures made with it would "
            "not compare. Install genlab again."
        )
    length = int.from_bytes(content[:8], "little")
    classifier = Classifier(**json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["arguments"]))
    classifier.load_state_dict(load(content))
    return Extractor(info.name, info.sha256, classifier)
