"""Files of arrays, written part by part: an array need not fit into memory."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from genlab.runs.atomic import atomic_file

__all__ = ["ArrayFormat", "Stored", "write_arrays"]

ArrayFormat = Literal["npz", "safetensors"]

_SAFETENSORS = {
    torch.uint8: "U8", torch.int32: "I32", torch.int64: "I64", torch.float32: "F32", torch.float64: "F64",
}  # fmt: skip


class Stored:
    """An array that comes in parts.

    Args:
        shape: Of the whole.
        dtype: Of the whole.
        parts: Tensors on the CPU that make up the whole along the first axis; taken once.
    """

    def __init__(self, shape: tuple[int, ...], dtype: torch.dtype, parts: Iterable[Tensor]) -> None:
        self.shape = shape
        self.dtype = dtype
        self.parts = parts

    @classmethod
    def of(cls, x: Tensor) -> Stored:
        """Return a tensor as an array of one part."""
        return cls(tuple(x.shape), x.dtype, [x])

    def blocks(self) -> Iterable[bytes]:
        """Yield the bytes of the parts, little-endian."""
        left = self.shape[0]
        for part in self.parts:
            if part.dtype != self.dtype or tuple(part.shape[1:]) != self.shape[1:] or len(part) > left:
                raise ValueError(f"a part is {list(part.shape)}, {part.dtype}; the whole {self.shape}, {self.dtype}.")
            left -= len(part)
            array = np.ascontiguousarray(part.cpu().numpy())
            yield array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
        if left:
            raise ValueError(f"{left} of {self.shape[0]} rows are missing.")


def write_arrays(path: Path, arrays: Mapping[str, Stored], form: ArrayFormat) -> None:
    """Write arrays as one file, whole or not at all, holding one part at a time.

    Args:
        path: The file; its folder must exist.
        arrays: By name, in the order in which their parts are taken.
        form: ``npz``, compressed, or ``safetensors``.
    """
    {"npz": _write_npz, "safetensors": _write_safetensors}[form](path, arrays)


def _write_npz(path: Path, arrays: Mapping[str, Stored]) -> None:
    with atomic_file(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))  # no clock: the same samples, the same file
            member.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(member, mode="w", force_zip64=True) as stream:
                dtype = torch.empty(0, dtype=array.dtype).numpy().dtype.newbyteorder("<")
                header = {
                    "descr": np.lib.format.dtype_to_descr(dtype),
                    "fortran_order": False,
                    "shape": array.shape,
                }
                np.lib.format.write_array_header_1_0(stream, header)
                for block in array.blocks():
                    stream.write(block)


def _write_safetensors(path: Path, arrays: Mapping[str, Stored]) -> None:
    header, begin = {}, 0
    for name, array in arrays.items():
        end = begin + int(np.prod(array.shape, dtype=np.int64)) * array.dtype.itemsize
        offsets = [begin, end]
        header[name] = {"dtype": _SAFETENSORS[array.dtype], "shape": list(array.shape), "data_offsets": offsets}
        begin = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with atomic_file(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for array in arrays.values():
            for block in array.blocks():
                file.write(block)
