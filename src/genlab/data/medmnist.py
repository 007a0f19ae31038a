"""MedMNIST: small medical pictures of twelve kinds, in 28x28 or 64x64."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal, NamedTuple, Unpack, get_args

from genlab.core.errors import GenlabError, nearest
from genlab.core.spec import DataSpec
from genlab.data.base import LoaderOptions
from genlab.data.files import Archive
from genlab.data.npz import NpzPictures

__all__ = ["MedMNIST"]

log = logging.getLogger(__name__)

SOURCE = "https://zenodo.org/records/10519652/files/"
"""The authors' own place for version 3, MedMNIST+."""

Name = Literal[
    "bloodmnist", "breastmnist", "chestmnist", "dermamnist", "octmnist", "organamnist", "organcmnist", "organsmnist",
    "pathmnist", "pneumoniamnist", "retinamnist", "tissuemnist",
]  # fmt: skip


class _Set(NamedTuple):
    """One of the sets: colours, classes (None: several labels for each picture), and MD5 by size."""

    channels: int
    num_classes: int | None
    md5: dict[int, str]
    licence: str = "CC BY 4.0"


# Checksums, classes and licences: medmnist/info.py of the package medmnist 3.0.2 (github.com/MedMNIST/MedMNIST).
SETS: dict[str, _Set] = {
    "bloodmnist": _Set(3, 8, {28: "7053d0359d879ad8a5505303e11de1dc", 64: "2b94928a2ae4916078ca51e05b6b800b"}),
    "breastmnist": _Set(1, 2, {28: "750601b1f35ba3300ea97c75c52ff8f6", 64: "742edef2a1fd1524b2efff4bd7ba9364"}),
    "chestmnist": _Set(1, None, {28: "02c8a6516a18b556561a56cbdd36c4a8", 64: "9de6cd0b934ebb5b7426cfba5efbae16"}),
    "dermamnist": _Set(
        3, 7, {28: "0744692d530f8e62ec473284d019b0c7", 64: "b70a2f5635c6199aeaa28c31d7202e1f"}, "CC BY-NC 4.0"
    ),
    "octmnist": _Set(1, 4, {28: "c68d92d5b585d8d81f7112f81e2d0842", 64: "e229e9440236b774d9f0dfef9d07bdaf"}),
    "organamnist": _Set(1, 11, {28: "68e3f8846a6bd62f0c9bf841c0d9eacc", 64: "2dcccc29b88e6da5a01161ef20cda288"}),
    "organcmnist": _Set(1, 11, {28: "b9ceb9546e10131b32923c5bbeaea2b1", 64: "3ce34a8724ea6f548e6db4744d03b6a9"}),
    "organsmnist": _Set(1, 11, {28: "9ab87b696fb54e2a387ebe992d6ed5f1", 64: "53a6d115339d874c25e309a994ff46d3"}),
    "pathmnist": _Set(3, 9, {28: "a8b06965200029087d5bd730944a56c1", 64: "55aa9c1e0525abe5a6b9d8343a507616"}),
    "pneumoniamnist": _Set(1, 2, {28: "28209eda62fecd6e6a2d98b1501bb15f", 64: "8f4eceb4ccffa70c672198ea285246c6"}),
    "retinamnist": _Set(3, 5, {28: "bd4c0672f1bba3e3a89f0e4e876791e4", 64: "afda852cc34dcda56f86ad2b2457dbcc"}),
    "tissuemnist": _Set(1, 8, {28: "ebe78ee8b05294063de985d821c1c34b", 64: "123ece2eba09d0aa5d698fda57103344"}),
}


class MedMNIST(NpzPictures):
    """One of the twelve sets of pictures of MedMNIST, uint8 ``[N, C, size, size]``, 256 levels.

    The splits are those of the authors, but for what :class:`NpzPictures` leaves out of training and validation because
    the test split holds it too. ChestMNIST has several labels for each picture, and thus no classes. The sets are not
    for clinical use; DermaMNIST is not for commerce.
    Source: J. Yang et al., "MedMNIST v2: a large-scale lightweight benchmark for 2D and 3D biomedical image
    classification", Scientific Data 2023; each set names further sources. CC BY 4.0, DermaMNIST CC BY-NC 4.0.

    The other arguments are those of :class:`NpzPictures`.

    Args:
        root: Folder with ``medmnist/<name>.npz`` or ``<name>_64.npz``; a missing file is downloaded into it.
        name: The set.
        size: Height and width, 28 or 64.

    Raises:
        GenlabError: If there is no such set, or not in this size.
    """

    def __init__(
        self,
        root: str | Path = "data",
        *,
        flip: bool = False,
        name: Name = "pathmnist",
        size: Literal[28, 64] = 28,
        **loader: Unpack[LoaderOptions],
    ) -> None:
        super().__init__(root, flip=flip, **loader)
        if name not in SETS:
            raise GenlabError(f"data.name is '{name}', expected {', '.join(get_args(Name))}.{nearest(name, SETS)}")
        if size not in (28, 64):
            raise GenlabError(f"data.size is {size}, expected 28 or 64.")
        self.licence = SETS[name].licence
        channels, classes, md5, _ = SETS[name]
        file = f"{name}.npz" if size == 28 else f"{name}_{size}.npz"
        checksum = f"md5:{md5[size]}"
        self.archives = (Archive(file, checksum, (SOURCE,), {f"medmnist/{file}": checksum}),)
        self.spec = DataSpec(f"medmnist_{name}_{size}", "image", (channels, size, size), 256, classes)

    def file(self) -> Path:
        return self.root / "medmnist" / self.archives[0].name

    def prepare_data(self) -> None:
        super().prepare_data()
        commerce = "; not for commerce" if "NC" in self.licence else ""
        log.warning("%s: %s%s; not for clinical use.", self.spec.name, self.licence, commerce)
