"""No example of a test split is among those that a model was trained on, or chosen by, whatever its label."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from genlab.data.base import GenlabDataModule
from genlab.data.npz import Npz
from genlab.data.own import CsvTable
from genlab.data.tables import BreastCancer, Diabetes, Wine


def check_no_leak(data: GenlabDataModule) -> None:
    train, validation, test = (
        {row.tobytes() for row in data.tensors(split).x.numpy()} for split in ("train", "validation", "test")
    )
    assert test
    assert not test & train
    assert not test & validation
    assert not train & validation


@pytest.mark.parametrize("make", [Wine, BreastCancer, Diabetes])
def test_tables_of_scikit_learn_leak_nothing(make: type[GenlabDataModule]) -> None:
    check_no_leak(make(rounding="cells"))  # noise would hide it


FILES: dict[str, Callable[[Path], GenlabDataModule]] = {
    "penguins": lambda root: CsvTable(path=root / "tables/penguins.csv", missing="drop", target="species"),
    "mpg": lambda root: CsvTable(path=root / "tables/mpg.csv", target="class"),
    "diamonds": lambda root: CsvTable(path=root / "tables/diamonds.csv", target="cut"),
    "brainslices_64": lambda root: Npz(root, path=root / "medical/brainslices_64.npz"),
}


@pytest.mark.real_data
@pytest.mark.parametrize("real_root", ["tables"], indirect=True)
@pytest.mark.parametrize("name", FILES)
def test_files_leak_nothing(name: str, real_root: Path) -> None:
    if name.startswith("brain") and not (real_root / "medical").is_dir():
        pytest.skip("GENLAB_DATA has no folder medical")
    check_no_leak(FILES[name](real_root))
