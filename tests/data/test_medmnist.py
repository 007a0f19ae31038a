"""MedMNIST's sets: which there are, from where, and that only the right file is taken."""

from __future__ import annotations

import logging
import re
from http.server import ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from genlab.core.errors import GenlabError
from genlab.data import medmnist
from genlab.data.files import file_checksum
from genlab.data.medmnist import SETS, MedMNIST


def test_twelve_sets_in_two_sizes_with_a_checksum_each() -> None:
    sums = [md5 for one in SETS.values() for md5 in one.md5.values()]
    assert len(SETS) == 12
    assert len(set(sums)) == 24
    assert all(re.fullmatch("[0-9a-f]{32}", md5) for md5 in sums)
    assert [name for name, one in SETS.items() if "NC" in one.licence] == ["dermamnist"]


@pytest.mark.parametrize("name", SETS)
def test_what_one_example_is_is_known_before_any_file(name: str) -> None:
    small, large = MedMNIST(name=name), MedMNIST(name=name, size=64)
    assert small.spec.name == f"medmnist_{name}_28"
    assert large.spec.shape == (small.spec.shape[0], 64, 64)
    assert small.file() == Path("data/medmnist") / f"{name}.npz"
    assert large.file() == Path("data/medmnist") / f"{name}_64.npz"


def test_other_names_and_sizes_are_told() -> None:
    with pytest.raises(GenlabError, match=r"data.name is 'dermnist', expected bloodmnist, .*Did you mean 'dermamnist'"):
        MedMNIST(name="dermnist")
    with pytest.raises(GenlabError, match=r"data\.size is 128, expected 28 or 64"):
        MedMNIST(size=128)


@pytest.fixture
def small_derma(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of the right layout, whose checksum is the one that is asked for."""
    random, content = np.random.RandomState(0), {}
    for prefix, size in (("train", 14), ("val", 7), ("test", 7)):
        content[f"{prefix}_images"] = random.randint(0, 256, (size, 28, 28, 3)).astype(np.uint8)
        content[f"{prefix}_labels"] = np.arange(size)[:, None].astype(np.uint8) % 7
    path = tmp_path / "dermamnist.npz"
    np.savez_compressed(path, **content)
    md5 = file_checksum(path, "md5").removeprefix("md5:")
    monkeypatch.setitem(SETS, "dermamnist", SETS["dermamnist"]._replace(md5={28: md5}))
    return path


def test_a_file_placed_by_hand_is_taken_if_it_is_the_right_one(
    small_derma: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(medmnist, "SOURCE", "http://127.0.0.1:1/")
    data = MedMNIST(tmp_path, name="dermamnist")
    md5 = SETS["dermamnist"].md5[28]
    with pytest.raises(GenlabError, match=rf"Save http://127.0.0.1:1/dermamnist.npz \(md5:{md5}\) to .*dermamnist.npz"):
        data.tensors("train")
    data.file().parent.mkdir(exist_ok=True)
    data.file().write_bytes(small_derma.read_bytes())
    with caplog.at_level(logging.WARNING):
        assert data.tensors("train").x.shape == (14, 3, 28, 28)
    assert "medmnist_dermamnist_28: CC BY-NC 4.0; not for commerce; not for clinical use" in caplog.text
    data.file().write_bytes(small_derma.read_bytes() + b"\0")
    with pytest.raises(GenlabError, match="is truncated or altered"):
        MedMNIST(tmp_path, name="dermamnist").tensors("train")


def test_a_missing_file_is_downloaded(
    small_derma: Path, tmp_path: Path, mirror: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_derma.rename(mirror.folder / "dermamnist.npz")
    monkeypatch.setattr(medmnist, "SOURCE", mirror.url)
    data = MedMNIST(tmp_path, name="dermamnist")
    assert data.tensors("test").y.tolist() == list(range(7))
    assert mirror.requests == ["/dermamnist.npz"]


def test_a_file_that_is_not_what_its_name_says_is_told(
    small_derma: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SETS, "dermamnist", SETS["dermamnist"]._replace(channels=1))
    (tmp_path / "medmnist").mkdir()
    small_derma.rename(tmp_path / "medmnist" / "dermamnist.npz")
    with pytest.raises(GenlabError, match=r"has pictures of shape \(3, 28, 28\)"):
        MedMNIST(tmp_path, name="dermamnist").tensors("test")
