"""Pictures in one npz file of MedMNIST's layout: arrays of pictures and labels for each split."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Unpack

import torch

from genlab.core.batch import Batch
from genlab.core.errors import GenlabError, shown
from genlab.core.spec import DataSpec
from genlab.core.words import counted
from genlab.data.base import GenlabDataModule, LoaderOptions, Split
from genlab.data.flips import HorizontalFlip
from genlab.data.folders import name_of, path_given
from genlab.data.leaks import HELD_OUT, example_digest, grouped_split, held_out_elsewhere
from genlab.data.npz_layout import describe_npz, read_npz
from genlab.runs.caches import cache_folders, first_writable

__all__ = ["Npz", "NpzPictures"]

log = logging.getLogger(__name__)

HELD_OUT_FROM: dict[Split, tuple[Split, ...]] = {"validation": ("test",), "train": ("validation", "test")}
"""The splits whose pictures a split may not have; the first loses its own before the second is held against it."""


class NpzPictures(GenlabDataModule):
    """Pictures of one size in an npz file: uint8 ``[N, C, H, W]``, 256 levels, with the splits that the file has.

    The file holds ``train_images``, ``test_images`` and, if it has one, ``val_images``, uint8 ``[N, H, W]`` or
    ``[N, H, W, 3]``; without the last, 10 % of the training pictures are validation, in each class alike. Labels are
    whole numbers ``[N]`` or ``[N, 1]`` in ``train_labels`` ...; several for each picture are no classes, and left out.
    A training or validation picture that is also held out is left out, with a word in the split's name: the test split
    stays as it is.

    The other arguments are those of :class:`LoaderOptions`.

    Args:
        root: Folder with the data files, and in which what is computed once for the data is kept.
        flip: Whether half of the training pictures, drawn anew each time, are mirrored left to right.
    """

    def __init__(
        self,
        root: str | Path = "data",
        *,
        flip: bool = False,
        **loader: Unpack[LoaderOptions],
    ) -> None:
        loader.setdefault("batch_size", 64)
        super().__init__(root, **loader)
        self.draw_transform = HorizontalFlip() if flip else None
        self._copies: dict[Split, int] = {}

    def file(self) -> Path:
        """Return where the file lies."""
        raise NotImplementedError

    def load(self, split: Split) -> dict[Split, Batch]:
        # All at once: what is left out of a split depends on the others.
        path = self.file()
        found = read_npz(path)
        for batch in found.values():
            self._check(batch)
        if "validation" not in found:
            found |= _validation_from(found["train"])
        digests = {name: [example_digest(row) for row in batch.x.numpy()] for name, batch in found.items()}
        for name, others in HELD_OUT_FROM.items():
            known = held_out_elsewhere(digests[name], [digests[other] for other in others])
            if known.all():
                raise GenlabError(f"{shown(path)} has no {name} picture that is not in {' or '.join(others)} too.")
            if known.any():
                found[name] = found[name].rows(torch.from_numpy(~known))
                self._copies[name] = int(known.sum())
        if self._copies:
            left_out = " and ".join(f"{counted(count, 'picture')} of {name}" for name, count in self._copies.items())
            log.warning("%s: left out %s, which a later split holds too.", shown(path), left_out)
        return found

    def _check(self, batch: Batch) -> None:
        """Refuse a file that has changed since it was described, or is not what its name says."""
        shape, labels, classes = tuple(batch.x.shape[1:]), batch.y, self.spec.num_classes
        if shape != self.spec.shape or (classes is not None and (labels is None or int(labels.max()) >= classes)):
            raise GenlabError(
                f"{shown(self.file())} has pictures of shape {shape} and other classes than expected, "
                f"{self.spec.shape} of {classes} classes. If it has changed, start again."
            )

    def split_name(self, split: Split, stride: int | None = None) -> str:
        self.tensors(split)
        return f"{split} (what it shares with earlier splits is left out there)" if self._copies else split


def _validation_from(train: Batch) -> dict[Split, Batch]:
    """Draw validation from training pictures, in each class alike, equal ones together."""
    labels = None if train.y is None else train.y.tolist()
    chosen, rest = grouped_split([example_digest(row) for row in train.x.numpy()], labels, 0, (HELD_OUT,))
    return {name: train.rows(torch.from_numpy(rows)) for name, rows in (("train", rest), ("validation", chosen))}


class Npz(NpzPictures):
    """An npz file of one's own in MedMNIST's layout; see :class:`NpzPictures`.

    The data set's name holds that of the file and a part of its checksum, so that results of two files, or of two
    states of one, never mix.

    The other arguments are those of :class:`NpzPictures`.

    Args:
        path: The file.

    Raises:
        GenlabError: If it is no such file, or holds other arrays.
    """

    def __init__(
        self,
        root: str | Path = "data",
        *,
        flip: bool = False,
        path: str | Path | None = None,
        **loader: Unpack[LoaderOptions],
    ) -> None:
        super().__init__(root, flip=flip, **loader)
        self.path = path_given(path, "an npz file")
        layout = describe_npz(self.path)
        name = name_of("npz", self.path)
        self.spec = DataSpec(name, "image", layout.shape, levels=256, num_classes=layout.num_classes)

    def cache_folder(self) -> Path:
        return first_writable(cache_folders(self.root))

    def file(self) -> Path:
        return self.path
