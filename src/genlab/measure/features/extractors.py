"""Frozen feature extractors: what the quality of samples is measured on.

On small gray images the 2048 features of Inception are mostly finite-sample bias; the 64 of a classifier of the very
classes tell samples from data with a few thousand images. Where there is no such classifier, those of a fixed random
network do: see :mod:`genlab.measure.features.random_network`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from genlab.core.codec import levels_to_unit
from genlab.core.errors import GenlabError
from genlab.core.hardware import full_float32
from genlab.core.spec import DataSpec
from genlab.measure.features.classifier import Classifier

__all__ = [
    "SHIPPED",
    "ClassifierExtractor",
    "Extractor",
    "Features",
    "OfPictures",
    "Values",
    "load_extractor",
    "shipped_extractor",
]

SHIPPED: dict[str, str] = {
    "digits-64": "74b744d4e6ea7f9b5fc1f6c09ceba939cb74cd901b072c89dd0f953057455715",
    "fashion_mnist-64": "0f45fd277870cfe61d02bdfafcb859afdbabc85934157d4202816cc3d8922c65",
    "mnist-64": "af38afea6363da0f8c9fab52c633bf32d9198d86ed5cc9280e4ebff2aadaea27",
    "spoken_digits-64": "272662b497d448df8132c83fad97782ee048afb22e48e241b1d2c10af2730e9a",
}
"""Name and SHA-256 of each shipped extractor; ``scripts/train_extractor.py`` makes their files again."""

_BATCH = 500


@dataclass(frozen=True)
class Features:
    """One set of examples as the metrics see it.

    Attributes:
        values: ``[N, D]``, float32.
        logits: ``[N, num_classes]`` of the extractor's classes; None where it tells none apart.
    """

    values: Tensor
    logits: Tensor | None = None

    def at(self, rows: Tensor) -> Features:
        """Return the features of the chosen examples."""
        rows = rows.to(self.values.device)
        return Features(self.values[rows], None if self.logits is None else self.logits[rows])

    def to(self, device: torch.device) -> Features:
        """Return the same on a device."""
        return Features(self.values.to(device), None if self.logits is None else self.logits.to(device))


class Extractor(Protocol):
    """What turns examples of one data set into features. Never a module, so that it becomes part of none.

    Attributes:
        name: Its name in results: figures compare only on the same features.
        sha256: Checksum of all that its features depend on; None where they are the values themselves.
    """

    name: str
    sha256: str | None

    def __call__(self, x: Tensor) -> Features:
        """Return the features of examples ``[N, *spec.shape]`` in the data's own values; both on the CPU."""
        ...

    def to(self, device: torch.device) -> None:
        """Compute on another device from now on."""
        ...


class Values:
    """The values themselves as features: for vectors."""

    name = "identity"
    sha256 = None

    def __call__(self, x: Tensor) -> Features:
        return Features(x.flatten(1).float())

    def to(self, device: torch.device) -> None:
        """Nothing: there is nothing to compute."""


class OfPictures:
    """Features of the pictures of data that is none, such as spectrograms of sound.

    Args:
        extractor: What the pictures are seen through.
        pictures: Makes pictures ``[N, C, H, W]`` of examples ``[N, *spec.shape]``.
    """

    def __init__(self, extractor: Extractor, pictures: Callable[[Tensor], Tensor]) -> None:
        self.name, self.sha256 = extractor.name, extractor.sha256
        self._extractor, self._pictures = extractor, pictures

    def __call__(self, x: Tensor) -> Features:
        return self._extractor(self._pictures(x))

    def to(self, device: torch.device) -> None:
        """Compute features on another device from now on; the pictures are made on the CPU."""
        self._extractor.to(device)


class ClassifierExtractor:
    """A classifier of discrete images: its penultimate layer, in units of its spread over the training data.

    Args:
        name: Name of the extractor.
        sha256: Checksum of its file.
        classifier: The network.
        levels: Number of values per dimension of the images.
    """

    def __init__(self, name: str, sha256: str, classifier: Classifier, levels: int) -> None:
        self.name = name
        self.sha256 = sha256
        self.levels = levels
        self._classifier = classifier.eval().requires_grad_(False)

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Features:
        """Return standardized features ``[N, 64]`` and logits of images ``[N, C, H, W]``."""
        device = next(self._classifier.parameters()).device
        values, logits = [], []
        with full_float32():
            for part in x.split(_BATCH):
                found = self._classifier.features(levels_to_unit(part.to(device), self.levels))
                values.append(self._classifier.standardized(found).cpu())
                logits.append(self._classifier.logits(found).cpu())
        return Features(torch.cat(values), torch.cat(logits))

    def to(self, device: torch.device) -> None:
        """Compute on another device from now on."""
        self._classifier.to(device)


def shipped_extractor(spec: DataSpec, folder: Path | None = None) -> ClassifierExtractor | None:
    """Open the shipped extractor that a data set declares, if it fits the data's shape and classes.

    Args:
        spec: What one example is.
        folder: Where the files lie; within the package by default.

    Raises:
        GenlabError: If its file is missing or not the one that was shipped.
    """
    if spec.extractor not in SHIPPED:
        return None
    file = Path(str(folder or resources.files("genlab.measure.features") / "weights")) / f"{spec.extractor}.safetensors"
    if not file.is_file():
        raise GenlabError(f"The feature extractor {file} is missing: install genlab again.")
    content = file.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != SHIPPED[spec.extractor]:
        raise GenlabError(
            f"The feature extractor {file} has the SHA-256 {found}, expected {SHIPPED[spec.extractor]}: figures made "
            "with it would not compare. Install genlab again."
        )
    return load_extractor(content, spec)


def load_extractor(content: bytes, spec: DataSpec) -> ClassifierExtractor | None:
    """Make an extractor from the content of its file, or return None if it does not fit the data.

    Args:
        content: What :func:`genlab.measure.features.classifier.pack` gave: tensors and texts alone.
        spec: What one example is. Images of the classifier's shape and classes fit it.

    Raises:
        ValueError: If the content is damaged or of something else.
    """
    try:
        length = int.from_bytes(content[:8], "little")
        about: dict[str, Any] = json.loads(content[8 : 8 + length])["__metadata__"]
        arguments = json.loads(about["arguments"])
        if not _fits(arguments, spec):
            return None
        classifier = Classifier(**arguments)
        classifier.load_state_dict(load(content))
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise ValueError(f"it is damaged or no feature extractor ({type(error).__name__})") from error
    return ClassifierExtractor(about["name"], hashlib.sha256(content).hexdigest(), classifier, spec.levels or 0)


def _fits(arguments: dict[str, Any], spec: DataSpec) -> bool:
    size = arguments["size"]
    shape = (arguments["in_channels"], size, size)
    return spec.is_discrete and spec.shape == shape and spec.num_classes == arguments["num_classes"]
