"""Readers of the binary formats in which image data sets are distributed. None of them unpickles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from genlab.core.errors import GenlabError

__all__ = ["read_cifar", "read_idx"]

_IDX_UINT8 = 0x08
_CIFAR_RECORD = 1 + 3 * 32 * 32  # a label byte, then the red, green and blue planes


def read_idx(path: Path) -> Tensor:
    """Read an IDX file of unsigned bytes, the format of MNIST.

    Two zero bytes, the element type, the number of axes, each axis as a big-endian uint32, then the values.

    Returns:
        uint8 of the shape that the header states.

    Raises:
        GenlabError: If the header is not that of such a file, or the size does not match it.
    """
    data = np.fromfile(path, dtype=np.uint8)
    header = data[:4].tolist()
    if header[:3] != [0, 0, _IDX_UINT8] or len(header) < 4:
        raise GenlabError(f"{path} is no IDX file of unsigned bytes: it starts with {bytes(header)!r}.")
    start = 4 + 4 * header[3]
    shape = tuple(np.frombuffer(data[4:start].tobytes(), dtype=">u4").tolist()) if len(data) >= start else ()
    values = data[start:]
    if len(shape) != header[3] or values.size != np.prod(shape, dtype=np.int64):
        raise GenlabError(
            f"{path} states the shape {shape} but holds {values.size} values: it is truncated or altered."
        )
    return torch.from_numpy(values.reshape(shape))


def read_cifar(path: Path) -> tuple[Tensor, Tensor]:
    """Read one file of CIFAR-10's binary version: records of a label byte and 3072 pixel bytes.

    Returns:
        Images ``[N, 3, 32, 32]`` uint8 and labels ``[N]`` int64.

    Raises:
        GenlabError: If the file does not consist of whole records.
    """
    data = np.fromfile(path, dtype=np.uint8)
    if data.size == 0 or data.size % _CIFAR_RECORD:
        raise GenlabError(
            f"{path} has {data.size} bytes, expected a multiple of {_CIFAR_RECORD}: it is truncated or altered."
        )
    records = torch.from_numpy(data).view(-1, _CIFAR_RECORD)
    return records[:, 1:].contiguous().view(-1, 3, 32, 32), records[:, 0].long()
