"""Texts: one long sequence of symbols, seen through windows of a fixed length."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Unpack

import numpy as np
import torch
from annotated_types import Ge, Le
from torch import Tensor

from genlab.core.batch import Batch
from genlab.core.errors import GenlabError
from genlab.core.spec import DataSpec
from genlab.data.base import GenlabDataModule, LoaderOptions, Split, train_placement
from genlab.data.files import Archive
from genlab.data.windows import WindowStream, disjoint_windows

__all__ = ["Enwik8", "Shakespeare", "Text8", "TextData", "WindowLength"]

WindowLength = Annotated[int, Ge(2), Le(1_000_000)]


class TextData(GenlabDataModule):
    """A text in one file: training draws windows anywhere in it, and evaluation sees windows that do not overlap.

    A text is a subclass that reads its file with :meth:`read` and says by :meth:`parts` which part of it each split is.

    The other arguments are those of :class:`LoaderOptions`.

    Args:
        root: Folder with the data files.
        length: Symbols of a window. Nothing before its first symbol is known to a model.
    """

    is_one_sequence = True

    def __init__(
        self,
        root: str | Path = "data",
        *,
        length: WindowLength = 256,
        **loader: Unpack[LoaderOptions],
    ) -> None:
        loader.setdefault("batch_size", 64)
        super().__init__(root, **loader)
        if length < 2:
            raise GenlabError(f"data.length is {length}, expected at least 2.")
        self.length = length
        self._symbols: Tensor | None = None

    def read(self) -> Tensor:
        """Return the whole text as numbers of symbols ``[S]``, of any integer type."""
        raise NotImplementedError

    def parts(self, symbols: int) -> dict[Split, tuple[int, int]]:
        """Return where each split begins and ends in a text of so many symbols."""
        train = int(0.9 * symbols)
        middle = train + (symbols - train) // 2
        return {"train": (0, train), "validation": (train, middle), "test": (middle, symbols)}

    def symbols(self, split: Split) -> Tensor:
        """Return a whole split ``[S]`` as numbers of symbols, uncut."""
        if self._symbols is None:
            if not self._files_checked:
                self.prepare_data()
            self._symbols = self.read()
        start, stop = self.parts(len(self._symbols))[split]
        return self._symbols[start:stop]

    def load(self, split: Split) -> dict[Split, Batch]:
        return {split: Batch(disjoint_windows(self.symbols(split), self.length))}

    def split_name(self, split: Split, stride: int | None = None) -> str:
        return f"{split} ({self._windows(stride)})"

    def _windows(self, stride: int | None) -> str:
        return f"{'disjoint ' * (not stride)}windows of {self.length}{f' with a stride of {stride}' if stride else ''}"

    def train_dataloader(self) -> WindowStream:
        """Return this rank's endless stream of windows, from batch ``start_batch`` on."""
        rank, world_size, root_device = self._process()
        symbols = self.symbols("train")
        device = train_placement(self.device, root_device, symbols.nbytes)
        disjoint_windows(symbols[: self.length], self.length)  # says so if there is not one window
        return WindowStream(
            symbols.to(device), self.length, self.batch_size, self.seed, rank, world_size, self.start_batch
        )


class Shakespeare(TextData):
    """Tiny Shakespeare: 1,115,394 characters of plays, int64 ``[N, length]``, 65 symbols.

    The first 90 % are training, the rest is halved into validation and test. With ``split="nanogpt"`` the rest is one
    set, as in nanoGPT: it is validation and test, so that what chooses is also what is measured.
    Source: A. Karpathy, char-rnn, 2015.

    The other arguments are those of :class:`TextData`.

    Args:
        root: Folder with the data files; missing ones are downloaded into it.
        split: ``"standard"`` or ``"nanogpt"``.
    """

    archives = (
        Archive(
            "input.txt",
            "sha256:86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
            ("https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/",),
            {"tinyshakespeare/input.txt": ("sha256:86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed")},
        ),
    )
    alphabet = "\n !$&',-.3:;?ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

    def __init__(
        self,
        root: str | Path = "data",
        *,
        length: WindowLength = 256,
        split: Literal["standard", "nanogpt"] = "standard",
        **loader: Unpack[LoaderOptions],
    ) -> None:
        super().__init__(root, length=length, **loader)
        if split not in ("standard", "nanogpt"):
            raise GenlabError(f"data.split is '{split}', expected standard or nanogpt.")
        self.split = split
        self.spec = DataSpec("shakespeare", "text", (length,), levels=len(self.alphabet), alphabet=self.alphabet)

    def read(self) -> Tensor:
        return _numbers(self.root / "tinyshakespeare" / "input.txt", self.alphabet)

    def parts(self, symbols: int) -> dict[Split, tuple[int, int]]:
        found = super().parts(symbols)
        if self.split == "standard":
            return found
        rest = (found["validation"][0], symbols)
        return {"train": found["train"], "validation": rest, "test": rest}

    def split_name(self, split: Split, stride: int | None = None) -> str:
        if self.split == "standard" or split == "train":
            return super().split_name(split, stride)
        return f"nanoGPT's validation (the last 10 %, which also selects; {self._windows(stride)})"


class Text8(TextData):
    """text8: 100,000,000 characters of an English Wikipedia in words alone, int64 ``[N, length]``, 27 symbols.

    90 million characters are training, 5 million validation and 5 million test. Published figures of discrete
    diffusion are of windows of 256 that do not overlap, as here: Austin et al. (2021).
    Source: M. Mahoney, Large text compression benchmark, 2011.

    The arguments are those of :class:`TextData`.
    """

    archives = (
        Archive(
            "text8.zip",
            "sha256:a6640522afe85d1963ad56c05b0ede0a0c000dddc9671758a6cc09b7a38e5232",
            ("https://mattmahoney.net/dc/", "http://mattmahoney.net/dc/"),
            {"text8/text8": "md5:3bea1919949baf155f99411df5fada7e"},
        ),
    )
    alphabet = " abcdefghijklmnopqrstuvwxyz"

    def __init__(
        self,
        root: str | Path = "data",
        *,
        length: WindowLength = 256,
        **loader: Unpack[LoaderOptions],
    ) -> None:
        super().__init__(root, length=length, **loader)
        self.spec = DataSpec("text8", "text", (length,), levels=len(self.alphabet), alphabet=self.alphabet)

    def read(self) -> Tensor:
        return _numbers(self.root / "text8" / "text8", self.alphabet)


class Enwik8(TextData):
    """enwik8: the first 100,000,000 bytes of an English Wikipedia with its markup, int64 ``[N, length]``, 256 levels.

    90 million bytes are training, 5 million validation and 5 million test. Figures are per byte: a letter that is not
    English has two or more.
    Source: M. Mahoney, Large text compression benchmark, 2011.

    The arguments are those of :class:`TextData`.
    """

    archives = (
        Archive(
            "enwik8.zip",
            "sha256:547994d9980ebed1288380d652999f38a14fe291a6247c157c3d33d4932534bc",
            ("https://mattmahoney.net/dc/", "http://mattmahoney.net/dc/"),
            {"enwik8/enwik8": "sha256:2b49720ec4d78c3c9fabaee6e4179a5e997302b3a70029f30f2d582218c024a8"},
        ),
    )

    def __init__(
        self,
        root: str | Path = "data",
        *,
        length: WindowLength = 256,
        **loader: Unpack[LoaderOptions],
    ) -> None:
        super().__init__(root, length=length, **loader)
        self.spec = DataSpec("enwik8", "text", (length,), levels=256)

    def read(self) -> Tensor:
        return torch.from_numpy(np.fromfile(self.root / "enwik8" / "enwik8", dtype=np.uint8))


def _numbers(path: Path, alphabet: str) -> Tensor:
    """Read a file of ASCII characters as their numbers in an alphabet, uint8 ``[S]``."""
    table = np.zeros(256, dtype=np.uint8)
    table[np.frombuffer(alphabet.encode("ascii"), dtype=np.uint8)] = np.arange(len(alphabet))
    return torch.from_numpy(table[np.fromfile(path, dtype=np.uint8)])
