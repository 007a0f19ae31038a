"""The shipped feature extractors: the files that they should be, and good at what they were trained for."""

from __future__ import annotations

import dataclasses
import shutil
from importlib import resources
from pathlib import Path

import pytest
import torch

from genlab.core.errors import GenlabError
from genlab.core.spec import DataSpec
from genlab.data.base import GenlabDataModule
from genlab.data.images import MNIST, BinarizedMNIST, Digits, FashionMNIST
from genlab.data.sound import SpokenDigits
from genlab.measure.features.choice import choose_extractor, trained_extractor_path
from genlab.measure.features.classifier import Classifier, pack
from genlab.measure.features.extractors import SHIPPED, shipped_extractor
from genlab.measure.features.random_network import RandomExtractor
from genlab.modalities.waveform import ENCODINGS

WEIGHTS = Path(str(resources.files("genlab.measure.features") / "weights"))
SPOKEN = DataSpec(
    "spoken_digits", "waveform", (1, 5120), 256, 10, sampling_rate_hz=8000, has_mask=True, extractor="spoken_digits-64"
)
ACCURACY = {"spoken_digits": 0.98, "digits": 0.97, "mnist": 0.992, "binarized_mnist": 0.98, "fashion_mnist": 0.92}
MODULES: dict[str, type[GenlabDataModule]] = {
    "spoken_digits": SpokenDigits, "digits": Digits, "mnist": MNIST,
    "binarized_mnist": BinarizedMNIST, "fashion_mnist": FashionMNIST,
}  # fmt: skip


SPECS = {spec.extractor: spec for spec in (Digits.spec, MNIST.spec, FashionMNIST.spec, SPOKEN)}
"""A data set for each shipped extractor."""


def no_training() -> torch.Tensor:
    raise AssertionError("these features do not depend on training examples")


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GENLAB_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.mark.parametrize("name", SHIPPED)
def test_a_file_is_small_and_opens_as_itself(name: str) -> None:
    assert (WEIGHTS / f"{name}.safetensors").stat().st_size < 2**20
    extractor = choose_extractor(SPECS[name], no_training)
    assert extractor is not None
    assert (extractor.name, extractor.sha256) == (name, SHIPPED[name])


def test_every_file_is_listed() -> None:
    assert {path.stem for path in WEIGHTS.glob("*.safetensors")} == set(SHIPPED)


def test_a_changed_byte_is_refused(tmp_path: Path) -> None:
    copy = tmp_path / "digits-64.safetensors"
    shutil.copy(WEIGHTS / copy.name, copy)
    assert shipped_extractor(Digits.spec, tmp_path) is not None
    content = bytearray(copy.read_bytes())
    content[-1] ^= 1
    copy.write_bytes(content)
    with pytest.raises(GenlabError, match=rf"expected {SHIPPED['digits-64']}"):
        shipped_extractor(Digits.spec, tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(GenlabError, match="is missing: install genlab again"):
        shipped_extractor(Digits.spec, tmp_path)


def test_features_do_not_depend_on_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.randint(17, (23, 1, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    for extractor in (shipped_extractor(Digits.spec), RandomExtractor(Digits.spec, images)):
        assert extractor is not None
        together = extractor(images).values
        assert together.shape == (23, 64)
        for batch_size in (1, 7):
            parts = torch.cat([extractor(part).values for part in images.split(batch_size)])
            torch.testing.assert_close(parts, together, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "change",
    [{"shape": (1, 16, 16)}, {"shape": (3, 8, 8)}, {"num_classes": 7}, {"num_classes": None}, {"levels": None}],
)
def test_a_declared_extractor_that_does_not_fit_is_not_used(change: dict[str, object]) -> None:
    """By fit: digits resized, in colour, of other classes or continuous are no longer what its classifier knows."""
    spec = dataclasses.replace(Digits.spec, **change)
    training = torch.rand(50, *spec.shape) if spec.levels is None else torch.randint(17, (50, *spec.shape)).byte()
    extractor = choose_extractor(spec, lambda: training)
    assert extractor is not None
    assert extractor.name == "random-64"


def test_the_name_of_the_data_alone_chooses_nothing() -> None:
    spec = dataclasses.replace(Digits.spec, extractor=None)
    assert choose_extractor(spec, lambda: torch.randint(17, (50, 1, 8, 8)).byte()).name == "random-64"


def noises(count: int, length: int, generator: torch.Generator) -> torch.Tensor:
    return torch.rand(count, 1, length, generator=generator) * 2 - 1


@pytest.mark.parametrize("levels", [256, 65536, None])
@pytest.mark.parametrize("length", [3000, 8000])
def test_spoken_digits_are_heard_in_any_encoding_and_length_of_a_second_at_most(
    levels: int | None, length: int
) -> None:
    """One sound, stored in three ways and followed by silence or not, has one set of features."""
    sound = noises(2, 3000, torch.Generator().manual_seed(0)) * torch.tensor([0.03, 0.3])[:, None, None]
    padded = torch.nn.functional.pad(sound, (0, length - 3000))
    encodings = {found.levels: found for found in ENCODINGS.values()}
    stored = padded if levels is None else encodings[levels].encode(padded)
    spec = dataclasses.replace(SPOKEN, shape=(1, length), levels=levels)
    extractor = choose_extractor(spec, no_training)
    assert extractor.name == "spoken_digits-64"
    found, expected = extractor(stored), choose_extractor(SPOKEN, no_training)(ENCODINGS["mulaw8"].encode(sound))
    torch.testing.assert_close(found.values, expected.values, rtol=0.1, atol=0.1)
    assert found.logits.shape == (2, 10)


@pytest.mark.parametrize(
    "change", [{"shape": (1, 8001)}, {"num_classes": 6}, {"extractor": None}, {"shape": (2, 5120)}]
)
def test_other_sound_is_seen_by_a_random_network(change: dict[str, object]) -> None:
    spec = dataclasses.replace(SPOKEN, **change, levels=None)
    generator = torch.Generator().manual_seed(0)
    sounds = torch.rand(60, *spec.shape, generator=generator) - 0.5
    sounds[:30] = (torch.arange(spec.shape[-1]) / 8000 * 6.28 * 300).sin() * sounds[:30, :, :1]
    extractor = choose_extractor(spec, lambda: sounds)
    values = extractor(sounds).values
    assert extractor.name == "random-64"
    tones, hiss = values[:30].mean(0), values[30:].mean(0)
    assert (tones - hiss).norm() > 3 * values[:30].std(0).norm()
    assert choose_extractor(spec, lambda: sounds.flip(0)).sha256 != extractor.sha256


def test_vectors_are_their_own_features() -> None:
    extractor = choose_extractor(DataSpec("two_moons", "vector", (2,)), no_training)
    assert (extractor.name, extractor.sha256) == ("identity", None)


def test_what_is_random_is_the_same_everywhere() -> None:
    """Frozen: another checksum would mean that figures no longer compare with those that were published."""
    images = (torch.arange(20 * 64).view(20, 1, 8, 8) % 17).byte()
    extractor = RandomExtractor(Digits.spec, images)
    assert extractor.sha256[:16] == "ddd700b0e486f58d"
    values = extractor(images).values
    torch.testing.assert_close(values.mean(0), torch.zeros(64), atol=1e-5, rtol=0)
    torch.testing.assert_close(values.std(0), torch.ones(64), atol=1e-4, rtol=0)
    assert RandomExtractor(Digits.spec, images.flip(0)).sha256 != extractor.sha256


def test_one_single_training_example_gives_finite_features() -> None:
    image = torch.arange(64, dtype=torch.uint8).view(1, 1, 8, 8) % 17
    assert RandomExtractor(Digits.spec, image)(image).values.isfinite().all()


class TestOwnExtractor:
    """One that ``train_extractor`` leaves in the user's folder."""

    spec = DataSpec("own", "image", (1, 8, 8), levels=4, num_classes=3)
    training = torch.randint(4, (50, 1, 8, 8)).byte()

    def put(self, **arguments: int) -> Path:
        path = trained_extractor_path(self.spec)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(
            pack(Classifier(**{"in_channels": 1, "size": 8, "num_classes": 3, **arguments}), {"name": "own-64"})
        )
        return path

    def chosen(self) -> str:
        return choose_extractor(self.spec, lambda: self.training).name

    def test_it_judges_its_data(self, own_home: Path) -> None:
        assert self.chosen() == "random-64"
        assert self.put().is_relative_to(own_home)
        assert self.chosen() == "own-64"

    def test_it_judges_no_other_classes(self) -> None:
        self.put(num_classes=4)
        assert self.chosen() == "random-64"

    def test_a_damaged_one_is_named_and_not_passed_over(self) -> None:
        path = self.put()
        path.write_bytes(path.read_bytes()[:-100])
        with pytest.raises(GenlabError, match=r"own-64.safetensors cannot be used: it is damaged"):
            self.chosen()


@pytest.mark.real_data
@pytest.mark.parametrize("name", list(MODULES))
def test_the_classes_of_the_test_split_are_recognized(name: str, request: pytest.FixtureRequest) -> None:
    import os

    root = os.environ.get("GENLAB_DATA")
    if name != "digits" and not root:
        pytest.skip("GENLAB_DATA is not set: the real data sets are not at hand")
    arguments = {"batch_size": 8, "seed": 0, "device": "cpu", "validation_examples": None}
    module = MODULES[name](**arguments, **({} if name == "digits" else {"root": root}))
    extractor = choose_extractor(module.spec, no_training)
    assert extractor is not None
    data = module.tensors("test").rows(slice(3000))
    found = extractor(data.x)
    assert found.values.var(0).mean().item() == pytest.approx(1, abs=0.25), "in units of the training data's spread"
    assert (found.logits.argmax(1) == data.y).float().mean().item() >= ACCURACY[name]
