"""The sets of the masked autoregressive flow paper, on small files of the same form, against its steps done by hand."""

from __future__ import annotations

import io
import shlex
import sys
import tarfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from genlab.core.errors import GenlabError
from genlab.data.density_sets import BSDS300, DensitySet, Gas, Hepmass, Miniboone, Power
from genlab.data.files import file_checksum

SPLITS = ("train", "validation", "test")


def small(
    cls: type[DensitySet], root: Path, rows: tuple[int, int, int], num_dims: int | None = None, **changed: object
) -> DensitySet:
    """The set with files of fewer rows."""
    return type(cls.__name__, (cls,), {"rows": rows, "num_dims": num_dims or cls.num_dims, **changed})(root=root)


def split(data: DensitySet) -> list[np.ndarray]:
    return [data.tensors(name).x.numpy() for name in SPLITS]


def saved(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True)
    np.save(path, values)


def raw(rows: int, columns: int) -> np.ndarray:
    return np.random.default_rng(1).gamma(2.0, 3.0, (rows, columns))


def test_power_has_its_noise_and_standardized_units(tmp_path: Path) -> None:
    data = raw(205, 8)
    saved(tmp_path / "maf_power" / "power" / "data.npy", data)
    found = split(small(Power, tmp_path, (167, 18, 20)))
    random = np.random.RandomState(42)
    order = np.arange(205)
    random.shuffle(order)
    voltage, power, meters = random.rand(205), random.rand(205), random.rand(205, 3)
    by_hand = data[order][:, [0, 2, 4, 5, 6, 7]]
    by_hand += np.stack([0.001 * power, 0.01 * voltage, *meters.T, np.zeros(205)], axis=1)
    mean, deviation = by_hand[:185].mean(0), by_hand[:185].std(0)
    for part, expected in zip(found, np.split((by_hand - mean) / deviation, [167, 185]), strict=True):
        assert part == pytest.approx(expected, abs=1e-5)
        assert part.dtype == np.float32


def test_miniboone_is_standardized_without_the_test_rows(tmp_path: Path) -> None:
    data = raw(100, 43)
    data[90:] += 50
    saved(tmp_path / "maf_miniboone" / "miniboone" / "data.npy", data)
    train, validation, test = split(small(Miniboone, tmp_path, (81, 9, 10)))
    known = np.concatenate([train, validation])
    assert known.mean(0) == pytest.approx(np.zeros(43), abs=1e-5)
    assert known.std(0) == pytest.approx(np.ones(43), abs=1e-4)
    assert test == pytest.approx((data[90:] - data[:90].mean(0)) / data[:90].std(0), rel=1e-4)


def test_gas_leaves_out_the_first_of_correlated_columns(tmp_path: Path) -> None:
    free = np.random.default_rng(0).standard_normal((60, 3))
    near = free[:, :1] + 0.01 * free[:, 1:2]
    data = np.hstack([free, near, near + 0.001 * free])  # columns 0, 3, 4, 5 and 6 are of a kind
    path = tmp_path / "maf_gas" / "ethylene_CO.csv"
    path.parent.mkdir()
    rows = [f"{row},0,0," + ",".join(map(repr, values)) for row, values in enumerate(data.tolist())]
    path.write_text("\n".join(["Time,Meth,Eth,1,2,3,4,5,6,7", *rows]))
    found = np.concatenate(split(small(Gas, tmp_path, (49, 5, 6), 3)))
    expected = data[:, [1, 2, 6]]
    assert found == pytest.approx((expected - expected.mean(0)) / expected.std(0, ddof=1), abs=1e-5)


def test_hepmass_is_the_signal_without_columns_whose_least_value_comes_often(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    train, test = random.standard_normal((80, 4)), random.standard_normal((40, 5))
    train[:, 0], test[:, 0] = np.arange(80) % 2, np.arange(40) % 2
    train[:, 2] = np.maximum(train[:, 2], 0)
    train[:, 3] = np.minimum(train[:, 3], 0)  # often its greatest value, which does not count
    folder = tmp_path / "maf_hepmass" / "hepmass"
    folder.mkdir(parents=True)
    for name, rows, header in (("train", train, "label,a,b,c"), ("test", test, "label,a,b,c,mass")):
        np.savetxt(folder / f"1000_{name}.csv", rows, delimiter=",", header=header, comments="# ")
    signal = train[1::2, 1:]
    most = [sorted(Counter(column).items())[0][1] for column in signal.T]
    assert [count > 5 for count in most] == [False, True, False]
    mean, deviation = signal.mean(0), signal.std(0, ddof=1)
    found = split(small(Hepmass, tmp_path, (36, 4, 20), 2))
    for part, expected in zip(found, (signal[:36], signal[36:], test[1::2, 1:4]), strict=True):
        assert part == pytest.approx(((expected - mean) / deviation)[:, [0, 2]], abs=1e-5)


def test_bsds300_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = {name: raw(rows, 63) for name, rows in zip(SPLITS, (7, 3, 4), strict=True)}
    path = tmp_path / "maf_bsds300" / "BSDS300" / "BSDS300.hdf5"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")

    class File(dict):
        def __init__(self, place: Path, mode: str) -> None:
            assert (place, mode) == (path, "r")
            super().__init__(parts)

        def __enter__(self) -> File:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setitem(sys.modules, "h5py", SimpleNamespace(File=File))
    for found, expected in zip(split(small(BSDS300, tmp_path, (7, 3, 4))), parts.values(), strict=True):
        assert found == pytest.approx(expected, rel=1e-6)
    del parts["test"]
    with pytest.raises(GenlabError, match=r"bsds300 in .* cannot be read: 'test' Remove them"):
        small(BSDS300, tmp_path, (7, 3, 4)).tensors("test")


def test_bsds300_says_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(GenlabError, match=r"needs h5py: pip install 'genlab\[hdf5\]'"):
        BSDS300(root=tmp_path).tensors("test")


def test_gas_says_how_its_file_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = small(Gas, Path("my data"), (49, 5, 6))
    with pytest.raises(GenlabError, match=r"ethylene_CO\.csv is missing, and is not downloaded: .*pickle") as caught:
        data.tensors("train")
    _, command = str(caught.value).splitlines()
    python, option, code, *paths = shlex.split(command)
    assert (python, option) == ("python", "-c")
    pickle = tmp_path / "my data" / "maf_gas" / "ethylene_CO.pickle"
    pickle.parent.mkdir(parents=True)
    pickle.touch()

    class Frame(SimpleNamespace):
        def to_csv(self, path: str, index: bool) -> None:
            assert not index
            np.savetxt(path, raw(60, 8), delimiter=",", header="a,b,c,d,e,f,g,h", comments="")

    def read_pickle(path: str) -> Frame:
        assert Path(path).is_file()
        return Frame()

    monkeypatch.setitem(sys.modules, "pandas", SimpleNamespace(read_pickle=read_pickle))
    monkeypatch.setattr(sys, "argv", ["-c", *paths])
    monkeypatch.chdir("/")  # wherever it is called
    exec(code, {})
    monkeypatch.chdir(tmp_path)
    assert data.tensors("train").x.shape == (49, 8)


def test_other_files_are_refused(tmp_path: Path) -> None:
    saved(tmp_path / "maf_miniboone" / "miniboone" / "data.npy", raw(100, 43))
    with pytest.raises(GenlabError, match=r"has 81, 9, 10 rows of 43 columns, expected 29,556, 3,284, 3,648 "):
        Miniboone(root=tmp_path).tensors("train")


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"cos\nsystem\n(S'true'\ntR."])
def test_a_file_that_is_no_array_is_refused_and_never_unpickled(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "maf_power" / "power" / "data.npy"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(GenlabError, match=r"The files of power in .* cannot be read: .* Remove them"):
        Power(root=tmp_path).tensors("train")


def test_a_missing_file_comes_out_of_the_archive(tmp_path: Path, mirror: SimpleNamespace) -> None:
    saved(tmp_path / "given" / "data.npy", raw(100, 43))
    content = (tmp_path / "given" / "data.npy").read_bytes()
    packed = mirror.folder / "data.tar.gz"
    with tarfile.open(packed, "w:gz") as tar:
        for name, part in (("data/power/data.npy", b"other"), ("data/miniboone/data.npy", content)):
            info = tarfile.TarInfo(name)
            info.size = len(part)
            tar.addfile(info, io.BytesIO(part))
    (published,) = Miniboone.folders
    assert published.checksum == "md5:9b9c9b0375315ad270eba4ce80c093ab"
    ours = replace(published, mirrors=(mirror.url,), checksum=file_checksum(packed, "md5"))
    root = tmp_path / "root"
    assert len(small(Miniboone, root, (81, 9, 10), folders=(ours,)).tensors("test").x) == 10
    assert (root / "maf_miniboone" / "miniboone" / "data.npy").read_bytes() == content
    assert len(list(root.rglob("*.npy"))) == 1
