"""A user's own data: a text file, a folder of recordings, a table."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import logging
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated, Literal, Unpack, get_args

import numpy as np
import torch
from annotated_types import Ge, Le
from torch import Tensor

from genlab.core.batch import Batch
from genlab.core.errors import GenlabError, nearest, shown
from genlab.core.spec import DataSpec
from genlab.data.base import LoaderOptions, Split
from genlab.data.columns import ColumnsConfig, parse_csv
from genlab.data.files import contents_checksum, file_checksum
from genlab.data.folders import class_folders, files_below, is_hidden, name_of, path_given, walk
from genlab.data.leaks import HELD_OUT, grouped_split
from genlab.data.listing import say_others
from genlab.data.sound import SUFFIXES, Recording, Seconds, SoundData
from genlab.data.tables import Deviation, Missing, Rounding, TableData
from genlab.data.text import TextData, WindowLength
from genlab.runs.atomic import what_is_in_the_way

__all__ = ["CsvTable", "TextFile", "WavFolder"]

log = logging.getLogger(__name__)

SamplingRate = Annotated[int, Ge(1_000), Le(192_000)]


class TextFile(TextData):
    """A text of one's own, int64 ``[N, length]``: the first 90 % are training, the rest is halved.

    Characters are Unicode's, from a file in UTF-8; a byte-order mark is left out, and all line ends are ``\\n``. The
    alphabet is that of the whole file, in Unicode's order. Bytes are taken as they are. The data set's name holds that
    of the file and a part of its checksum, so that results of two texts, or of two states of one, never mix.

    The other arguments are those of :class:`genlab.data.text.TextData`.

    Args:
        root: Folder in which what is computed once for the data is kept.
        path: The file.
        by: What a symbol is: ``"characters"`` or ``"bytes"``.

    Raises:
        GenlabError: If the file cannot be read, is no UTF-8, or has fewer than two different symbols.
    """

    def __init__(
        self,
        root: str | Path = "data",
        *,
        length: WindowLength = 256,
        path: str | Path | None = None,
        by: Literal["characters", "bytes"] = "characters",
        **loader: Unpack[LoaderOptions],
    ) -> None:
        super().__init__(root, length=length, **loader)
        if by not in ("characters", "bytes"):
            raise GenlabError(f"data.by is '{by}', expected characters or bytes.{nearest(by, ('characters', 'bytes'))}")
        self.path = path_given(path, "a text file")
        content = _content(self.path)
        alphabet, self._numbers = _characters(content, self.path) if by == "characters" else (None, _bytes(content))
        if len(self._numbers) == 0 or bool((self._numbers == self._numbers[0]).all()):
            what = "no text" if len(self._numbers) == 0 else "one symbol only, over and over"
            raise GenlabError(f"{shown(self.path)} holds {what}: there is nothing to learn. Give a text.")
        levels = 256 if alphabet is None else len(alphabet)
        name = name_of("text_file", self.path, "bytes" if by == "bytes" else "")
        self.spec = DataSpec(name, "text", (length,), levels=levels, alphabet=alphabet)

    def read(self) -> Tensor:
        return self._numbers


def _content(path: Path, expected: str = "a text file") -> bytes:
    try:
        if there := what_is_in_the_way(path):  # opening a pipe would wait for ever
            raise GenlabError(f"data.path is {shown(path)}, which is {there}, expected {expected}.")
        return path.read_bytes()
    except OSError as error:
        raise GenlabError(f"data.path is {shown(path)}, which cannot be read ({error.strerror}).") from error


def _bytes(content: bytes) -> Tensor:
    return torch.from_numpy(np.frombuffer(content, dtype=np.uint8).copy())


def _characters(content: bytes, path: Path) -> tuple[str, Tensor]:
    """Return the alphabet of a text in UTF-8, and the numbers of its characters."""
    try:
        text = content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise GenlabError(
            f"{shown(path)} is not UTF-8: byte {error.start + 1:,} (in line {line:,}) is 0x{content[error.start]:02x}, "
            f"{error.reason}. Save it as UTF-8, or take its bytes by data.by=bytes."
        ) from error
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    codes = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
    occurs = np.zeros(sys.maxunicode + 1, dtype=bool)
    occurs[codes] = True
    alphabet = np.flatnonzero(occurs)
    numbers = np.zeros(len(occurs), dtype=np.uint8 if len(alphabet) <= 256 else np.int32)
    numbers[alphabet] = np.arange(len(alphabet))
    return "".join(map(chr, alphabet.tolist())), torch.from_numpy(numbers[codes])


class WavFolder(SoundData):
    """Recordings of one's own, int64 ``[N, 1, T]``: WAV, FLAC or Ogg of any rate, depth and number of channels.

    Channels are averaged and other rates resampled. Where the folder has two or more sub-folders with recordings, these
    are the classes, in alphabetical order. 80 % of the files are training, 10 % validation and 10 % test, drawn by a
    fixed seed from their sorted names, in each class alike; files that are equal are in the same split. The data set's
    name holds that of the folder and a part of the files' checksum, so that results of two folders, or of two states of
    one, never mix.

    The other arguments are those of :class:`genlab.data.sound.SoundData`.

    Args:
        root: Folder in which what is computed once for the data is kept.
        path: The folder.
        sampling_rate_hz: The rate at which the recordings are heard.
        broken: What is done with a file that cannot be read as sound, or holds none: ``"refuse"`` stops and names it,
            ``"skip"`` leaves it out and names it in a warning.

    Raises:
        GenlabError: If there is no such folder, it holds too few recordings, or some of them stand beside sub-folders.
    """

    def __init__(
        self,
        root: str | Path = "data",
        *,
        seconds: Seconds = 1.0,
        encoding: Literal["mulaw8", "pcm16"] = "mulaw8",
        path: str | Path | None = None,
        sampling_rate_hz: SamplingRate = 16_000,
        broken: Literal["skip", "refuse"] = "refuse",
        **loader: Unpack[LoaderOptions],
    ) -> None:
        self.sampling_rate_hz = sampling_rate_hz
        super().__init__(root, seconds=seconds, encoding=encoding, **loader)
        if broken not in ("skip", "refuse"):
            near = nearest(broken, ("skip", "refuse"))
            raise GenlabError(f"data.broken is '{broken}', expected skip or refuse.{near}")
        self.broken = broken
        self.path = path_given(path, "a folder of recordings")
        self._files = files_below(self.path, SUFFIXES, "recordings")
        self._classes = class_folders(self._files, self.path, "recordings")
        try:
            name = name_of("wav_folder", self.path, checksum=contents_checksum(self._files, self.path))
        except OSError as error:
            raise GenlabError(f"{shown(error.filename)} cannot be read ({error.strerror}).") from error
        self.spec = DataSpec(
            name,
            "waveform",
            (1, self.length),
            levels=self.encoding.levels,
            num_classes=len(self._classes) or None,
            sampling_rate_hz=sampling_rate_hz,
            has_mask=True,
        )

    def load(self, split: Split) -> dict[Split, Batch]:
        # All at once, so that a broken file is told before anything is trained, and not when the test begins.
        self._tell()
        found: dict[Split, Batch] = {}
        for each in ("train", "validation", "test"):
            found |= super().load(each)
        return found

    def split_name(self, split: Split, stride: int | None = None) -> str:
        # The data set's name says neither: bits per sample of two rates do not compare, nor those of two draws.
        said = [] if self.sampling_rate_hz == 16_000 else [f"{self.sampling_rate_hz:,} Hz"]
        if len(set(self._digests)) < len(self._files):  # else the draw is that of before equal files were one
            said.append("equal recordings in one split")
        return f"{split} ({', '.join(said)})" if said else split

    def recordings(self, split: Split) -> list[Recording]:
        found, problems = [], []
        for path in self._split()[split]:
            try:
                found.append(self.heard(path, self._label(path)))
            except GenlabError as error:
                if self.broken == "refuse":
                    raise GenlabError(f"{error} Mend or remove it, or leave it out by data.broken=skip.") from error
                problems.append(str(error))
        for problem in problems:
            log.warning("Left out: %s", problem)
        if not found:
            raise GenlabError(f"None of the {len(problems)} {split} recordings in {shown(self.path)} can be read.")
        return found

    def _label(self, path: Path) -> int | None:
        return self._classes.index(path.relative_to(self.path).parts[0]) if self._classes else None

    @functools.cached_property
    def _digests(self) -> list[bytes]:
        return [file_checksum(path, "sha256").encode() for path in self._files]

    def _split(self) -> dict[Split, list[Path]]:
        """The files of each split, in each class alike; files that are equal are in the same one."""
        labels = [self._label(path) or 0 for path in self._files]
        # What is in several classes is drawn with the first of them.
        first = dict(zip(reversed(self._digests), reversed(labels), strict=True))
        different = {**dict.fromkeys(labels, 0), **Counter(first.values())}
        label = min(different, key=lambda label: different[label])
        if different[label] < 3:
            where = self.path / self._classes[label] if self._classes else self.path
            raise GenlabError(
                f"{shown(where)} has {different[label]} recordings that differ from each other, expected at least 3: "
                "one to train, to validate and to test."
            )
        validation, test, train = grouped_split(self._digests, labels, 0, (HELD_OUT, HELD_OUT))
        rows = {"train": train, "validation": validation, "test": test}
        return {split: [self._files[row] for row in rows[split]] for split in get_args(Split)}

    def _tell(self) -> None:
        """Say what was left out, and how many recordings there are twice."""
        known = set(self._files)
        others = Counter(path.suffix.lower() or path.name for path in walk(self.path, is_hidden) if path not in known)
        if others:
            log.warning("%s: left out files that are no recordings: %s.", shown(self.path), say_others(others))
        if copies := len(self._files) - len(set(self._digests)):
            what = f"{copies:,} of {len(self._files):,} recordings equal another"
            log.warning("%s: %s; equal ones are in the same split.", shown(self.path), what)


class CsvTable(TableData):
    """A table of one's own, float32 ``[N, D]``: a CSV file with a line of names and a row for each example.

    The data set's name holds that of the file and a part of a checksum of it and of what is said of its columns, so
    that results of two tables, or of two states of one, never mix.

    The other arguments are those of :class:`genlab.data.tables.TableData`.

    Args:
        root: Folder in which what is computed once for the data is kept.
        path: The file, in UTF-8.
        target: Column whose categories are the labels, given which a class-conditional model draws rows; it is no
            column of the rows then. None: all columns are modelled, and there are no labels.
        predict: Column of the rows that models trained on samples are to predict from the others, by which samples are
            judged too; None: the labels, where samples have them.
        missing: What is done where values are missing: ``"refuse"`` says where, ``"drop"`` leaves the rows out,
            ``"category"`` makes a category of it, ``"indicator"`` that too, and for a column of rounded numbers another
            column that says so, the number itself then being the median. The probability of a row is then that of
            both, which is a lower bound: a model may leave some to other numbers where it says that there is none.
        columns: What is said of the columns.

    Raises:
        GenlabError: If the file cannot be read, or one of its columns is neither of numbers nor of categories.
    """

    def __init__(
        self,
        root: str | Path = "data",
        *,
        rounding: Rounding = "cells",
        path: str | Path | None = None,
        target: str | None = None,
        missing: Missing = "refuse",
        columns: ColumnsConfig | None = None,
        predict: str | None = None,
        training_noise: Deviation = 0.0,
        **loader: Unpack[LoaderOptions],
    ) -> None:
        super().__init__(root, rounding=rounding, training_noise=training_noise, **loader)
        if missing not in (choices := get_args(Missing)):
            raise GenlabError(f"data.missing is '{missing}', expected {', '.join(choices)}.{nearest(missing, choices)}")
        self.path = path_given(path, "a CSV file")
        columns = columns or ColumnsConfig()
        content = _content(self.path, "a CSV file")
        said = [rounding, target, missing, dataclasses.asdict(columns)]
        # Figures of two columns to predict do not compare; tables without one keep the name that they had.
        settings = json.dumps(said if predict is None else [*said, predict]).encode()
        name = name_of("csv", self.path, checksum=f"sha256:{hashlib.sha256(settings + content).hexdigest()}")
        self.take(name, parse_csv(content, shown(self.path.name)), columns, target, missing, predict)
