"""Series: windows of columns over time, split in time, so that no two splits share a point."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Unpack

import numpy as np
import torch
from annotated_types import Ge, Le
from torch import Tensor

from genlab.core.batch import Batch
from genlab.core.errors import GenlabError, nearest, shown
from genlab.core.spec import DataSpec
from genlab.data.base import GenlabDataModule, LoaderOptions, Split
from genlab.data.columns import LARGEST, LEAST_SPREAD
from genlab.data.files import Archive
from genlab.data.series_columns import read_columns
from genlab.modalities.series import NUMBERED

__all__ = ["SP500", "Returns", "SeriesData", "SeriesFile", "WindowSteps", "in_returns"]

WindowSteps = Annotated[int, Ge(2), Le(100_000)]
Stride = Annotated[int, Ge(1), Le(100_000)]
Returns = Literal["none", "log", "simple"]

_TRAIN, _VALIDATION = 0.6, 0.2
_FEWEST_WINDOWS = 2
"""Windows of validation and of test, at least: of one there is no standard error."""


class SeriesData(GenlabDataModule):
    """Windows of one series, float32 ``[N, C, length]``, split in time: 60 % are training, then 20 % and 20 %.

    Training windows begin ``stride`` steps after each other, so that they overlap; those of validation and test do not
    overlap, so that a standard error over them is one of independent stretches as far as the series is. A window lies
    within its split. A data set is a subclass that gives the :meth:`values`.

    The other arguments are those of :class:`LoaderOptions`.

    Args:
        root: Folder with the data files.
        length: Steps of a window.
        stride: Steps from the beginning of a training window to that of the next.
    """

    def __init__(
        self,
        root: str | Path = "data",
        *,
        length: WindowSteps = 32,
        stride: Stride = 1,
        **loader: Unpack[LoaderOptions],
    ) -> None:
        loader.setdefault("batch_size", 64)
        super().__init__(root, **loader)
        if length < 2 or stride < 1:
            raise GenlabError(f"data.length is {length} and data.stride {stride}, expected at least 2 and at least 1.")
        self.length = length
        self.stride = stride

    def values(self) -> np.ndarray:
        """Return the whole series ``[S, C]``, in the order of time."""
        raise NotImplementedError

    def parts(self, points: int) -> dict[Split, tuple[int, int]]:
        """Return where each split begins and ends in a series of so many points."""
        train = int(_TRAIN * points)
        middle = train + int(_VALIDATION * points)
        return {"train": (0, train), "validation": (train, middle), "test": (middle, points)}

    def load(self, split: Split) -> dict[Split, Batch]:
        values = torch.from_numpy(self.values()).float()
        self._check_length(len(values))
        return {
            name: Batch(_windows(values[start:stop], self.length, self.stride if name == "train" else self.length))
            for name, (start, stop) in self.parts(len(values)).items()
        }

    def split_name(self, split: Split, stride: int | None = None) -> str:
        if split == "train":
            return f"train (windows of {self.length} with a stride of {self.stride})"
        return f"{split} (disjoint windows of {self.length})"

    def _check_length(self, points: int) -> None:
        shortest = min(stop - start for start, stop in self.parts(points).values())
        if shortest < _FEWEST_WINDOWS * self.length:
            needed = -(-_FEWEST_WINDOWS * self.length // _VALIDATION)
            raise GenlabError(
                f"{self.spec.name} has {points:,} points, expected about {needed:,.0f} at least: validation and test "
                f"are a fifth each, which holds {_FEWEST_WINDOWS} windows of {self.length} then. Use a lower "
                "data.length, or a longer series."
            )


def _windows(values: Tensor, length: int, stride: int) -> Tensor:
    """Cut a series ``[S, C]`` into windows ``[N, C, length]`` that begin so many steps after each other."""
    return values.unfold(0, length, stride).contiguous()


def in_returns(values: np.ndarray, kind: Returns, names: Sequence[str] = ()) -> np.ndarray:
    """Return a series ``[S, C]`` as its returns ``[S - 1, C]`` in percent, or as it is.

    Args:
        values: The series; above zero for returns.
        kind: ``"log"``, 100 times the difference of logarithms; ``"simple"``, the change in percent; ``"none"``.
        names: Of the columns, to be told of.

    Raises:
        GenlabError: If a value has no returns.
    """
    if kind == "none":
        return values
    if (values <= 0).any():
        place, column = np.argwhere(values <= 0)[0]
        name = names[column] if names else f"column {column + 1}"
        raise GenlabError(
            f"data.returns is {kind}, but column '{shown(name)}' has {values[place, column]:g} (row {place + 1:,}), "
            "expected values above zero. Use data.returns=none."
        )
    if kind == "log":
        return 100 * np.diff(np.log(values), axis=0)
    return 100 * (values[1:] / values[:-1] - 1)


def _check_values(values: np.ndarray, where: str) -> None:
    """Refuse a column ``[S]`` that float32 does not hold, or from which nothing is learned."""
    largest = np.abs(values).max(initial=0)
    if largest > LARGEST or 0 < largest < 1 / LARGEST:
        what = f"up to {LARGEST:g}" if largest > LARGEST else f"some of them above {1 / LARGEST:g}"
        raise GenlabError(f"{where} holds numbers up to {largest:g}, expected {what}. Give it in another unit.")
    if len(values) == 0:
        return
    if np.ptp(values) == 0:
        raise GenlabError(
            f"{where} is constant, {values[0]:g} in every row: nothing to learn. Name the others by data.columns=[...]."
        )
    if values.std() < LEAST_SPREAD * largest:
        raise GenlabError(
            f"{where} has numbers around {values.mean():.10g} that differ too little for float32, by "
            f"{np.ptp(values):g}. Subtract a constant from it, or use data.returns=log or simple."
        )


def _titles(names: Sequence[str], kind: Returns) -> tuple[str, ...]:
    ending = {"none": "", "log": " log return (%)", "simple": " return (%)"}[kind]
    return tuple(f"{name}{ending}" for name in names)


class SeriesFile(SeriesData):
    """A series of one's own from a CSV file with a line of names, float32 ``[N, C, length]``.

    Where a column says when the rows are of, they must be in its order. The data set's name holds that of the file, a
    part of the checksum of the values and their names, and the length of windows, so that results of two series, or of
    two choices of columns, never mix.

    The other arguments are those of :class:`SeriesData`.

    Args:
        root: Folder in which what is computed once for the data is kept.
        path: The file, in UTF-8.
        columns: Names of the columns; None: all but the one that says when.
        time: Name of the column that says when, dates or numbers; None: one that is called date, datetime, time or
            timestamp, if there is one.
        returns: ``"none"``: the values as they are; ``"log"`` or ``"simple"``: their returns in percent.

    Raises:
        GenlabError: If the file cannot be read, its rows are not in the order of time, a column is unknown, has missing
            values or others than numbers, is constant or beyond what float32 holds, or a value has no return.
    """

    def __init__(
        self,
        root: str | Path = "data",
        *,
        length: WindowSteps = 32,
        stride: Stride = 1,
        path: str | Path | None = None,
        columns: list[str] | None = None,
        time: str | None = None,
        returns: Returns = "none",
        **loader: Unpack[LoaderOptions],
    ) -> None:
        super().__init__(root, length=length, stride=stride, **loader)
        choices = ("none", "log", "simple")
        if returns not in choices:
            raise GenlabError(
                f"data.returns is '{returns}', expected {', '.join(choices)}.{nearest(str(returns), choices)}"
            )
        if not path:
            raise GenlabError("data.path is not given, expected a CSV file. Add data.path=...")
        source = Path(path).expanduser()
        names, values = read_columns(source, columns, time)
        titles = _titles(names, returns)
        if taken := next((title for title in titles if title in NUMBERED), None):
            raise GenlabError(
                f"{shown(source)} has a column '{taken}', as the files of samples have one. Give it another name."
            )
        self._values = in_returns(values, returns, names)
        for title, column in zip(titles, self._values.T, strict=True):
            _check_values(column, f"Column '{shown(title)}' of {shown(source)}")
        choice = hashlib.sha256(repr((names, returns)).encode() + self._values.tobytes()).hexdigest()[:6]
        stem = re.sub(r"[^A-Za-z0-9]+", "_", source.resolve().stem).strip("_")[:40]
        name = "_".join(part for part in ("series", stem, choice, str(length)) if part)
        self.spec = DataSpec(name, "series", (len(names), length), columns=titles)
        self._check_length(len(self._values))

    def values(self) -> np.ndarray:
        return self._values


class SP500(SeriesData):
    """Daily log returns of the S&P 500 in percent, 1999 to 2018, float32 ``[N, 1, length]``: 5,030 trading days.

    Of the adjusted closing prices. Training ends in December 2010, so that the crash of 2008 is in it; validation ends
    in December 2014. Source: Yahoo Finance, by way of K. Sheppard's arch, 8.0.

    The arguments are those of :class:`SeriesData`.
    """

    archives = (
        Archive(
            "sp500.csv.gz",
            "sha256:1e028cbb9c400cc018c816ccc439b33c919387e726c3ed5ca2c05c82746059de",
            ("https://raw.githubusercontent.com/bashtage/arch/v8.0.0/arch/data/sp500/",),
            {"series/sp500.csv": "sha256:1c4d0aeed8db9284de8ad71e4063c97f645ad6dd13507f8e305338e96c396ba7"},
        ),
    )

    def __init__(
        self,
        root: str | Path = "data",
        *,
        length: WindowSteps = 32,
        stride: Stride = 1,
        **loader: Unpack[LoaderOptions],
    ) -> None:
        super().__init__(root, length=length, stride=stride, **loader)
        self.spec = DataSpec(f"sp500_{length}", "series", (1, length), columns=_titles(["Adj Close"], "log"))

    def values(self) -> np.ndarray:
        names, prices = read_columns(self.root / "series" / "sp500.csv", ["Adj Close"], "Date")
        return in_returns(prices, "log", names)
