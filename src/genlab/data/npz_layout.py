"""Reader of npz files in MedMNIST's layout: arrays of pictures and labels for each split. Nothing unpickles."""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import torch
from numpy.lib import format as npy_format
from torch import Tensor

from genlab.core.batch import Batch
from genlab.core.errors import GenlabError, shown
from genlab.data.base import Split
from genlab.runs.atomic import what_is_in_the_way

__all__ = ["Layout", "describe_npz", "read_npz"]

PREFIXES: dict[Split, str] = {"train": "train", "validation": "val", "test": "test"}
"""What the names of a split's arrays begin with."""

DAMAGE = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, tokenize.TokenError, SyntaxError)
"""What a file that is no npz, or a damaged one, raises."""

READ_HEADER = {(1, 0): npy_format.read_array_header_1_0, (2, 0): npy_format.read_array_header_2_0}


class Layout(NamedTuple):
    """What a file holds.

    Attributes:
        shape: Of one picture, ``(C, H, W)``.
        num_classes: One more than the highest label; None where pictures have none, several, or all the same.
        sizes: Number of pictures of each split that the file has.
    """

    shape: tuple[int, int, int]
    num_classes: int | None
    sizes: dict[Split, int]


def describe_npz(path: Path) -> Layout:
    """Say what a file holds, from the heads of its arrays and its labels; no picture is read.

    Raises:
        GenlabError: If it cannot be read, or has not the layout.
    """
    with _opened(path) as archive:
        heads = {split: _head(archive, f"{prefix}_images") for split, prefix in PREFIXES.items()}
        found = {split: head for split, head in heads.items() if head is not None}
        for split in ("train", "test"):
            if split not in found:
                raise GenlabError(
                    f"{shown(path)} has no array {PREFIXES[split]}_images, expected train_images, test_images and, "
                    "if there is one, val_images, with train_labels ... beside them."
                )
        shapes = {_shape_of(path, f"{PREFIXES[split]}_images", *head) for split, head in found.items()}
        if len(shapes) > 1:
            raise GenlabError(f"{shown(path)} has pictures of several shapes, {sorted(shapes)}, expected one.")
        sizes = {split: head[0][0] for split, head in found.items()}
        labels = [_labels(archive, path, split, size) for split, size in sizes.items()]
    known = [values for values in labels if values is not None]
    most = max((int(values.max()) for values in known if len(values)), default=0)
    return Layout(shapes.pop(), most + 1 if len(known) == len(labels) and most > 0 else None, sizes)


def read_npz(path: Path) -> dict[Split, Batch]:
    """Read the splits that a file has: ``x`` uint8 ``[N, C, H, W]``, ``y`` int64 ``[N]`` or None.

    Raises:
        GenlabError: If it cannot be read, or has not the layout.
    """
    layout, found = describe_npz(path), {}
    with _opened(path) as archive:
        for split, size in layout.sizes.items():
            pictures = _array(archive, f"{PREFIXES[split]}_images")
            with_channels = pictures if pictures.ndim == 4 else pictures[..., None]
            x = torch.from_numpy(np.ascontiguousarray(with_channels.transpose(0, 3, 1, 2)))
            labels = _labels(archive, path, split, size) if layout.num_classes else None
            found[split] = Batch(x, labels)
    return found


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        if there := what_is_in_the_way(path):  # opening a pipe would wait for ever
            raise GenlabError(f"{shown(path)} is {there}, expected an npz file.")
        with zipfile.ZipFile(path) as archive:
            yield archive
    except DAMAGE as error:
        reason = getattr(error, "strerror", None) or "it is truncated, altered, or of another kind"
        raise GenlabError(
            f"{shown(path)} cannot be read as an npz file of plain arrays ({reason}). Save it by numpy.savez."
        ) from error


def _open_array(archive: zipfile.ZipFile, name: str) -> IO[bytes] | None:
    return archive.open(f"{name}.npy") if f"{name}.npy" in archive.namelist() else None


def _head(archive: zipfile.ZipFile, name: str) -> tuple[tuple[int, ...], np.dtype] | None:
    """Return shape and dtype of an array; None if there is no such array."""
    stream = _open_array(archive, name)
    if stream is None:
        return None
    with stream:
        shape, _, dtype = READ_HEADER[npy_format.read_magic(stream)](stream)
    return shape, dtype


def _array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    with archive.open(f"{name}.npy") as stream:
        return npy_format.read_array(stream, allow_pickle=False)


def _shape_of(path: Path, name: str, shape: tuple[int, ...], dtype: np.dtype) -> tuple[int, int, int]:
    if dtype != np.uint8:
        raise GenlabError(f"{shown(path)}: {name} is {dtype}, expected uint8, brightness from 0 to 255.")
    is_gray, is_colour = len(shape) == 3, len(shape) == 4 and shape[3] in (1, 3)
    if not (is_gray or is_colour) or 0 in shape:
        raise GenlabError(f"{shown(path)}: {name} has the shape {shape}, expected pictures, [N, H, W] or [N, H, W, 3].")
    return (shape[3] if is_colour else 1), shape[1], shape[2]


def _labels(archive: zipfile.ZipFile, path: Path, split: Split, size: int) -> Tensor | None:
    """Return a label for each picture ``[N]``; None where there is none, or several for each."""
    name = f"{PREFIXES[split]}_labels"
    head = _head(archive, name)
    if head is None or (len(head[0]) == 2 and head[0][1] != 1):
        return None
    values = _array(archive, name).reshape(-1)
    if values.dtype.kind not in "iu" or len(values) != size or values.min() < 0 or values.max() > 10_000:
        raise GenlabError(
            f"{shown(path)}: {name} has the shape {head[0]} and the type {head[1]}, "
            f"expected classes of {size:,} pictures as whole numbers from 0 on."
        )
    return torch.from_numpy(values.astype(np.int64))
