"""npz files of MedMNIST's layout: what they may hold, what is said to others, and that nothing leaks into the test."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from genlab.core.errors import GenlabError
from genlab.data.base import Split
from genlab.data.npz import Npz
from tests.tiny import train

SPLITS = get_args(Split)


def arrays(*sizes: int, shape: tuple[int, ...] = (8, 8), classes: int = 3) -> dict[str, np.ndarray]:
    """Pictures of noise, no two alike, with their labels."""
    random = np.random.RandomState(0)
    made = {}
    for prefix, size in zip(("train", "val", "test"), sizes or (30, 6, 9), strict=True):
        if size:
            made[f"{prefix}_images"] = random.randint(0, 256, (size, *shape)).astype(np.uint8)
            made[f"{prefix}_labels"] = np.arange(size).reshape(-1, 1).astype(np.uint8) % classes
    return made


def written(folder: Path, content: dict[str, np.ndarray], name: str = "scans.npz") -> Path:
    np.savez_compressed(folder / name, **content)
    return folder / name


def test_the_splits_are_those_of_the_file(tmp_path: Path) -> None:
    content = arrays()
    data = Npz(path=written(tmp_path, content))
    assert (data.spec.shape, data.spec.levels, data.spec.num_classes) == ((1, 8, 8), 256, 3)
    assert data.spec.name.startswith("npz_scans_")
    for split, prefix in zip(SPLITS, ("train", "val", "test"), strict=True):
        x, y, *_ = data.tensors(split)
        assert np.array_equal(x[:, 0].numpy(), content[f"{prefix}_images"])
        assert (y.dtype, y.tolist()) == (torch.int64, content[f"{prefix}_labels"][:, 0].tolist())
        assert data.split_name(split) == split


def test_colours_stand_first(tmp_path: Path) -> None:
    content = arrays(shape=(4, 6, 3))
    data = Npz(path=written(tmp_path, content))
    assert data.spec.shape == (3, 4, 6)
    assert data.tensors("test").x[2, 1, 3, 5] == content["test_images"][2, 3, 5, 1]


@pytest.mark.parametrize(
    "labels", [None, np.zeros((30, 14), np.uint8), np.zeros((30, 1), np.uint8)], ids=["none", "several", "all the same"]
)
def test_what_are_no_classes_is_left_out(tmp_path: Path, labels: np.ndarray | None) -> None:
    content = {name: array for name, array in arrays().items() if "labels" not in name}
    if labels is not None:
        content |= {f"{name}_labels": labels[: len(content[f"{name}_images"])] for name in ("train", "val", "test")}
    data = Npz(path=written(tmp_path, content))
    assert data.spec.num_classes is None
    assert data.tensors("train").y is None


def test_validation_is_drawn_from_training_pictures_where_there_is_none(tmp_path: Path) -> None:
    content = arrays(60, 0, 9)
    content["train_images"][1:60:3] = content["train_images"][1]  # one picture twenty times, in one class
    data = Npz(path=written(tmp_path, content))
    parts = {split: {row.numpy().tobytes() for row in data.tensors(split).x} for split in SPLITS}
    assert not parts["train"] & parts["validation"]
    assert len(data.tensors("train").x) + len(data.tensors("validation").x) == 60
    assert len(parts["validation"]) == 5, "a tenth of the 20, 1 and 20 pictures of the classes, and at least one"


def test_no_picture_is_in_two_splits(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    content = arrays()
    content["train_images"][:4] = content["test_images"][0]
    content["train_images"][4] = content["val_images"][0]
    content["val_images"][1] = content["test_images"][8]
    data = Npz(path=written(tmp_path, content))
    with caplog.at_level(logging.WARNING):
        parts = {split: data.tensors(split) for split in SPLITS}
    assert [len(parts[split].x) for split in SPLITS] == [25, 5, 9]
    assert parts["train"].y.tolist() == [number % 3 for number in range(5, 30)]
    assert "left out 1 picture of validation and 5 pictures of train" in caplog.text
    assert data.split_name("test") == "test (what it shares with earlier splits is left out there)"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test_images": None}, "has no array test_images, expected train_images, test_images"),
        ({"train_images": np.zeros((30, 8, 8))}, "train_images is float64, expected uint8"),
        ({"train_images": np.zeros((30, 8, 8, 8), np.uint8)}, r"shape \(30, 8, 8, 8\), expected pictures, \[N, H, W\]"),
        ({"val_images": np.zeros((6, 8, 9), np.uint8)}, "has pictures of several shapes"),
        ({"test_images": np.zeros((0, 8, 8), np.uint8)}, r"shape \(0, 8, 8\)"),
        ({"test_labels": np.zeros(3, np.uint8)}, "expected classes of 9 pictures as whole numbers"),
        ({"test_labels": np.full(9, -1)}, "expected classes of 9 pictures as whole numbers"),
        ({"test_labels": np.full(9, 0.5)}, "expected classes of 9 pictures as whole numbers"),
    ],
)
def test_another_layout_is_told(tmp_path: Path, change: dict[str, np.ndarray | None], message: str) -> None:
    content = {name: array for name, array in (arrays() | change).items() if array is not None}
    with pytest.raises(GenlabError, match=rf"scans.npz.*{message}"):
        Npz(path=written(tmp_path, content))


class Trap:
    """Says so if it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return (pytest.fail, ("it was unpickled",))


def test_nothing_unpickles(tmp_path: Path) -> None:
    pickled = np.array([Trap()], dtype=object)
    with pytest.raises(GenlabError, match="cannot be read as an npz file of plain arrays"):
        Npz(path=written(tmp_path, arrays() | {"test_labels": pickled}))
    (tmp_path / "whole.npz").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(GenlabError, match="cannot be read as an npz file of plain arrays"):
        Npz(path=tmp_path / "whole.npz")


def test_a_path_that_is_no_npz_is_told(tmp_path: Path) -> None:
    cut = written(tmp_path, arrays()).read_bytes()[:-40]
    (tmp_path / "cut.npz").write_bytes(cut)
    for path, words in (
        (None, "data.path is not given, expected an npz file"),
        (tmp_path, "is a folder, expected an npz file"),
        (tmp_path / "no.npz", "No such file"),
        (tmp_path / "cut.npz", "cannot be read as an npz file"),
    ):
        with pytest.raises(GenlabError, match=words):
            Npz(path=path)


def test_pictures_that_are_damaged_are_told_when_they_are_read(tmp_path: Path) -> None:
    path = written(tmp_path, arrays(), "bad.npz")
    content = bytearray(path.read_bytes())
    content[200:900] = bytes(700)
    path.write_bytes(content)
    with pytest.raises(GenlabError, match=r"bad\.npz cannot be read as an npz file"):
        Npz(path=path).tensors("train")


def test_another_state_of_a_file_is_another_data_set(tmp_path: Path) -> None:
    data = Npz(path=written(tmp_path, arrays()))
    assert Npz(path=written(tmp_path, arrays(classes=2))).spec.name != data.spec.name
    written(tmp_path, arrays(shape=(9, 9)))
    with pytest.raises(GenlabError, match="If it has changed, start again"):
        data.tensors("test")


def test_half_of_the_training_pictures_are_mirrored_on_request(tmp_path: Path) -> None:
    path = written(tmp_path, arrays(200, 6, 9))
    plain, mirrored = (Npz(path=path, flip=flip, batch_size=200) for flip in (False, True))
    x, drawn = (data.train_dataloader().batch(0).x for data in (plain, mirrored))
    flipped = (drawn == x.flip(3)).flatten(1).all(1)
    assert ((drawn == x).flatten(1).all(1) != flipped).all()
    assert 70 < int(flipped.sum()) < 130
    assert not torch.equal(mirrored.train_dataloader().batch(0).x, mirrored.train_dataloader().batch(1).x)
    assert torch.equal(mirrored.tensors("train").x, plain.tensors("train").x), "the split itself is as it was"


@pytest.mark.real_data
@pytest.mark.parametrize("real_root", ["medical"], indirect=True)
def test_slices_of_a_brain(real_root: Path) -> None:
    data = Npz(path=real_root / "medical" / "brainslices_64.npz")
    assert (data.spec.shape, data.spec.num_classes) == ((1, 64, 64), 3)
    assert [len(data.tensors(split).x) for split in SPLITS] == [239, 55, 57], "26 of 377 are in a later split too"


def test_a_file_of_ones_own_is_trained_on_by_one_command(tmp_path: Path) -> None:
    path = written(tmp_path, arrays(64, 32, 32))
    result = train(tmp_path, "data=npz", f"data.path={path}", "budget.examples=64", "model.conditional=true")
    assert result.data.name.startswith("npz_scans_")
    assert (result.data.shape, result.data.num_classes) == ((1, 8, 8), 3)
