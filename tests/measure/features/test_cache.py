"""Features that are kept: never those of other data, never a damaged file, and no file where none can be."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from genlab.measure.features.cache import FeatureCache, MemoryCache

X = torch.arange(6, dtype=torch.uint8).view(3, 2)


class Extractor:
    """Doubles the values, and counts how often it is asked."""

    def __init__(self, x: Tensor = X) -> None:
        self.x, self.calls = x, 0

    def __call__(self) -> dict[str, Tensor]:
        self.calls += 1
        return {"features": self.x * 2.0}


def ask(folder: Path, x: Tensor = X, sha256: str = "ab", levels: int = 17) -> tuple[Tensor, int]:
    """Return the features, and how often they were computed."""
    extract = Extractor(x)
    found = FeatureCache(folder).get("digits", "test", sha256, x, levels, extract)
    return found["features"], extract.calls


def test_features_are_computed_once_and_are_the_same(tmp_path: Path) -> None:
    first, calls = ask(tmp_path / "cache")
    assert calls == 1
    again, calls = ask(tmp_path / "cache")
    assert calls == 0
    assert torch.equal(first, again)
    assert [path.name[:12] for path in (tmp_path / "cache").iterdir()] == ["digits-test-"], "no leftovers"


@pytest.mark.parametrize(
    "other",
    [{"x": X.flip(0)}, {"x": X.view(3, 2, 1)}, {"x": X.int()}, {"sha256": "cd"}, {"levels": 16}],
    ids=["values", "shape", "type", "extractor", "levels"],
)
def test_what_changes_the_features_changes_the_file(tmp_path: Path, other: dict[str, object]) -> None:
    ask(tmp_path)
    assert ask(tmp_path, **other)[1] == 1
    assert ask(tmp_path)[1] == 0, "the other file is still there"


def test_another_version_computes_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(tmp_path)
    monkeypatch.setattr("genlab.measure.features.cache.FEATURES_VERSION", 2)
    assert ask(tmp_path)[1] == 1


@pytest.mark.parametrize("damage", ["last byte", "cut", "empty", "foreign", "no metadata", "a folder"])
def test_a_damaged_or_foreign_file_is_computed_again(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    ask(tmp_path)
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    if damage == "no metadata":
        save_file(load_file(path), path)
    elif damage == "a folder":
        path.unlink()
        path.mkdir()
    else:
        flipped = content[:-1] + bytes([content[-1] ^ 1])
        path.write_bytes({"last byte": flipped, "cut": content[:-3], "empty": b"", "foreign": b"\x80\x04."}[damage])
    with caplog.at_level("INFO", "genlab"):
        found, calls = ask(tmp_path)
    assert calls == 1
    assert torch.equal(found, X * 2.0)
    assert "computed again" in caplog.text
    if damage != "a folder":
        assert ask(tmp_path)[1] == 0, "the good file has replaced it"


def test_where_no_folder_can_be_made_nothing_is_kept(tmp_path: Path) -> None:
    for root in (tmp_path / "missing", tmp_path / "file"):
        (tmp_path / "file").touch()
        assert ask(root / "cache")[1] == 1
        assert ask(root / "cache")[1] == 1
    assert not (tmp_path / "missing").exists()


def test_memory_keeps_features_of_the_values_and_not_of_the_place() -> None:
    cache, place = MemoryCache(), X.clone()

    def ask_memory(x: Tensor) -> tuple[Tensor, int]:
        extract = Extractor(x)
        return cache.get("own", "test", "ab", x, 17, extract)["features"], extract.calls

    assert ask_memory(place)[1] == 1
    assert ask_memory(place.clone())[1] == 0, "the same values elsewhere"
    place += 1  # as when memory that was freed holds other examples
    features, calls = ask_memory(place)
    assert calls == 1
    assert torch.equal(features, place * 2.0)
