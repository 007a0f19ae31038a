"""The density-estimation sets of the masked autoregressive flow paper, with its preprocessing.

Papamakarios, Pavlakou and Murray (2017), "Masked Autoregressive Flow for Density Estimation", section 4 and appendix D.
Their preprocessing is part of what each set is: standardized columns, POWER's added noise, the rows of each split, all
as in the code that they published beside the files. Figures are nats per example in these standardized units, as in the
literature. One archive of 817 MB holds the files of four of the sets; where it has been unpacked otherwise, only the
one file that a set reads is looked for.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from types import ModuleType
from typing import ClassVar, Unpack

import numpy as np
import torch

from genlab.core.batch import Batch
from genlab.core.errors import GenlabError, shown
from genlab.core.spec import DataSpec
from genlab.data.base import GenlabDataModule, LoaderOptions, Split
from genlab.data.files import FolderArchive

__all__ = ["BSDS300", "DensitySet", "Gas", "Hepmass", "Miniboone", "Power"]

_HELD_OUT = 0.1
"""Part of all rows that are tested, and of the others that are validated."""
_CORRELATED = 0.98
"""Correlation above which the first of two columns of GAS is left out."""
_MOST_REPEATS = 5
"""How often the smallest value of a column of HEPMASS may be there; a column that has it more often is left out."""


def _archive(name: str, members: tuple[str, ...]) -> tuple[FolderArchive, ...]:
    """Return the authors' archive as what holds the files of one set.

    The checksum is that of the archive; the files are counted, and their rows are when they are read.
    """
    mirrors = ("https://zenodo.org/records/1161203/files/",)
    checksum = "md5:9b9c9b0375315ad270eba4ce80c093ab"
    return (FolderArchive("data.tar.gz", mirrors, f"maf_{name}", members, len(members), checksum=checksum),)


class DensitySet(GenlabDataModule):
    """Points of a fixed data set, float32 ``[N, D]``, in standardized units.

    A data set is a subclass that says its :attr:`name` and sizes, and reads its files with :meth:`arrays`.

    The arguments are those of :class:`genlab.data.base.GenlabDataModule`.

    Attributes:
        name: What it is called in results.
        num_dims: Number of dimensions that are left after the preprocessing.
        rows: Rows of train, validation and test in the literature.
    """

    name: ClassVar[str]
    num_dims: ClassVar[int]
    rows: ClassVar[tuple[int, int, int]]

    def __init__(
        self,
        root: str | Path = "data",
        **loader: Unpack[LoaderOptions],
    ) -> None:
        loader.setdefault("batch_size", 256)
        super().__init__(root, **loader)
        self.spec = DataSpec(self.name, "vector", (self.num_dims,))

    @property
    def folder(self) -> Path:
        """Where its files lie."""
        return self.root / f"maf_{self.name}"

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return train, validation and test, each ``[N, D]``, standardized."""
        raise NotImplementedError

    def load(self, split: Split) -> dict[Split, Batch]:
        try:
            train, validation, test = self.arrays()
        except (OSError, ValueError, EOFError) as error:  # what NumPy says of a file that is cut off or another
            reason = " ".join(str(error).split())[:200]
            raise GenlabError(
                f"The files of {self.name} in {shown(self.folder)} cannot be read: {reason} "
                "Remove them, and they are downloaded again."
            ) from error
        found: dict[Split, np.ndarray] = {"train": train, "validation": validation, "test": test}
        shapes = [array.shape for array in found.values()]
        expected = [(rows, self.num_dims) for rows in self.rows]
        if shapes != expected:
            raise GenlabError(
                f"{self.name} in {shown(self.folder)} has {_sizes(shapes)}, expected {_sizes(expected)} of the "
                "literature: the files are others. Remove them, and they are downloaded again."
            )
        return {name: Batch(torch.from_numpy(array.astype(np.float32))) for name, array in found.items()}


def _sizes(shapes: list[tuple[int, ...]]) -> str:
    rows = ", ".join(f"{shape[0]:,}" for shape in shapes)
    return f"{rows} rows of {shapes[0][-1]} columns"


def _split(data: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut off the last tenth of the rows to test, and the last tenth of the others to validate."""
    test = int(_HELD_OUT * len(data))
    validation = int(_HELD_OUT * (len(data) - test))
    train = len(data) - test - validation
    return data[:train], data[train : train + validation], data[train + validation :]


def _standardized(parts: tuple[np.ndarray, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Standardize by the mean and the deviation of all but the last part."""
    known = np.concatenate(parts[:-1])
    train, validation, test = ((part - known.mean(axis=0)) / known.std(axis=0) for part in parts)
    return train, validation, test


class Power(DensitySet):
    """POWER: electric power that a household used, in a minute each, 6 dimensions.

    The rows are shuffled, two columns left out, and uniform noise added: up to a hundredth of a volt to the voltage, a
    thousandth of a kilowatt to the power, and one watt-hour to what three meters say. Source: UCI, household power
    consumption.

    The arguments are those of :class:`DensitySet`.
    """

    name = "power"
    num_dims = 6
    rows = (1_659_917, 184_435, 204_928)
    folders = _archive("power", ("power/data.npy",))

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        # RandomState, in the order of the published code: its stream is part of what the set is.
        random = np.random.RandomState(42)
        data = np.load(self.folder / "power" / "data.npy", allow_pickle=False)
        random.shuffle(data)
        data = np.delete(data, (1, 3), axis=1)
        count = len(data)
        voltage, power, meters = 0.01 * random.rand(count, 1), 0.001 * random.rand(count, 1), random.rand(count, 3)
        data = data + np.hstack((power, voltage, meters, np.zeros((count, 1))))
        return _standardized(_split(data))


class Gas(DensitySet):
    """GAS: readings of chemical sensors in a mixture of ethylene and carbon monoxide, 8 dimensions.

    A quarter of the rows that UCI has, chosen at random by the authors, so that only their file gives the set. It is a
    pickle, which could run code and is never opened here: its owner makes a CSV file of it. Of two columns with a
    correlation above 0.98 the first is left out, again and again; all rows, tested ones too, give mean and deviation.

    The arguments are those of :class:`DensitySet`.
    """

    name = "gas"
    num_dims = 8
    rows = (852_174, 94_685, 105_206)
    left_out = ("Meth", "Eth", "Time")

    def prepare_data(self) -> None:
        path = self.folder / "ethylene_CO.csv"
        if not path.is_file():
            csv = path.absolute()
            paths = " ".join(shlex.quote(shown(file)) for file in (csv.with_suffix(".pickle"), csv))
            raise GenlabError(
                f"{shown(path)} is missing, and is not downloaded: https://zenodo.org/records/1161203 has it as a "
                f"pickle, which could run code. If you trust it, put {path.stem}.pickle into that folder, and make the "
                'file once:\npython -c "import sys, pandas; pandas.read_pickle(sys.argv[1]).to_csv(sys.argv[2], '
                f'index=False)" {paths}'
            )
        super().prepare_data()

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        names, data = _read_csv(self.folder / "ethylene_CO.csv")
        data = data[:, [place for place, name in enumerate(names) if name not in self.left_out]]
        while len(correlated := np.flatnonzero((np.corrcoef(data.T) > _CORRELATED).sum(axis=1) > 1)):
            data = np.delete(data, correlated[0], axis=1)
        return _split((data - data.mean(axis=0)) / data.std(axis=0, ddof=1))


class Hepmass(DensitySet):
    """HEPMASS: collisions that made a particle of mass 1000, as physicists simulate them, 21 dimensions.

    Only what is labelled as signal; columns in which few values come again and again are left out. The rows of the test
    file are tested. Source: UCI.

    The arguments are those of :class:`DensitySet`.
    """

    name = "hepmass"
    num_dims = 21
    rows = (315_123, 35_013, 174_987)
    folders = _archive("hepmass", ("hepmass/1000_train.csv", "hepmass/1000_test.csv"))

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        data, test = (_read_csv(self.folder / "hepmass" / f"1000_{part}.csv")[1] for part in ("train", "test"))
        columns = data.shape[1]
        # The test file has one column more, the last.
        data, test = data[data[:, 0] == 1, 1:], test[test[:, 0] == 1, 1:columns]
        mean, deviation = data.mean(axis=0), data.std(axis=0, ddof=1)
        # In the published code, too, it is the smallest value that is counted.
        kept = (data == data.min(axis=0)).sum(axis=0) <= _MOST_REPEATS
        data, test = ((part - mean)[:, kept] / deviation[kept] for part in (data, test))
        train = len(data) - int(_HELD_OUT * len(data))
        return data[:train], data[train:], test


class Miniboone(DensitySet):
    """MINIBOONE: neutrinos and what looks like them in a detector, 43 dimensions.

    The authors' file, from which they left out rows that are far away, and columns in which few values come again and
    again. Source: UCI.

    The arguments are those of :class:`DensitySet`.
    """

    name = "miniboone"
    num_dims = 43
    rows = (29_556, 3_284, 3_648)
    folders = _archive("miniboone", ("miniboone/data.npy",))

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return _standardized(_split(np.load(self.folder / "miniboone" / "data.npy", allow_pickle=False)))


class BSDS300(DensitySet):
    """BSDS300: patches of 8 x 8 pixels of photographs, 63 dimensions.

    The authors' file, with noise added to the pixels, the mean of a patch taken away and its last pixel left out; not
    standardized. It is an HDF5 file, which h5py reads. Source: the Berkeley Segmentation Dataset.

    The arguments are those of :class:`DensitySet`.
    """

    name = "bsds300"
    num_dims = 63
    rows = (1_000_000, 50_000, 250_000)
    folders = _archive("bsds300", ("BSDS300/BSDS300.hdf5",))

    def prepare_data(self) -> None:
        _h5py()  # said before anything is downloaded
        super().prepare_data()

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        with _h5py().File(self.folder / "BSDS300" / "BSDS300.hdf5", "r") as file:
            try:
                train, validation, test = (np.asarray(file[name]) for name in ("train", "validation", "test"))
            except KeyError as error:
                raise ValueError(str(error)) from error
        return train, validation, test


def _h5py() -> ModuleType:
    try:
        import h5py
    except ImportError as error:
        raise GenlabError("data=bsds300 is an HDF5 file, which needs h5py: pip install 'genlab[hdf5]'.") from error
    return h5py


def _read_csv(path: Path) -> tuple[list[str], np.ndarray]:
    """Read a CSV file of numbers below a line of names, float64; what a row has beyond these is left out."""
    with path.open(encoding="utf-8") as stream:
        names = [name.strip() for name in stream.readline().split(",")]
        return names, np.loadtxt(stream, delimiter=",", usecols=range(len(names)), ndmin=2)
