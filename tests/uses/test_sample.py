"""Samples in parts are those drawn at once, and files that were written in parts are what libraries read."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from genlab.core.errors import GenlabError
from genlab.core.noise import ExampleNoise
from genlab.core.randomness import Stream, stream_seed
from genlab.core.spec import Field
from genlab.measure import batches
from genlab.uses.arrays import Stored, write_arrays
from genlab.uses.sample import label_number, labels_of_samples, sample
from tests.contract.families import CASES, make_model

FLOW = next(case for case in CASES if case.id == "flow-tiny_gray-conditional=true")


def test_parts_are_what_is_drawn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model(FLOW).eval()
    noise = ExampleNoise(stream_seed(Stream.SAMPLES, 3), 0)
    with torch.no_grad():
        whole = model.sample(7, torch.full((7,), 2), generator=noise)
    monkeypatch.setattr(batches, "ON_CPU", 3)
    parts = list(sample(model, 7, seed=3, label=2))
    assert [len(part) for part in parts] == [3, 3, 1]
    assert torch.equal(torch.cat(parts), whole)
    assert not torch.equal(torch.cat(list(sample(model, 7, seed=4, label=2))), whole)


def test_labels_that_a_model_has_not() -> None:
    with pytest.raises(GenlabError, match="label is 3, expected 0 to 2"):
        list(sample(make_model(FLOW).eval(), 1, label=3))
    other = next(case for case in CASES if case.id == "flow-tiny_gray")
    with pytest.raises(GenlabError, match="not class-conditional"):
        list(sample(make_model(other).eval(), 1, label=0))


@pytest.mark.parametrize("label", [None, 2])
def test_labels_of_samples_are_those_that_the_model_was_told(
    label: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, told = make_model(FLOW).eval(), []
    draw = model.sample
    monkeypatch.setattr(model, "sample", lambda n, y, generator: told.append(y) or draw(n, y, generator))
    monkeypatch.setattr(batches, "ON_CPU", 8)
    parts = list(sample(model, 20, seed=3, label=label))
    assert len(parts) == len(told) == 3
    labels = labels_of_samples(model, 20, 3, label)
    assert torch.equal(labels, torch.cat(told))
    assert torch.equal(labels_of_samples(model, 5, 3, label, first=9), labels[9:14])
    assert set(labels.tolist()) == ({0, 1, 2} if label is None else {2})
    other = next(case for case in CASES if case.id == "flow-tiny_gray")
    assert labels_of_samples(make_model(other).eval(), 20) is None


def test_a_label_may_be_given_by_its_name() -> None:
    model = make_model(FLOW).eval()
    with pytest.raises(GenlabError, match="label is 'ash', expected a number from 0 to 2"):
        label_number(model, "ash")
    model.spec = replace(model.spec, label=Field("tree", 3, ("elm", "ash", "oak")))
    assert [label_number(model, label) for label in ("ash", 2, None)] == [1, 2, None]
    with pytest.raises(GenlabError, match=r"label is 'oaks', expected one of elm, ash, oak, or .* Did you mean 'oak'"):
        label_number(model, "oaks")
    other = make_model(next(case for case in CASES if case.id == "flow-tiny_gray")).eval()
    with pytest.raises(GenlabError, match=r"label is ash, but this .* is not class-conditional"):
        label_number(other, "ash")


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64, torch.float32, torch.float64])
def test_files_are_what_libraries_read(dtype: torch.dtype, tmp_path: Path) -> None:
    x = (100 * torch.rand(10, 2, 3, generator=torch.Generator().manual_seed(0))).to(dtype)
    y = torch.arange(10)
    for form in ("npz", "safetensors"):
        path = tmp_path / f"a.{form}"
        write_arrays(path, {"x": Stored((10, 2, 3), dtype, iter(x.split(4))), "y": Stored.of(y)}, form)
        read = dict(np.load(path)) if form == "npz" else load_file(path)
        assert torch.equal(torch.as_tensor(read["x"]), x)
        assert torch.equal(torch.as_tensor(read["y"]), y)
    assert zipfile.ZipFile(tmp_path / "a.npz").testzip() is None


def test_a_file_with_too_few_rows_is_not_there(tmp_path: Path) -> None:
    for rows in (3, 5):
        with pytest.raises(ValueError, match=r"missing|a part is"):
            write_arrays(tmp_path / "a.npz", {"x": Stored((4, 1), torch.float32, [torch.zeros(rows, 1)])}, "npz")
    assert not list(tmp_path.iterdir())


def test_the_header_says_what_comes(tmp_path: Path) -> None:
    write_arrays(tmp_path / "a", {"x": Stored.of(torch.zeros(2, 3))}, "safetensors")
    content = (tmp_path / "a").read_bytes()
    size = int.from_bytes(content[:8], "little")
    assert json.loads(content[8 : 8 + size]) == {"x": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}
    assert len(content) == 8 + size + 24
