"""No example of a test split is among those that a model was trained on, or chosen by, whatever its label."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from genlab.data.base import GenlabDataModule
from genlab.data.image_folder import Emoji
from genlab.data.images import MNIST, Digits, FashionMNIST
from genlab.data.npz import Npz
from genlab.data.own import CsvTable
from genlab.data.series import SP500, SeriesFile
from genlab.data.sound import SpokenDigits
from genlab.data.stochastic_volatility import StochasticVolatility
from genlab.data.tables import BreastCancer, Diabetes, Wine
from genlab.data.text import Shakespeare


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


@pytest.mark.parametrize("make", [Digits, StochasticVolatility])
def test_what_comes_without_files_leaks_nothing(make: type[GenlabDataModule]) -> None:
    check_no_leak(make())


def own_table(name: str, **options: str) -> Callable[[Path], GenlabDataModule]:
    return lambda root: CsvTable(path=root / "tables" / name, **options)


# No published split of these has a copy of an example of another split, so that there are no exceptions.
FILES: dict[str, tuple[str, Callable[[Path], GenlabDataModule]]] = {
    "penguins": ("tables", own_table("penguins.csv", missing="drop", target="species")),
    "mpg": ("tables", own_table("mpg.csv", target="class")),
    "diamonds": ("tables", own_table("diamonds.csv", target="cut")),
    "brainslices_64": ("medical", lambda root: Npz(root, path=root / "medical/brainslices_64.npz")),
    "mnist": ("MNIST", MNIST),
    "fashion_mnist": ("FashionMNIST", FashionMNIST),
    "emoji": ("emoji", lambda root: Emoji(root, cache="memory")),
    "spoken_digits": ("fsdd", SpokenDigits),
    "sp500": ("series", SP500),
    "sp500 of 4 steps": ("series", lambda root: SP500(root, length=4)),  # the shorter, the more could be equal
    "nasdaq": ("series", lambda root: SeriesFile(root, path=root / "series/nasdaq.csv")),
    "shakespeare": ("tinyshakespeare", Shakespeare),
}
"""The folder in GENLAB_DATA that each needs, and how it is made."""


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("make", "real_root"), [(make, folder) for folder, make in FILES.values()], ids=FILES, indirect=["real_root"]
)
def test_files_leak_nothing(make: Callable[[Path], GenlabDataModule], real_root: Path) -> None:
    check_no_leak(make(real_root))
