"""Numbers of things in words."""

from __future__ import annotations

import pytest

from genlab.core.words import counted


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 files are"), (1, "1 file is"), (2, "2 files are"), (12_345, "12,345 files are")]
)
def test_one_is_singular_and_all_others_plural(count: int, words: str) -> None:
    assert counted(count, "file is", "files are") == words
    assert counted(count, "file") == f"{count:,} file{'' if count == 1 else 's'}"
