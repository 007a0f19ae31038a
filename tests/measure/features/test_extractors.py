"""The shipped feature extractors: the files that they should be, and good at what they were trained for."""

from __future__ import annotations

import shutil
from importlib import resources
from pathlib import Path

import pytest
import torch

from genlab.core.errors import GenlabError
from genlab.core.spec import DataSpec
from genlab.data.base import GenlabDataModule
from genlab.data.images import MNIST, BinarizedMNIST, Digits, FashionMNIST
from genlab.measure.features.extractors import EXTRACTORS, ExtractorInfo, extractor_for, load_extractor

WEIGHTS = Path(str(resources.files("genlab.measure.features") / "weights"))
ACCURACY = {"digits": 0.97, "mnist": 0.992, "binarized_mnist": 0.98, "fashion_mnist": 0.92}
MODULES: dict[str, type[GenlabDataModule]] = {
    "digits": Digits, "mnist": MNIST, "binarized_mnist": BinarizedMNIST, "fashion_mnist": FashionMNIST,
}  # fmt: skip


def ids(info: ExtractorInfo) -> str:
    return info.name


@pytest.mark.parametrize("info", EXTRACTORS, ids=ids)
def test_a_file_is_small_and_opens_as_itself(info: ExtractorInfo) -> None:
    assert (WEIGHTS / f"{info.name}.safetensors").stat().st_size < 2**20
    extractor = load_extractor(info)
    assert (extractor.name, extractor.sha256) == (info.name, info.sha256)


def test_every_file_is_listed() -> None:
    assert {path.stem for path in WEIGHTS.glob("*.safetensors")} == {info.name for info in EXTRACTORS}


def test_a_changed_byte_is_refused(tmp_path: Path) -> None:
    info = EXTRACTORS[0]
    copy = tmp_path / f"{info.name}.safetensors"
    shutil.copy(WEIGHTS / copy.name, copy)
    load_extractor(info, tmp_path)
    content = bytearray(copy.read_bytes())
    content[-1] ^= 1
    copy.write_bytes(content)
    with pytest.raises(GenlabError, match=rf"expected {info.sha256}"):
        load_extractor(info, tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(GenlabError, match="is missing: install genlab again"):
        load_extractor(EXTRACTORS[0], tmp_path)


def test_features_do_not_depend_on_the_batch() -> None:
    images = torch.randint(17, (23, 1, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    extractor = load_extractor(next(info for info in EXTRACTORS if info.name == "digits-64"))
    features, logits = extractor(images, 17)
    assert features.shape == (23, 64)
    assert logits.shape == (23, 10)
    for batch_size in (1, 7):
        torch.testing.assert_close(extractor(images, 17, batch_size)[0], features, rtol=1e-4, atol=1e-4)


def test_data_without_an_extractor_has_none() -> None:
    assert extractor_for(DataSpec("two_moons", "vector", (2,))) is None


@pytest.mark.real_data
@pytest.mark.parametrize("name", [name for info in EXTRACTORS for name in info.data])
def test_the_classes_of_the_test_split_are_recognized(name: str, request: pytest.FixtureRequest) -> None:
    import os

    root = os.environ.get("GENLAB_DATA")
    if name != "digits" and not root:
        pytest.skip("GENLAB_DATA is not set: the real data sets are not at hand")
    arguments = {"batch_size": 8, "seed": 0, "device": "cpu", "validation_examples": None}
    module = MODULES[name](**arguments, **({} if name == "digits" else {"root": root}))
    info = extractor_for(module.spec)
    assert info is not None
    data = module.tensors("test")
    features, logits = load_extractor(info)(data.x, module.spec.levels)
    assert features.var(0).mean().item() == pytest.approx(1, abs=0.25), "in units of the training data's spread"
    assert (logits.argmax(1) == data.y).float().mean().item() >= ACCURACY[name]
