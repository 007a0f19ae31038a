"""How much of samples stands in a text word for word."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["Copies", "find_copies"]

_CHUNK = 1 << 22
"""Places of the text that are looked at together, which bounds the memory."""


class Copies(NamedTuple):
    """What samples have in common with a text.

    Attributes:
        longest: ``[N]``, int64: length of the longest string of each sample that stands in the text.
        share: ``[N]``, float64: share of each sample's symbols that lie in such a string of at least so many symbols.
    """

    longest: Tensor
    share: Tensor


class _Level(NamedTuple):
    """Strings of one length, named so that equal ones have equal names.

    Attributes:
        length: Their length.
        ours: ``[N, T - length + 1]``, int64: the name of the string that begins at each place of each sample.
        text: ``[S]``, int32: the same of the text; -1 where a string begins that no sample has.
        names: How many names there are.
    """

    length: int
    ours: Tensor
    text: Tensor
    names: int


def find_copies(samples: Tensor, text: Tensor, length: int) -> Copies:
    """Return the longest copied string of each sample, and how much lies in copied strings of some length.

    Exact. Strings of 1, 2, 4 ... symbols are named by the pairs of names that they are made of, those of the text by
    the names that the samples' have (Karp, Miller and Rosenberg, 1972, "Rapid identification of repeated patterns in
    strings, trees and arrays"); a string of any other length is known by the two that cover it. The time grows with the
    size of the text, hardly with that of the samples.

    Args:
        samples: ``[N, T]``, whole numbers from 0 on.
        text: ``[S]``, the same; -1 marks places over which no string may go.
        length: Symbols of a string from which on it counts for the share.
    """
    longest = torch.zeros(len(samples), dtype=torch.int64)
    copied = torch.zeros(samples.shape, dtype=torch.bool)
    alive = torch.ones(len(samples), dtype=torch.bool)
    levels = _levels(samples.long(), text)
    level = next(levels)
    alive &= _occur(level, level.length).any(1)
    while alive.any():
        further = next(levels, None)
        most = samples.shape[1] if further is None else further.length - 1
        reached = alive & _occur(further, further.length).any(1) if further is not None else torch.zeros_like(alive)
        ends_here = (alive & ~reached).nonzero()[:, 0]
        longest[ends_here] = _longest(level, ends_here, most)
        if level.length <= length <= most:
            starts = _occur(level, length)
            copied = F.max_pool1d(F.pad(starts.double(), (length - 1, length - 1)), length, 1) > 0
        if further is None:
            break
        level, alive = further, reached
    return Copies(longest, copied.double().mean(1))


def _levels(samples: Tensor, text: Tensor) -> Iterator[_Level]:
    """Yield the levels of 1, 2, 4 ... symbols, as far as samples are long."""
    found, ours = samples.unique(return_inverse=True)
    level = _Level(1, ours, _named(text, found), len(found))
    while True:
        yield level
        half = level.length
        if 2 * half > samples.shape[1]:
            return
        keys = level.ours[:, :-half] * level.names + level.ours[:, half:]
        found, ours = keys.unique(return_inverse=True)
        names = torch.full_like(level.text, -1)
        for start in range(0, len(level.text) - half, _CHUNK):
            stop = min(start + _CHUNK, len(level.text) - half)
            places, keys = _pairs(level, half, start, stop)
            names[places] = _named(keys, found)
        level = _Level(2 * half, ours, names, len(found))


def _named(keys: Tensor, found: Tensor) -> Tensor:
    """Return the places of keys among sorted ones, int32; -1 for those that are not there."""
    names = torch.empty(len(keys), dtype=torch.int32)
    for part, out in zip(keys.split(_CHUNK), names.split(_CHUNK), strict=True):
        places = torch.searchsorted(found, part.to(found.dtype)).clamp_max(len(found) - 1)
        out.copy_(torch.where(found[places] == part, places, -1))
    return names


def _pairs(level: _Level, apart: int, start: int, stop: int) -> tuple[Tensor, Tensor]:
    """Return where in a part of the text two named strings begin so far apart, and the keys of these pairs."""
    first, second = level.text[start:stop], level.text[start + apart : stop + apart]
    places = ((first >= 0) & (second >= 0)).nonzero()[:, 0]
    return places + start, first[places].long() * level.names + second[places]


def _occur(level: _Level, length: int, rows: Tensor | None = None) -> Tensor:
    """Say which strings of so many symbols, up to twice the level's, stand in the text: bool ``[N, T - length + 1]``.

    Args:
        level: The level.
        length: Their length.
        rows: Samples to look at; all by default.
    """
    apart = length - level.length
    ours = level.ours if rows is None else level.ours[rows]
    keys = ours[:, : ours.shape[1] - apart] * level.names + ours[:, apart:]
    found, inverse = keys.unique(return_inverse=True)
    stands = torch.zeros(len(found), dtype=torch.bool)
    for start in range(0, len(level.text) - apart, _CHUNK):
        _, theirs = _pairs(level, apart, start, min(start + _CHUNK, len(level.text) - apart))
        names = _named(theirs, found)
        stands[names[names >= 0].long()] = True
    return stands[inverse]


def _longest(level: _Level, rows: Tensor, most: int) -> Tensor:
    """Return the length of the longest copied string of samples that have one of the level's length, by bisection."""
    least, most_of = torch.full_like(rows, level.length), torch.full_like(rows, most)
    while (open_ := (least < most_of).nonzero()[:, 0]).numel():
        middle = (least[open_] + most_of[open_] + 1) // 2
        for length in middle.unique().tolist():
            group = open_[middle == length]
            found = _occur(level, length, rows[group]).any(1)
            least[group[found]] = length
            most_of[group[~found]] = length - 1
    return least
