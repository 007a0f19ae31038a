"""The image data sets: their splits are fixed, their values are as distributed, binary pixels have the right odds."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable
from http.server import ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from genlab.core.errors import GenlabError
from genlab.data.files import Archive
from genlab.data.images import CIFAR10, MNIST, BinarizedMNIST, Digits, FashionMNIST, binarize

SPLITS = ("train", "validation", "test")


def digest(x: Tensor) -> str:
    return hashlib.sha256(x.numpy().tobytes()).hexdigest()[:16]


@pytest.fixture
def small_mnist(tmp_path: Path, write_idx: Callable) -> Path:
    """A root with an MNIST of 40 training and 12 test images, each filled with its own index."""
    for part, n in (("train", 40), ("t10k", 12)):
        index = np.arange(n)
        raw = tmp_path / "MNIST" / "raw"
        write_idx(raw / f"{part}-images-idx3-ubyte", np.broadcast_to(index[:, None, None], (n, 28, 28)))
        write_idx(raw / f"{part}-labels-idx1-ubyte", index % 10)
    return tmp_path


class SmallMNIST(MNIST):
    archives = ()
    validation_size = 10


class SmallBinarized(BinarizedMNIST):
    archives = ()
    validation_size = 10


class TestDigits:
    """Split once for all, whatever the seed."""

    def test_sizes_and_values(self) -> None:
        data = Digits()
        assert [len(data.tensors(split).x) for split in SPLITS] == [1297, 250, 250]
        for split in SPLITS:
            x, y, *_ = data.tensors(split)
            assert x.shape[1:] == data.spec.shape
            assert (x.dtype, y.dtype) == (torch.uint8, torch.int64)
            assert (x.min(), x.max()) == (0, data.spec.levels - 1)

    def test_each_class_has_its_share_of_each_split(self) -> None:
        data = Digits()
        counts = torch.stack([data.tensors(split).y.bincount(minlength=10) for split in SPLITS])
        expected = counts.sum(0) * torch.tensor([1297, 250, 250])[:, None] / 1797
        assert (counts - expected).abs().max() <= 1.5

    def test_the_splits_are_disjoint_and_hold_every_image_with_its_label(self) -> None:
        from sklearn.datasets import load_digits

        def rows(images: np.ndarray, labels: np.ndarray) -> list[tuple[int, ...]]:
            flat = np.concatenate([images.reshape(-1, 64).astype(int), labels.reshape(-1, 1)], axis=1)
            return sorted(map(tuple, flat.tolist()))

        parts = [Digits().tensors(split) for split in SPLITS]
        ours = rows(torch.cat([part.x for part in parts]).numpy(), torch.cat([part.y for part in parts]).numpy())
        source = load_digits()
        assert ours == rows(source.images, source.target)

    def test_the_split_never_changes(self) -> None:
        # Results of different versions and seeds stand side by side only if they are of the same images.
        found = [digest(Digits(seed=5).tensors(split).x) for split in SPLITS]
        assert found == ["b71550b927db311e", "b69c08dd14fa1cc8", "f5199347727d3fbe"]


class TestIdx:
    """MNIST-like sets: the last training images are validation, in the order of the files."""

    def test_splits(self, small_mnist: Path) -> None:
        data = SmallMNIST(small_mnist)
        indices = {split: data.tensors(split).x[:, 0, 5, 7].tolist() for split in SPLITS}
        assert indices == {"train": [*range(30)], "validation": [*range(30, 40)], "test": [*range(12)]}
        assert data.tensors("validation").y.tolist() == [*range(10)]
        assert data.tensors("train").x.shape == (30, 1, 28, 28)

    def test_a_file_is_read_once(self, small_mnist: Path) -> None:
        data = SmallMNIST(small_mnist)
        train = data.tensors("train")
        (small_mnist / "MNIST/raw/train-images-idx3-ubyte").unlink()
        assert len(data.tensors("validation").x) == 10
        assert data.tensors("train").x is train.x

    def test_files_are_downloaded_on_demand(
        self, small_mnist: Path, mirror: ThreadingHTTPServer, tmp_path: Path
    ) -> None:
        archives = []
        for path in sorted((small_mnist / "MNIST/raw").iterdir()):
            packed = gzip.compress(path.read_bytes())
            (mirror.folder / f"{path.name}.gz").write_bytes(packed)
            sums = [f"sha256:{hashlib.sha256(content).hexdigest()}" for content in (packed, path.read_bytes())]
            archives.append(Archive(f"{path.name}.gz", sums[0], (mirror.url,), {f"MNIST/raw/{path.name}": sums[1]}))

        class Served(SmallMNIST):
            pass

        Served.archives = tuple(archives)
        data = Served(tmp_path / "elsewhere")
        assert mirror.requests == [], "the spec is there before any download"
        assert torch.equal(data.tensors("test").x, SmallMNIST(small_mnist).tensors("test").x)
        assert len(mirror.requests) == 4
        data.tensors("train")
        Served(tmp_path / "elsewhere").tensors("train")
        assert len(mirror.requests) == 4

    def test_a_missing_file_is_a_user_error(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        archive = MNIST.archives[0]
        offline = Archive(archive.name, archive.checksum, ("http://127.0.0.1:1/",), archive.files)
        monkeypatch.setattr(MNIST, "archives", (offline,))
        with pytest.raises(GenlabError, match="train-images-idx3-ubyte is missing"):
            MNIST(tmp_path).tensors("test")


class TestBinarized:
    """Training pixels are drawn anew, the others once; a gray value of g is one with probability g / 255."""

    def test_probability_of_a_one(self) -> None:
        uniform = (torch.arange(10_000, dtype=torch.float64) + 0.5) / 10_000
        for gray in (0, 1, 100, 254, 255):
            ones = binarize(torch.full((10_000,), gray, dtype=torch.uint8), uniform).double().mean().item()
            assert ones == pytest.approx(gray / 255, abs=1e-4)

    def test_black_and_white_are_certain(self) -> None:
        extremes = torch.tensor([0.0, 1 - 2**-24])
        assert binarize(torch.tensor([0, 0], dtype=torch.uint8), extremes).tolist() == [0, 0]
        assert binarize(torch.tensor([255, 255], dtype=torch.uint8), extremes).tolist() == [1, 1]

    def test_validation_and_test_are_drawn_once(self, small_mnist: Path) -> None:
        for split in SPLITS:
            first, second = (SmallBinarized(small_mnist, seed=seed).tensors(split) for seed in (0, 1))
            assert torch.equal(first.x, second.x)
            assert set(first.x.unique().tolist()) == {0, 1}
            assert first.x.dtype == torch.uint8
            assert torch.equal(first.y, SmallMNIST(small_mnist).tensors(split).y)

    def test_training_batches_are_drawn_anew_from_the_gray_images(self, small_mnist: Path) -> None:
        data = SmallBinarized(small_mnist, batch_size=30)  # a batch is an epoch
        batches = [data.train_dataloader().batch(number) for number in range(200)]
        by_label = torch.stack([batch.x[batch.y.argsort(stable=True)] for batch in batches])
        assert set(by_label.unique().tolist()) == {0, 1}
        assert not torch.equal(by_label[0], by_label[1])
        gray = SmallMNIST(small_mnist).tensors("train").x.double().mean() / 255
        assert by_label.double().mean() == pytest.approx(gray.item(), rel=0.01)

    def test_its_name_in_results_says_so(self, small_mnist: Path) -> None:
        assert SmallBinarized(small_mnist).split_name("test") == "test (binarized once, seed 0)"
        assert SmallMNIST(small_mnist).split_name("test") == "test"


def test_cifar_splits(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    files = [(f"data_batch_{number}.bin", number) for number in range(1, 6)] + [("test_batch.bin", 6)]
    for name, number in files:
        (folder / name).write_bytes(b"".join(bytes([i]) + bytes([10 * number + i]) * 3072 for i in range(4)))

    class Small(CIFAR10):
        archives = ()
        validation_size = 6

    data = Small(tmp_path)
    first = {split: data.tensors(split).x[:, 2, 31, 31].tolist() for split in SPLITS}
    assert first["train"] == [10, 11, 12, 13, 20, 21, 22, 23, 30, 31, 32, 33, 40, 41]
    assert first["validation"] == [42, 43, 50, 51, 52, 53]
    assert first["test"] == [60, 61, 62, 63]
    assert data.tensors("validation").y.tolist() == [2, 3, 0, 1, 2, 3]


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("real_root", "cls", "mean"),
    [("MNIST", MNIST, 0.1307), ("FashionMNIST", FashionMNIST, 0.2860)],
    indirect=["real_root"],
)
def test_real_images(real_root: Path, cls: type[MNIST], mean: float) -> None:
    # The means are the ones that everybody normalizes these sets with.
    data = cls(real_root)
    assert [len(data.tensors(split).x) for split in SPLITS] == [50_000, 10_000, 10_000]
    x, y, *_ = data.tensors("test")
    assert (x.shape[1:], x.dtype, y.dtype) == (data.spec.shape, torch.uint8, torch.int64)
    assert (x.min(), x.max(), y.max()) == (0, 255, 9)
    total = sum(data.tensors(split).x.sum().item() for split in ("train", "validation"))
    assert total / (60_000 * 784 * 255) == pytest.approx(mean, abs=5e-5)


@pytest.mark.real_data
@pytest.mark.parametrize("real_root", ["MNIST"], indirect=True)
def test_the_binarized_splits_never_change(real_root: Path) -> None:
    data = BinarizedMNIST(real_root)
    found = [digest(data.tensors(split).x) for split in ("validation", "test")]
    assert found == ["3bfe4c0a98213e89", "6a4f1aaaf3375c01"]
