"""Emoji, the worked example of a folder of pictures."""

from __future__ import annotations

from pathlib import Path

import pytest

from genlab.core.errors import GenlabError
from genlab.data.image_folder import Emoji
from tests.data.test_image_folder import SPLITS, noise, saved, splits_of


def test_a_missing_folder_says_where_it_comes_from(tmp_path: Path) -> None:
    assert Emoji(tmp_path).spec.name == "emoji_32", "known before any file is read"
    with pytest.raises(GenlabError, match=r"emoji is missing. .* emoji-datasource-google 16"):
        Emoji(tmp_path).tensors("train")
    for number in range(3):
        saved(noise(number), tmp_path / "emoji" / f"{number}.png")
    with pytest.raises(GenlabError, match="holds other files than the 1,911"):
        Emoji(tmp_path).tensors("train")


@pytest.mark.real_data
@pytest.mark.parametrize("real_root", ["emoji"], indirect=True)
def test_no_emoji_is_in_two_splits(real_root: Path) -> None:
    data = Emoji(real_root, cache="memory")
    found = splits_of(data)
    assert [len(found[split]) for split in SPLITS] == [1529, 191, 191]
    assert data.tensors("test").y.bincount().tolist() == [8, 16, 1, 27, 13, 26, 39, 17, 22, 22]
    sets = [set(rows) for rows in found.values()]
    assert sum(map(len, sets)) == len(set().union(*sets)) == 1897
