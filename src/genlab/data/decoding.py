"""From picture files as people have them to arrays of one size: any mode and depth, turned upright, on a ground."""

from __future__ import annotations

import functools
import os
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from genlab.core.errors import GenlabError, nearest, shown

if TYPE_CHECKING:  # slow to import, and not on the way to other data
    from PIL.Image import Image

__all__ = ["SUFFIXES", "Preparation", "Unreadable", "decode_picture", "decode_pictures"]

SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm",
    ".pnm", ".avif", ".jp2",
)  # fmt: skip

FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000")
"""What is tried, whatever a file's name says. Others are left out on purpose: to read some, Pillow starts programs."""

ORIENTATION = 0x0112
"""Number of the EXIF field that says how a camera was held."""

DRAFT = 2
"""A JPEG is read at the smallest of its scales that has so many times the pixels wanted, along each side."""

CHUNK = 8
"""Pictures of one task, so that handing out tasks takes no time beside them."""

WAITING = 4
"""Tasks for each thread that may be ahead of whoever takes the pictures: what bounds the memory."""


class Unreadable(Exception):
    """A file that is no picture, is damaged, or holds what cannot be shown; the message says why."""


@dataclass(frozen=True)
class Preparation:
    """What is made of each picture.

    Args:
        size: Height and width.
        channels: 1 for gray, 3 for red, green and blue.
        fit: ``"crop"`` scales the shorter side to the size and keeps the middle, ``"pad"`` scales the longer one and
            fills up with the ground.
        background: The ground below what is transparent, and around what is padded: a colour's name, or ``"#rrggbb"``.

    Raises:
        GenlabError: If an argument is none of these.
    """

    size: int
    channels: Literal[1, 3] = 3
    fit: Literal["crop", "pad"] = "crop"
    background: str = "white"

    def __post_init__(self) -> None:
        if self.channels not in (1, 3):
            raise GenlabError(f"data.channels is {self.channels}, expected 1 (gray) or 3 (colour).")
        if self.fit not in ("crop", "pad"):
            raise GenlabError(f"data.fit is '{self.fit}', expected crop or pad.{nearest(self.fit, ('crop', 'pad'))}")
        _ = self.ground

    @functools.cached_property
    def ground(self) -> tuple[int, ...]:
        """The background as red, green and blue."""
        from PIL import ImageColor

        try:
            return ImageColor.getrgb(self.background)[:3]
        except ValueError as error:
            near = nearest(self.background, ImageColor.colormap)
            raise GenlabError(
                f"data.background is '{shown(self.background)}', expected a colour's name or '#rrggbb'.{near}"
            ) from error


def decode_picture(path: Path, preparation: Preparation) -> np.ndarray:
    """Read one file: uint8 ``[C, size, size]``, contiguous. Of several frames or pages the first counts.

    16 bits become 8 by their proportion. Colours are taken as they are, without colour profiles.

    Raises:
        Unreadable: If it cannot be.
    """
    from PIL import Image

    try:
        with Image.open(path, formats=_formats()) as picture:
            small = _prepared(picture, preparation)
    except Image.UnidentifiedImageError as error:
        raise Unreadable("it is no picture, or of a kind that is not read") from error
    except Unreadable:
        raise
    except Exception as error:  # decoders raise anything at files that are damaged, or made to harm
        raise Unreadable(shown(getattr(error, "strerror", None) or str(error) or type(error).__name__)) from error
    values = np.asarray(small)
    return np.ascontiguousarray(values[None] if values.ndim == 2 else values.transpose(2, 0, 1))


@functools.cache
def _formats() -> list[str]:
    from PIL import Image

    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]  # some are built without AVIF


def _prepared(picture: Image, preparation: Preparation) -> Image:
    from PIL import Image

    wanted = preparation.size
    picture.draft(None, (DRAFT * wanted, DRAFT * wanted))  # does something to JPEG only
    picture.load()  # Pillow turns TIFF itself as it loads, and then says no more that it has to be turned
    orientation = _orientation(picture)
    picture = _in_a_known_mode(picture)
    width, height = picture.size
    if preparation.fit == "crop":
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        small = _resized(picture, (wanted, wanted), (left, top, left + side, top + side))
    else:
        scale = wanted / max(width, height)
        small = _resized(picture, tuple(max(1, round(axis * scale)) for axis in picture.size), (0, 0, width, height))
    if (turn := _turns().get(orientation)) is not None:
        small = small.transpose(turn)  # when it is small, and costs nothing
    has_alpha = "A" in small.getbands()
    if has_alpha or small.size != (wanted, wanted):
        ground = Image.new("RGB", (wanted, wanted), preparation.ground)
        place = ((wanted - small.width) // 2, (wanted - small.height) // 2)
        ground.paste(small.convert("RGB"), place, small.getchannel("A") if has_alpha else None)
        small = ground
    return small.convert("L" if preparation.channels == 1 else "RGB")


@functools.cache
def _turns() -> dict[int, int]:
    from PIL.Image import Transpose

    # What undoes each way in which a camera may have been held (EXIF 2.32, 4.6.4).
    return {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }


def _orientation(picture: Image) -> int:
    try:
        return picture.getexif().get(ORIENTATION, 1)
    except Exception:  # as above; what a camera wrote beside a picture must not cost the picture
        return 1


def _in_a_known_mode(picture: Image) -> Image:
    """Return it as gray or colour, with or without alpha, or in floats from 0 to 255 where it had more than 8 bits."""
    from PIL import Image

    if picture.mode.startswith("I"):
        values = np.asarray(picture)
        if values.min() < 0 or values.max() > 65535:
            raise Unreadable(f"it holds values from {values.min()} to {values.max()}, expected 8 or 16 bits")
        return Image.fromarray(values.astype(np.float32) / 257)
    if picture.mode == "F":
        raise Unreadable("it holds numbers whose range nobody states, expected 8 or 16 bits")
    if picture.has_transparency_data:
        return picture if picture.mode in ("RGBA", "LA") else picture.convert("RGBA")
    return picture if picture.mode in ("L", "RGB") else picture.convert("L" if picture.mode == "1" else "RGB")


def _resized(picture: Image, size: tuple[int, ...], box: tuple[float, ...]) -> Image:
    from PIL import Image

    small = picture.resize(size, Image.Resampling.BICUBIC, box, reducing_gap=DRAFT)
    if small.mode != "F":
        return small
    return Image.fromarray(np.asarray(small).round().clip(0, 255).astype(np.uint8))


def decode_pictures(paths: Sequence[Path], preparation: Preparation) -> Iterator[np.ndarray | Unreadable]:
    """Read many files on all cores, in their order; see `decode_picture`. What cannot be read is given as the error."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    waiting: deque[Future[list[np.ndarray | Unreadable]]] = deque()
    _formats()  # before there are threads
    # Threads, since Pillow decodes and scales without Python's lock. What it warns of, such as EXIF data that a camera
    # wrote wrongly, costs no picture.
    with warnings.catch_warnings(), ThreadPoolExecutor(cores) as pool:
        warnings.filterwarnings("ignore", module="PIL")
        for first in range(0, len(paths), CHUNK):
            waiting.append(pool.submit(_decode_chunk, paths[first : first + CHUNK], preparation))
            if len(waiting) >= WAITING * cores:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()


def _decode_chunk(paths: Sequence[Path], preparation: Preparation) -> list[np.ndarray | Unreadable]:
    found: list[np.ndarray | Unreadable] = []
    for path in paths:
        try:
            found.append(decode_picture(path, preparation))
        except Unreadable as error:
            found.append(error)
    return found
