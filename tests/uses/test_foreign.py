"""Samples of other programs: what is read is what was written, and what is no sample is refused in a line."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from genlab.core.errors import GenlabError
from genlab.core.spec import DataSpec, Field
from genlab.modalities import modality_of
from genlab.runs.atomic import write_atomic
from genlab.uses.foreign import read_samples
from tests.contract.families import make_batch

GRAY = DataSpec("gray", "image", (1, 4, 6), levels=17)
COLOUR = DataSpec("colour", "image", (3, 4, 6), levels=256)
SOUND = DataSpec("sound", "waveform", (1, 40), levels=65536, sampling_rate_hz=8000)
TEXT = DataSpec("text", "text", (5,), levels=4, alphabet="ab\né")
BYTES = DataSpec("bytes", "text", (5,), levels=256)
TABLE = DataSpec(
    "table", "table", (3,), fields=(Field("size"), Field("kind", 3, ("x", "y", "z, w")), Field("n", decimals=1))
)
CLASSES = DataSpec("classes", "image", (1, 4, 6), levels=17, num_classes=3)
KINDS = [GRAY, COLOUR, SOUND, TEXT, TABLE, DataSpec("plane", "vector", (2,)), DataSpec("series", "series", (2, 4))]


def of(spec: DataSpec, n: int = 101) -> Tensor:
    return make_batch(spec, n).x


def array(path: Path, x: Tensor) -> Path:
    content = io.BytesIO()
    if path.suffix == ".npy":
        np.save(content, x.numpy())
    else:
        np.savez_compressed(content, other=np.zeros(3), samples=x.numpy())
    write_atomic(path, content.getvalue())
    return path


@pytest.mark.parametrize("spec", KINDS, ids=lambda spec: spec.name)
def test_arrays_are_read_as_they_are(spec: DataSpec, tmp_path: Path) -> None:
    x = of(spec)
    save_file({"x": x}, tmp_path / "a.safetensors")
    for path in (array(tmp_path / "a.npy", x), array(tmp_path / "a.npz", x), tmp_path / "a.safetensors"):
        found = read_samples(path, spec).x
        assert torch.equal(found, x)
        assert found.dtype == modality_of(spec).dtype(spec)


@pytest.mark.parametrize("spec", [GRAY, COLOUR, SOUND, TEXT, BYTES], ids=lambda spec: spec.name)
def test_a_folder_of_files_is_read_in_the_order_of_their_names(spec: DataSpec, tmp_path: Path) -> None:
    x = of(spec)
    for number, example in enumerate(x):
        assert modality_of(spec).write_one(example, spec, tmp_path / f"{number:03d}") is not None
    (tmp_path / "notes.md").write_text("no sample")
    found = read_samples(tmp_path, spec).x
    assert torch.equal(found, x)
    assert found.dtype == x.dtype


@pytest.mark.parametrize("spec", [TABLE, KINDS[-1]], ids=lambda spec: spec.name)
def test_a_file_of_all(spec: DataSpec, tmp_path: Path) -> None:
    x = of(spec)
    (path,) = modality_of(spec).write(x, spec, tmp_path / "a")
    found = read_samples(path, spec).x
    assert torch.equal(found[:, 1:2], x[:, 1:2])
    assert found.is_contiguous()
    assert torch.allclose(found, x, atol=0.06)  # numbers are written with the column's decimals


def test_labels_beside_samples(tmp_path: Path) -> None:
    x, y = of(CLASSES), torch.arange(101) % 3
    for name, labels, says in (("y", y, ""), ("labels", y, ""), ("y", y + 1, "from 1 to 3"), ("y", y[1:], "[101]"),
                               ("y", y / 2, "expected whole numbers")):  # fmt: skip
        save_file({"x": x, name: labels}, tmp_path / "a.safetensors")
        if not says:
            assert torch.equal(read_samples(tmp_path / "a.safetensors", CLASSES).y, y)
            continue
        with pytest.raises(GenlabError) as refused:
            read_samples(tmp_path / "a.safetensors", CLASSES)
        assert says in str(refused.value)
    assert read_samples(array(tmp_path / "a.npy", x), CLASSES).y is None
    save_file({"x": x, "y": y}, tmp_path / "a.safetensors")
    assert read_samples(tmp_path / "a.safetensors", GRAY).y is None, "data without classes"


def test_a_long_text_is_cut_into_windows(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("abé\na" * 100 + "ab")
    assert torch.equal(read_samples(tmp_path / "a.txt", TEXT).x, torch.tensor([[0, 1, 3, 2, 0]]).expand(100, -1))


def test_channels_may_come_last_or_be_left_out(tmp_path: Path) -> None:
    gray, colour = of(GRAY), of(COLOUR)
    assert torch.equal(read_samples(array(tmp_path / "a.npy", gray[:, 0]), GRAY).x, gray)
    assert torch.equal(read_samples(array(tmp_path / "b.npy", colour.permute(0, 2, 3, 1)), COLOUR).x, colour)


def picture(folder: Path, size: tuple[int, int], mode: str = "L", value: int = 0) -> Path:
    folder.mkdir()
    content = io.BytesIO()
    Image.new(mode, size, value).save(content, format="PNG")
    for number in range(100):
        write_atomic(folder / f"{number}.png", content.getvalue())
    return folder


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path("evil"),))


def pickled(path: Path) -> Path:
    content = io.BytesIO()
    np.save(content, np.array([Evil()] * 200, dtype=object), allow_pickle=True)
    write_atomic(path, content.getvalue())
    return path


WRONG = {
    "nothing": (lambda p: p / "no.npz", GRAY, "no such file"),
    "an ending": (lambda p: array(p / "a.npy", of(GRAY)).rename(p / "a.mat"), GRAY, "expected a file .npz, .npy"),
    "an empty folder": (lambda p: p, GRAY, "no files .png"),
    "a folder of vectors": (lambda p: p, DataSpec("v", "vector", (2,)), "is in one file"),
    "floats in [0, 1]": (lambda p: array(p / "a.npy", of(GRAY) / 16), GRAY, "x is float32, expected whole numbers"),
    "too bright": (lambda p: array(p / "a.npy", of(GRAY) + 17), GRAY, "x has values from"),
    "a shape": (lambda p: array(p / "a.npy", of(COLOUR)), GRAY, "x has shape"),
    "too few": (lambda p: array(p / "a.npy", of(GRAY, 99)), GRAY, "holds 99 samples, expected at least 100"),
    "not finite": (lambda p: array(p / "a.npy", of(KINDS[5]) / 0), KINDS[5], "not finite"),
    "a size": (lambda p: picture(p / "a", (5, 4)), GRAY, "5 x 4 pixels in mode L, expected 6 x 4"),
    "a mode": (lambda p: picture(p / "a", (6, 4), "RGB"), GRAY, "mode RGB"),
    "a gray between": (lambda p: picture(p / "a", (6, 4), value=3), GRAY, "between those of the 17 levels"),
    "a pickle": (lambda p: pickled(p / "a.npy"), GRAY, "cannot be read"),
    "bytes": (lambda p: (write_atomic(p / "a.npz", b"no zip"), p / "a.npz")[1], GRAY, "cannot be read"),
    "a symbol": (
        lambda p: (write_atomic(p / "a.txt", "abc"), p / "a.txt")[1],
        TEXT,
        "not in the alphabet of text: 'c'",
    ),
    "a column": (lambda p: (write_atomic(p / "a.csv", "size,kind\n1,x\n"), p / "a.csv")[1], TABLE, "no column 'n'"),
    "a category": (
        lambda p: (write_atomic(p / "a.csv", "size,kind,n\n1,q,2\n"), p / "a.csv")[1],
        TABLE,
        "has 'q' in column 'kind', expected one of x, y",
    ),
    "no number": (lambda p: (write_atomic(p / "a.csv", "size,kind,n\n1,x,?\n"), p / "a.csv")[1], TABLE, "a number"),
    "a short window": (
        lambda p: (write_atomic(p / "a.csv", "window,step,column_1,column_2\n1,1,0,0\n"), p / "a.csv")[1],
        KINDS[-1],
        "has 1 lines, expected 4 of each window",
    ),
    "windows out of step": (
        lambda p: (write_atomic(p / "a.csv", "window,column_1,column_2\n1,0,0\n1,0,0\n2,0,0\n2,0,0\n"), p / "a.csv")[1],
        KINDS[-1],
        "one window after the other",
    ),
    "a short line": (lambda p: (write_atomic(p / "a.csv", "size,kind,n\n1,x\n"), p / "a.csv")[1], TABLE, "line 2"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_sample_is_said_in_a_line(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make, spec, says = WRONG[name]
    with pytest.raises(GenlabError) as refused:
        read_samples(make(tmp_path), spec)
    assert says in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
    assert not (tmp_path / "evil").exists()
