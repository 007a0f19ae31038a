"""Copied strings, against a search by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from genlab.measure.metrics import copies
from genlab.measure.metrics.copies import find_copies


def by_hand(samples: Tensor, text: Tensor, length: int) -> tuple[list[int], list[float]]:
    """Search for every string of every sample."""
    pieces = "".join(chr(97 + symbol) if symbol >= 0 else "|" for symbol in text.tolist())
    longest, shares = [], []
    for row in samples.tolist():
        sample, copied, most = "".join(chr(97 + symbol) for symbol in row), set(), 0
        for start in range(len(sample)):
            for stop in range(start + 1, len(sample) + 1):
                if sample[start:stop] in pieces:
                    most = max(most, stop - start)
                    copied |= set(range(start, stop)) if stop - start >= length else set()
        longest.append(most)
        shares.append(len(copied) / len(sample))
    return longest, shares


@pytest.mark.parametrize("length", [1, 3, 4, 7, 8, 12, 13, 40])
@pytest.mark.parametrize("chunk", [1 << 22, 5])
def test_copies_are_those_that_a_search_by_hand_finds(length: int, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "_CHUNK", chunk)
    generator = torch.Generator().manual_seed(length)
    text = torch.randint(3, (300,), generator=generator)
    text[100] = -1
    samples = torch.randint(3, (8, 13), generator=generator)
    samples[0], samples[1], samples[2] = text[20:33], 3, 0  # a whole copy, a symbol that the text lacks, one symbol
    samples[3] = torch.cat([text[90:100], text[101:104]])  # over the cut no string goes
    samples[4, 2:11] = text[200:209]
    found = find_copies(samples, text, length)
    longest, shares = by_hand(samples, text, length)
    assert found.longest.tolist() == longest
    assert found.share.tolist() == pytest.approx(shares)
    assert longest[0] == 13
    assert longest[1] == 0


def test_no_text_has_no_copies() -> None:
    found = find_copies(torch.zeros(2, 5, dtype=torch.int64), torch.zeros(0, dtype=torch.int64), 2)
    assert found.longest.tolist() == [0, 0]
    assert found.share.tolist() == [0, 0]
