"""Numbers of things in words."""

from __future__ import annotations

import pytest

from genlab.core.words import counted, measured


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 files are"), (1, "1 file is"), (2, "2 files are"), (12_345, "12,345 files are")]
)
def test_one_is_singular_and_all_others_plural(count: int, words: str) -> None:
    assert counted(count, "file is", "files are") == words
    assert counted(count, "file") == f"{count:,} file{'' if count == 1 else 's'}"


@pytest.mark.parametrize(
    ("amount", "words"),
    [
        (0.0333, "0.0333 minutes"),
        (0.9996, "1 minute"), (1.0, "1 minute"), (1.004, "1 minute"), (1.01, "1.01 minutes"),
        (99.96, "100 minutes"), (1439.6, "1,440 minutes"),
    ],
)  # fmt: skip
def test_an_amount_is_singular_where_it_reads_as_one(amount: float, words: str) -> None:
    assert measured(amount, "minute") == words
