"""How many bits a lossless compressor needs for an example: what says how complex it is, whatever the model."""

from __future__ import annotations

import io
import zlib

import numpy as np
import torch
from torch import Tensor

from genlab.core.spec import DataSpec

__all__ = ["compressed_bits", "compressors"]


def compressors(spec: DataSpec) -> tuple[str, ...]:
    """Return the compressors that are tried on such data, each of which writes any example back bit for bit.

    ``zlib`` of its levels, at the highest effort, and ``png`` where an example is a picture of eight bits; nothing for
    continuous data, whose bits depend on how finely its numbers are written.
    """
    if spec.levels is None:
        return ()
    is_png = len(spec.shape) == 3 and spec.shape[0] in (1, 3) and spec.levels <= 256
    return ("png", "zlib") if is_png else ("zlib",)


def compressed_bits(x: Tensor, spec: DataSpec, mask: Tensor | None = None) -> Tensor:
    """Return the bits ``[N]``, float64, of the shortest file that any of :func:`compressors` writes of each example.

    Of several compressors the shortest file counts, as in Serra et al. (2020), "Input complexity and
    out-of-distribution detection with likelihood-based generative models".

    Args:
        x: ``[N, *spec.shape]``, levels.
        spec: What one example is.
        mask: ``[N, *spec.shape]``, bool, true where there is a value; the others are not compressed.
    """
    names = compressors(spec)
    dtype = np.uint8 if (spec.levels or 0) <= 256 else np.uint16 if (spec.levels or 0) <= 65536 else np.int32
    found = []
    for number, example in enumerate(x.cpu()):
        there = None if mask is None else mask[number].cpu()
        array = (example if there is None else example[there]).numpy().astype(dtype)
        found.append(8 * min(len(_WRITERS[name](array)) for name in names))
    return torch.tensor(found, dtype=torch.float64)


def _zlib(array: np.ndarray) -> bytes:
    return zlib.compress(array.tobytes(), level=9)


def _png(array: np.ndarray) -> bytes:
    from PIL.Image import fromarray

    content = io.BytesIO()
    picture = array[0] if len(array) == 1 else np.ascontiguousarray(array.transpose(1, 2, 0))
    fromarray(picture).save(content, format="PNG", optimize=True)
    return content.getvalue()


_WRITERS = {"zlib": _zlib, "png": _png}
