"""Folders of pictures: read once, on all cores, at one size, into memory or a file that is mapped into it."""

from __future__ import annotations

import hashlib
import io
import json
import logging
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryFile
from typing import Annotated, BinaryIO, ClassVar, Literal, NamedTuple, Unpack, get_args

import numpy as np
import torch
from annotated_types import Ge, Le
from tqdm import tqdm

from genlab.core.batch import Batch
from genlab.core.errors import GenlabError, nearest, shown, two_lines
from genlab.core.spec import DataSpec
from genlab.core.words import counted
from genlab.data.base import GenlabDataModule, LoaderOptions, Split
from genlab.data.decoding import Preparation, Unreadable, decode_pictures
from genlab.data.flips import HorizontalFlip
from genlab.data.folders import class_folders, name_of, path_given
from genlab.data.leaks import HELD_OUT, example_digest, grouped_split
from genlab.data.listing import list_pictures, say_others
from genlab.data.picture_cache import Arranged, read_cache, write_cache
from genlab.processes.ranks import is_first_process
from genlab.runs.atomic import make_folder
from genlab.runs.caches import cache_folders, first_writable

__all__ = ["Emoji", "ImageFolder", "Pictures"]

log = logging.getLogger(__name__)

VERSION = 2
"""Raised when code changes what is made of a file: then what was kept is read again."""

MOST_NAMED = 10
"""Files left out that are named one by one."""

PictureSize = Annotated[int, Ge(4), Le(1024)]
SplitSeed = Annotated[int, Ge(0), Le(2**32 - 1)]
IN_MEMORY = "memory"

_in_memory: dict[str, Arranged] = {}
"""The last pictures that were read into memory: a command makes a data set more than once, and reads it once."""


_told: set[str] = set()
"""The folders of which it was said what was left out, for the same reason."""


class _Read(NamedTuple):
    """Pictures as they came out of their files, ``[M, C, H, W]``, with the places of their files and their digests."""

    pictures: np.ndarray
    places: list[int]
    digests: list[bytes]
    left_out: list[str]


class Pictures(GenlabDataModule):
    """A folder of pictures, uint8 ``[N, C, size, size]``, 256 levels; its sub-folders, if there are two, are classes.

    10 % of the pictures are validation and 10 % test, drawn in each class alike; equal pictures stay together, so that
    none is in two splits. A data set is a subclass that gives its name and the folder.

    The other arguments are those of :class:`LoaderOptions`.

    Args:
        root: Folder beside whose data what is computed once is kept.
        flip: Whether half of the training pictures, drawn anew each time, are mirrored left to right.
        cache: Where the pictures are kept once they have been read: None for ``genlab_cache`` in ``root``, or in the
            user's cache folder where that cannot be written; a folder; or ``"memory"``, for this process alone.
    """

    split_seed: int = 0
    broken: Literal["skip", "refuse"] = "skip"

    def __init__(
        self,
        root: str | Path = "data",
        *,
        flip: bool = False,
        cache: str | Path | None = None,
        **loader: Unpack[LoaderOptions],
    ) -> None:
        loader.setdefault("batch_size", 64)
        super().__init__(root, **loader)
        self.draw_transform = HorizontalFlip() if flip else None
        self.cache = cache
        self._found: Arranged | None = None

    def survey(self, folder: Path, preparation: Preparation) -> str:
        """List a folder whose pictures are to be prepared in a way; return the checksum of all that examples depend on.

        Raises:
            GenlabError: If it holds no pictures, or too few.
        """
        self.preparation = preparation
        self.listing = list_pictures(folder)
        self.classes = class_folders(self.listing.pictures, folder, "pictures")
        try:
            self.listing_checksum = self.listing.checksum([place / self._notes for place in self._places()])
        except OSError as error:
            raise GenlabError(f"{shown(error.filename)} cannot be read ({error.strerror}).") from error
        about = {
            **asdict(preparation),
            "contents": self.listing_checksum,
            "split_seed": self.split_seed,
            "version": VERSION,
        }
        self._key = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
        return f"sha256:{self._key}"

    def cache_folder(self) -> Path | None:
        places = self._places()
        return first_writable(places) if places else None

    def prepare_data(self) -> None:
        """Read the pictures, unless they have been read before, and keep them."""
        super().prepare_data()
        if self.cache == IN_MEMORY:
            return
        self._found = self._kept()
        if self._found is None:
            self._keep()

    def _keep(self) -> None:
        folder = first_writable(self._places())
        try:
            make_folder(folder)
            with TemporaryFile(dir=folder) as scratch:
                self._arrange(scratch, folder / self._name)
            self.listing.keep(folder / self._notes)
        except OSError as error:
            raise GenlabError(
                f"The pictures, once read, cannot be kept in {shown(folder)} ({error.strerror}).\n"
                "Give another folder by data.cache=<folder>, or data.cache=memory."
            ) from error

    def load(self, split: Split) -> dict[Split, Batch]:
        found = _in_memory.get(self._key) if self.cache == IN_MEMORY else self._found or self._kept()
        if found is None:
            _in_memory.clear()
            found = _in_memory[self._key] = self._arrange(io.BytesIO(), None)
        if found.left_out and self.broken == "refuse":
            advice = "Mend or remove what cannot be read, or leave it out by data.broken=skip."
            raise GenlabError(f"{shown(self.listing.folder)}: {two_lines(found.left_out)}\n{advice}")
        self._tell(found)
        return found.splits(bool(self.classes))

    def split_name(self, split: Split, stride: int | None = None) -> str:
        share = round(100 * (1 - 2 * HELD_OUT if split == "train" else HELD_OUT))
        return f"{split} ({share} % of each class, split seed {self.split_seed})"

    @property
    def _name(self) -> str:
        return f"{self.spec.name}-{self._key[:16]}.safetensors"

    @property
    def _notes(self) -> str:
        place = hashlib.sha256(str(self.listing.folder.absolute()).encode("utf-8", "surrogateescape")).hexdigest()
        return f"folder-{place[:16]}.json"

    def _places(self) -> tuple[Path, ...]:
        if self.cache == IN_MEMORY:
            return ()
        return cache_folders(self.root) if self.cache is None else (Path(self.cache).expanduser(),)

    def _kept(self) -> Arranged | None:
        for folder in self._places():
            try:
                if (found := read_cache(folder / self._name, self._key)) is not None:
                    return found
            except OSError as error:
                log.info("%s cannot be read (%s): the pictures are read again.", error.filename, error.strerror)
        return None

    def _arrange(self, scratch: BinaryIO, path: Path | None) -> Arranged:
        """Read all pictures, draw the splits, and write or return the pictures in their order."""
        read = self._read(scratch)
        classes = self._classes_of(read)
        parts = grouped_split(read.digests, classes, self.split_seed, (HELD_OUT, HELD_OUT))
        order = np.concatenate([parts[2], parts[0], parts[1]])  # training first, as everywhere
        labels = np.zeros(len(order), np.int64) if classes is None else np.array(classes, np.int64)[order]
        sizes = dict(zip(get_args(Split), (len(parts[2]), len(parts[0]), len(parts[1])), strict=True))
        copies = len(read.digests) - len(set(read.digests))
        about = Arranged(torch.empty(0), torch.from_numpy(labels), sizes, read.left_out, copies)
        if path is not None:
            write_cache(path, self._key, read.pictures, order, about)
            return about
        return Arranged(torch.from_numpy(read.pictures[order]), about.y, sizes, read.left_out, copies)

    def _read(self, scratch: BinaryIO) -> _Read:
        paths, folder = self.listing.pictures, self.listing.folder
        places, digests, left_out = [], [], []
        log.info("Reading %s in %s, once.", counted(len(paths), "picture"), shown(folder))
        bar = tqdm(total=len(paths), desc="reading", unit=" pictures", leave=False, disable=_hidden())
        with bar:
            for place, found in enumerate(decode_pictures(paths, self.preparation)):
                bar.update()
                if isinstance(found, Unreadable):
                    left_out.append(f"{shown(paths[place].relative_to(folder))}: {found}")
                    continue
                scratch.write(found.data)
                places.append(place)
                digests.append(example_digest(found))
        if not places:
            raise GenlabError(f"None of the pictures in {shown(folder)} can be read: {left_out[0]}.")
        scratch.flush()
        shape = (len(places), self.preparation.channels, self.preparation.size, self.preparation.size)
        if isinstance(scratch, io.BytesIO):
            return _Read(np.frombuffer(scratch.getbuffer(), np.uint8).reshape(shape), places, digests, left_out)
        return _Read(np.memmap(scratch, np.uint8, "r", shape=shape), places, digests, left_out)

    def _classes_of(self, read: _Read) -> list[int] | None:
        """Return the class of each picture that was read; refuse a class of which too few remain."""
        folder = self.listing.folder
        tops = [self.listing.pictures[place].relative_to(folder).parts[0] for place in read.places]
        for name in self.classes or [None]:
            members = zip(tops, read.digests, strict=True)
            different = len({digest for top, digest in members if name in (None, top)})
            if different < 3:
                where = folder / name if name else folder
                raise GenlabError(
                    f"{shown(where)} has {counted(different, 'picture')} that can be read and differ from each other, "
                    "expected at least 3: one to train, to validate and to test."
                )
        return [self.classes.index(top) for top in tops] if self.classes else None

    def _tell(self, found: Arranged) -> None:
        """Say what was left out, and how many pictures there are twice; once in each command."""
        folder = shown(self.listing.folder)
        if (about := f"{folder} {self._key}") in _told:
            return
        _told.add(about)
        if self.listing.others:
            log.warning("%s: left out files that are no pictures: %s.", folder, say_others(self.listing.others))
        if found.left_out:
            named = "; ".join(found.left_out[:MOST_NAMED]) + ("; ..." if len(found.left_out) > MOST_NAMED else "")
            what = counted(len(found.left_out), "picture")
            log.warning("%s: left out %s that cannot be read: %s.", folder, what, named)
        if found.copies:
            what = "1 picture equals another" if found.copies == 1 else f"{found.copies:,} pictures equal others"
            log.warning("%s: %s; equal ones are in the same split.", folder, what)


def _hidden() -> bool | None:
    return None if is_first_process() else True  # None: hidden unless it goes to a terminal


class ImageFolder(Pictures):
    """Pictures of one's own, of any sizes and modes: gray, colour, palettes, CMYK, 16 bits, with or without alpha.

    They are turned as their EXIF data says. Class sub-folders, splits and the cache are those of :class:`Pictures`.
    The data set's name holds that of the folder and a part of a checksum of all that examples and splits depend on, so
    that results of two folders, or of two states or preparations of one, never mix.

    The other arguments are those of :class:`Pictures`.

    Args:
        path: The folder.
        size: Height and width of an example.
        channels: 1 for gray, 3 for colour.
        fit: ``"crop"``: the middle, as large as the shorter side; ``"pad"``: all of it, with the background around it.
        background: Colour below what is transparent and around what is padded, by its name or as ``"#rrggbb"``.
        split_seed: Seed of the draw of the splits.
        broken: What is done with files that are no pictures or cannot be read: ``"skip"`` leaves them out and names
            them in a warning, ``"refuse"`` stops.

    Raises:
        GenlabError: If there is no such folder, it holds too few pictures, or some of them stand beside sub-folders.
    """

    def __init__(
        self,
        root: str | Path = "data",
        *,
        flip: bool = False,
        cache: str | Path | None = None,
        path: str | Path | None = None,
        size: PictureSize = 64,
        channels: Literal[1, 3] = 3,
        fit: Literal["crop", "pad"] = "crop",
        background: str = "white",
        split_seed: SplitSeed = 0,
        broken: Literal["skip", "refuse"] = "skip",
        **loader: Unpack[LoaderOptions],
    ) -> None:
        super().__init__(root, flip=flip, cache=cache, **loader)
        if broken not in ("skip", "refuse"):
            near = nearest(broken, ("skip", "refuse"))
            raise GenlabError(f"data.broken is '{broken}', expected skip or refuse.{near}")
        self.broken, self.split_seed = broken, split_seed
        self.path = path_given(path, "a folder of pictures")
        checksum = self.survey(self.path, Preparation(size, channels, fit, background))
        if broken == "refuse" and self.listing.others:
            raise GenlabError(
                f"{shown(self.path)} has files that are no pictures: {say_others(self.listing.others)}. "
                "Remove them, or leave them out by data.broken=skip."
            )
        gray = "gray" if channels == 1 else ""
        name = name_of("image_folder", self.path, str(size), gray, checksum=checksum)
        classes = len(self.classes) or None
        self.spec = DataSpec(name, "image", (channels, size, size), levels=256, num_classes=classes)


class Emoji(Pictures):
    """Emoji: 1,911 colour pictures on white, uint8 ``[N, C, size, size]``, in ten classes of 5 to 386 pictures.

    80 / 10 / 10 % training, validation and test in each class, split once. They are 64x64 as they come.
    Source: Noto emoji by way of emoji-datasource-google 16; Apache 2.0.

    The other arguments are those of :class:`Pictures`.

    Args:
        root: Folder with ``emoji/<class>/*.png``; they are not downloaded.
        size: Height and width of an example.
        channels: 1 for gray, 3 for colour.
    """

    licence = "Apache 2.0"

    folder: ClassVar[str] = "emoji"
    contents: ClassVar[str] = "sha256:300e182803045f3aca8ce06211f4727f9656ddd84d29ecd5765e2297032290c8"
    """Checksum of the files as :meth:`genlab.data.listing.Listing.checksum` computes it."""

    def __init__(
        self,
        root: str | Path = "data",
        *,
        flip: bool = False,
        cache: str | Path | None = None,
        size: PictureSize = 32,
        channels: Literal[1, 3] = 3,
        **loader: Unpack[LoaderOptions],
    ) -> None:
        super().__init__(root, flip=flip, cache=cache, **loader)
        self.preparation = Preparation(size, channels)
        name = f"emoji_{size}{'_gray' if channels == 1 else ''}"
        self.spec = DataSpec(name, "image", (channels, size, size), levels=256, num_classes=10)

    def prepare_data(self) -> None:
        folder = self.root / self.folder
        advice = (
            "They are the 64x64 pictures of the package emoji-datasource-google 16 (Noto emoji, Apache 2.0), in a "
            "folder for each category. Set data.root (GENLAB_DATA) to the folder in which emoji/ lies."
        )
        if not folder.is_dir():
            raise GenlabError(f"{shown(folder)} is missing. {advice}")
        self.survey(folder, self.preparation)
        if self.listing_checksum != self.contents:
            raise GenlabError(f"{shown(folder)} holds other files than the 1,911 of this data set. {advice}")
        super().prepare_data()
