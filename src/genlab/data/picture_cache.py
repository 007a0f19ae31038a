"""Pictures that were read once, in a file that is mapped into memory: each split is a stretch of it.

The file has the safetensors layout, written piece by piece, so that no more than a piece of it is ever in memory.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from genlab.core.batch import Batch
from genlab.data.base import Split
from genlab.runs.atomic import atomic_file, make_folder

__all__ = ["Arranged", "read_cache", "write_cache"]

PIECE = 2**21
"""Bytes of pictures that are copied, or checked, at a time."""


@dataclass(frozen=True)
class Arranged:
    """Pictures in the order of their splits.

    Attributes:
        x: ``[N, C, H, W]``, uint8.
        y: ``[N]``, int64; zeros where there are no classes.
        sizes: Number of pictures of each split, in the order in which they lie.
        left_out: What could not be read, a line each.
        copies: How many pictures equal an earlier one.
    """

    x: Tensor
    y: Tensor
    sizes: Mapping[Split, int]
    left_out: Sequence[str]
    copies: int

    def splits(self, has_classes: bool) -> dict[Split, Batch]:
        """Return the splits, as views."""
        found, start = {}, 0
        for split, size in self.sizes.items():
            rows = slice(start, start + size)
            found[split] = Batch(self.x[rows], self.y[rows] if has_classes else None)
            start += size
        return found


def read_cache(path: Path, key: str) -> Arranged | None:
    """Return what a file holds, mapped into memory; None if there is no such file, or it is damaged or of another key.

    Raises:
        OSError: If it is there and cannot be read.
    """
    try:
        with safe_open(path, "pt") as file:
            about = file.metadata() or {}
            if about.get("key") != key:
                return None
            shape = file.get_slice("x").get_shape()
        start = 8 + int(np.fromfile(path, "<u8", 1)[0])  # the length of the header
        labels = np.fromfile(path, np.int64, shape[0], offset=start)
        # Copy on write: tensors over what may not be written are warned of.
        pictures = np.memmap(path, np.uint8, "c", start + labels.nbytes, tuple(shape))
        if _checksum(labels, pictures) != about["content_sha256"]:
            return None
        sizes, left_out, copies = (json.loads(about[name]) for name in ("sizes", "left_out", "copies"))
    except (SafetensorError, FileNotFoundError, ValueError, KeyError):
        return None
    return Arranged(torch.from_numpy(pictures), torch.from_numpy(labels), sizes, left_out, copies)


def write_cache(path: Path, key: str, pictures: np.ndarray, order: np.ndarray, about: Arranged) -> None:
    """Write pictures in an order, whole or not at all.

    Args:
        path: The file; its folder is made.
        key: What the pictures depend on.
        pictures: ``[M, C, H, W]``, uint8, in any order.
        order: ``[N]``, where each picture to write stands among them.
        about: All but the pictures themselves, whose tensor may be empty.

    Raises:
        OSError: If it cannot be written.
    """
    labels = about.y.numpy()
    notes = {
        "key": key,
        "sizes": json.dumps(dict(about.sizes)),
        "left_out": json.dumps(list(about.left_out)),
        "copies": json.dumps(about.copies),
        "content_sha256": "0" * 64,
    }
    shape = (len(order), *pictures.shape[1:])
    make_folder(path.parent)
    with atomic_file(path) as file:
        file.write(_header(labels, shape, notes))
        file.write(labels.tobytes())
        total = hashlib.sha256(labels.tobytes())
        for places in _pieces(len(order), pictures):
            piece = np.ascontiguousarray(pictures[order[places]])
            file.write(piece.data)
            total.update(piece.data)
        # Known only now; it is as long as what stood in its place.
        file.seek(0)
        file.write(_header(labels, shape, {**notes, "content_sha256": total.hexdigest()}))


def _header(labels: np.ndarray, shape: Sequence[int], notes: Mapping[str, str]) -> bytes:
    size = int(np.prod(shape, dtype=np.int64))
    entries = {
        "__metadata__": notes,
        "y": {"dtype": "I64", "shape": [len(labels)], "data_offsets": [0, labels.nbytes]},
        "x": {"dtype": "U8", "shape": list(shape), "data_offsets": [labels.nbytes, labels.nbytes + size]},
    }
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _checksum(labels: np.ndarray, pictures: np.ndarray) -> str:
    total = hashlib.sha256(labels.tobytes())
    for places in _pieces(len(pictures), pictures):
        total.update(pictures[places].data)
    return total.hexdigest()


def _pieces(count: int, pictures: np.ndarray) -> Iterator[slice]:
    """Cut so many pictures into stretches of :data:`PIECE` bytes, or of one."""
    size = max(1, PIECE // max(1, pictures[:1].nbytes))
    return (slice(first, first + size) for first in range(0, count, size))
