"""The binary formats, on files written by hand."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from genlab.core.errors import GenlabError
from genlab.data.readers import read_cifar, read_idx


def test_idx_of_images_and_labels(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(struct.pack(">4B3I", 0, 0, 8, 3, 2, 1, 3) + bytes([1, 2, 3, 253, 254, 255]))
    assert torch.equal(read_idx(path), torch.tensor([[[1, 2, 3]], [[253, 254, 255]]], dtype=torch.uint8))
    path.write_bytes(struct.pack(">4BI", 0, 0, 8, 1, 300) + bytes(300))
    assert read_idx(path).shape == (300,), "the axes are big-endian"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\0\x08",
        b"\0\0\x08\x03\0\0\0\x02",
        struct.pack(">4BI", 0, 0, 8, 1, 3) + bytes(2),
        struct.pack(">4BI", 0, 0, 8, 1, 3) + bytes(4),
        struct.pack(">4BI", 0, 0, 13, 1, 3) + bytes(12),
        b"<html>not found</html>",
    ],
    ids=["empty", "short magic", "short header", "too few", "too many", "floats", "a web page"],
)
def test_what_is_no_idx_file_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(GenlabError, match=str(path)):
        read_idx(path)


def test_cifar_records(tmp_path: Path) -> None:
    images = np.random.RandomState(0).randint(256, size=(4, 3, 32, 32), dtype=np.uint8)
    labels = [3, 9, 0, 5]
    path = tmp_path / "file"
    path.write_bytes(b"".join(bytes([label]) + image.tobytes() for label, image in zip(labels, images, strict=True)))
    x, y = read_cifar(path)
    assert torch.equal(x, torch.from_numpy(images))
    assert x.is_contiguous()
    assert y.tolist() == labels
    assert y.dtype == torch.int64


@pytest.mark.parametrize("size", [0, 3072, 3073 * 2 - 1])
def test_a_cifar_file_of_broken_records_is_named(size: int, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(size))
    with pytest.raises(GenlabError, match=f"{path} has {size} bytes, expected a multiple of 3073"):
        read_cifar(path)
