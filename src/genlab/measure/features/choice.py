"""Which features the samples of a data set are judged by."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from genlab.core.errors import GenlabError
from genlab.core.spec import DataSpec
from genlab.measure.features.extractors import Extractor, OfPictures, Values, load_extractor, shipped_extractor
from genlab.measure.features.random_network import MOST_STATISTICS, RandomExtractor
from genlab.modalities import modality_of

__all__ = ["choose_extractor", "trained_extractor_path"]


def choose_extractor(spec: DataSpec, training: Callable[[], Tensor]) -> Extractor | None:
    """Return what the samples of such data are seen through.

    By fit, never by the name of the data alone: the classifier that a data set declares, if its shape and classes are
    those of the data; else the one that ``train_extractor`` trained for this data on this machine; else a fixed random
    network. Vectors are compared as they are; of sound a network sees spectrograms.

    Args:
        spec: What one example is.
        training: Gives the training examples ``[N, *spec.shape]``; called only where features depend on them.

    Returns:
        None for kinds of data whose samples nothing judges yet.

    Raises:
        GenlabError: If a file that should be used is missing or damaged.
    """
    modality = modality_of(spec)
    if modality.features == "values":
        return Values()
    if modality.features is None:
        return None
    pictured = modality.pictured(spec)
    known = shipped_extractor(pictured) or _trained_extractor(pictured)
    if pictured is spec:
        return known or RandomExtractor(spec, training())
    if known is None:
        some = training()[:MOST_STATISTICS]
        known = RandomExtractor(pictured, modality.pictures(some, spec), some)
    return OfPictures(known, lambda x: modality.pictures(x, spec))


def trained_extractor_path(spec: DataSpec) -> Path:
    """Return where ``train_extractor`` keeps the extractor of a data set, below ``$GENLAB_HOME`` or the user's data."""
    import platformdirs

    home = os.environ.get("GENLAB_HOME") or platformdirs.user_data_dir("genlab", appauthor=False)
    return Path(home).expanduser() / "extractors" / f"{spec.name}-64.safetensors"


def _trained_extractor(spec: DataSpec) -> Extractor | None:
    path = trained_extractor_path(spec)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise GenlabError(f"The feature extractor {path} cannot be read: {error.strerror}.") from error
    try:
        return load_extractor(content, spec)
    except ValueError as error:
        raise GenlabError(
            f"The feature extractor {path} cannot be used: {error}.\nRemove it, or train it again: "
            f"scripts/train_extractor.py."
        ) from error
