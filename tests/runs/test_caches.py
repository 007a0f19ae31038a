"""Where caches lie: beside the data, else with the user, and never in a folder that is to stay as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from genlab.runs.caches import cache_folders, first_writable, only_with_the_user


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GENLAB_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_beside_the_data_where_that_can_be_written(tmp_path: Path, home: Path) -> None:
    assert first_writable(cache_folders(tmp_path / "data")) == tmp_path / "data" / "genlab_cache"
    assert not (tmp_path / "data").exists(), "a name may be mistyped"
    assert not home.exists()


@pytest.mark.parametrize("kind", ["sealed", "sealed cache", "file"])
def test_with_the_user_where_not(tmp_path: Path, home: Path, kind: str) -> None:
    root = tmp_path / "data"
    if kind == "file":
        root.touch()
    else:
        sealed = root if kind == "sealed" else root / "genlab_cache"
        sealed.mkdir(parents=True)
        sealed.chmod(0o555)  # for root too, who could write there
    assert first_writable(cache_folders(root)) == home / "cache"
    assert (home / "cache").is_dir()


def test_with_the_user_alone_where_a_folder_is_named_by_somebody_else(tmp_path: Path, home: Path) -> None:
    with only_with_the_user():
        assert first_writable(cache_folders(tmp_path / "data")) == home / "cache"
        assert first_writable((tmp_path / "theirs",)) == home / "cache"
    assert first_writable((tmp_path / "theirs",)) == tmp_path / "theirs"


def test_the_systems_place_without_a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GENLAB_HOME", raising=False)
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name, appauthor: str(tmp_path / name))
    assert cache_folders(tmp_path)[1] == tmp_path / "genlab"
