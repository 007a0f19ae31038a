"""What of an example is given where the rest is filled in: masks by name, from a picture, or by columns."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from genlab.core.errors import GenlabError, shown
from genlab.core.noise import ExampleNoise, uniform
from genlab.core.randomness import Stream, stream_seed
from genlab.core.spec import DataSpec

__all__ = ["mask_of"]

WHITE = 128
"""Brightness from which on a pixel of a mask says that a value is given, of 255."""


def mask_of(name: str, spec: DataSpec, n: int, seed: int = 0) -> Tensor:
    """Return where values are given, ``[n, *spec.shape]``, bool; all channels of a place alike.

    Args:
        name: ``half``: the upper half of a picture, the first half of anything else. ``box``: all but a box in the
            middle, half as long as the example on each side. ``random``: each place by a chance of one half, an own
            mask for each example. The path of a PNG of a picture's size, white where values are given. Or one or more
            columns of a table or of a series, separated by commas, which are filled in given all others.
        spec: What one example is.
        n: Number of examples.
        seed: Of ``random``.

    Raises:
        GenlabError: If there is no such mask, or it leaves nothing to fill in.
    """
    sites = spec.shape if len(spec.shape) == 1 else spec.shape[1:]
    named = {"half": _half, "box": _box}
    if name == "random":
        noise = ExampleNoise(stream_seed(Stream.GRIDS, seed))
        drawn = uniform((n, math.prod(sites)), noise, torch.device("cpu")) < 0.5
        return _over_channels(drawn.view(n, *sites), spec)
    if name in named:
        return _over_channels(named[name](sites).expand(n, *sites), spec)
    if name.lower().endswith(".png"):
        return _over_channels(_from_png(Path(name), sites).expand(n, *sites), spec)
    return _all_but(name, spec).expand(n, *spec.shape)


def _over_channels(mask: Tensor, spec: DataSpec) -> Tensor:
    return mask if len(spec.shape) == 1 else mask[:, None].expand(len(mask), *spec.shape)


def _half(sites: tuple[int, ...]) -> Tensor:
    mask = torch.zeros(sites, dtype=torch.bool)
    mask[: sites[0] // 2] = True
    return mask


def _box(sites: tuple[int, ...]) -> Tensor:
    mask = torch.ones(sites, dtype=torch.bool)
    mask[tuple(slice(size // 4, size - size // 4) for size in sites)] = False
    return mask


def _from_png(path: Path, sites: tuple[int, ...]) -> Tensor:
    from PIL import Image

    if len(sites) != 2:
        raise GenlabError(f"mask is {shown(path)}, but only pictures have masks as PNG. Use half, box or random.")
    try:
        if not path.is_file():  # a pipe would keep one waiting
            raise FileNotFoundError
        with Image.open(path, formats=["PNG"]) as image:
            width, height = image.size
            if (height, width) != sites:  # before its pixels are read: a small file can be a huge picture
                raise GenlabError(
                    f"mask is {shown(path)}, {width} x {height} pixels, expected {sites[1]} x {sites[0]}, as the data."
                )
            bright = np.asarray(image.convert("L"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = "that is no file" if isinstance(error, FileNotFoundError) else "it cannot be read as a PNG"
        raise GenlabError(
            f"mask is {shown(path)}, but {reason}. Expected a PNG, white where values are given."
        ) from error
    mask = torch.from_numpy(bright >= WHITE)
    if mask.all():
        raise GenlabError(f"mask is {shown(path)}, which is white everywhere. Black is what is filled in.")
    return mask


def _all_but(names: str, spec: DataSpec) -> Tensor:
    columns = spec.columns or tuple(field.name for field in spec.fields)
    mask = torch.ones(spec.shape, dtype=torch.bool)
    # A column's own name may have a comma.
    asked = [names] if names in columns else [part.strip() for part in names.split(",")]
    if not set(asked) <= set(columns):
        some = f", or columns such as {shown(columns[0])}" if columns else ""
        picture = f", a PNG of {spec.shape[2]} x {spec.shape[1]} pixels" if len(spec.shape) == 3 else ""
        raise GenlabError(f"mask is '{shown(names)}', expected half, box, random{picture}{some}.")
    for name in asked:
        mask[columns.index(name)] = False
    return mask
