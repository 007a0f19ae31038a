"""A tiny run on each kind of data that is no picture, from a file of one's own, and what commands leave of it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from genlab.command import cli
from genlab.command.build import build_datamodule
from genlab.command.config import read_trained
from genlab.core.batch import Batch
from genlab.data.base import GenlabDataModule
from genlab.modalities import all_modalities
from genlab.runs.folder import RunDir
from tests.tiny import run_folder, train

__all__ = ["KINDS", "RATE_HZ", "Left", "Used", "trained", "without_pictures"]

RATE_HZ = 8000
SHORT = ["budget.examples=64", "budget.validations=1", "data.validation_examples=8", "evaluation.max_examples=8"]
VAE = ["model.latent_dims=3", "model.mlp.hidden=[8]", "model.recurrent.hidden=8", "model.signal.channels=[4,4]"]


@dataclass(frozen=True)
class Used:
    """A trained run, and how its data is named again.

    Attributes:
        path: The run's folder.
        data: Overrides that name its data.
        module: Its data.
    """

    path: Path
    data: list[str]
    module: GenlabDataModule

    def test(self, rows: list[int]) -> Batch:
        """Some examples of its test split."""
        return self.module.tensors("test").rows(rows)


@dataclass(frozen=True)
class Left:
    """What a command left.

    Attributes:
        stem: Path of the files without their endings.
        arrays: Those of the NPZ file.
        record: The JSON file beside it.
    """

    stem: Path
    arrays: Mapping[str, np.ndarray]
    record: Mapping[str, Any]

    @classmethod
    def of(cls, use: str, words: list[str], stem: Path) -> Left:
        """Give a command in this process, which must succeed, and read what it left."""
        assert getattr(cli, use)([*words, f"out={stem}"]) == 0
        arrays = stem.with_name(f"{stem.name}.npz")
        record = json.loads(stem.with_name(f"{stem.name}.json").read_text())
        return cls(stem, dict(np.load(arrays)) if arrays.exists() else {}, record)

    def files(self) -> dict[str, bytes]:
        """The files but the record, which names where they lie, by what follows the stem."""
        parent = self.stem.parent
        found = [path for path in parent.rglob(f"{self.stem.name}*") if path.is_file()]
        found += [path for path in self.stem.glob("*") if path.is_file()]
        names = {str(path.relative_to(parent)).removeprefix(self.stem.name): path.read_bytes() for path in found}
        return {name: content for name, content in names.items() if name != ".json"}


@contextmanager
def without_pictures() -> Iterator[None]:
    """Draw none: they take most of the time, and name their command, so that they are not the same again."""
    with pytest.MonkeyPatch.context() as patch:
        for modality in all_modalities():
            for draw in ("preview", "preview_pairs", "preview_rows"):
                patch.setattr(type(modality), draw, lambda *_, **__: False)
        yield


def trained(kind: str, folder: Path, model: str = "vae", *more: str) -> Used:
    """Train a model for two steps on data of a kind that is written for it."""
    data = KINDS[kind](folder)
    small = VAE if model == "vae" else []
    with without_pictures():
        train(folder / "logs", *data, *SHORT, *small, *more, model=model)
    run = run_folder(folder / "logs")
    return Used(run, data, build_datamodule(read_trained(RunDir(run))))


def _text(folder: Path) -> list[str]:
    words = "the sun is up and the wind is low $1\n"
    text = "".join(words[(7 * n) % 23 :] for n in range(160))
    (folder / "words.txt").write_text(text)
    return ["data=text_file", f"data.path={folder / 'words.txt'}", "data.length=16"]


def _sound(folder: Path) -> list[str]:
    """Tones of two pitches and several lengths, most shorter than an example."""
    random = np.random.RandomState(0)
    for number in range(40):
        pitch = ("low", "high")[number % 2]
        path = folder / "tones" / pitch / f"{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        time = np.arange(random.randint(150, 300)) / RATE_HZ
        soundfile.write(path, 0.5 * np.sin(2 * math.pi * (400, 1600)[number % 2] * time), RATE_HZ)
    where = [f"data.path={folder / 'tones'}", f"data.sampling_rate_hz={RATE_HZ}", "data.seconds=0.032"]
    return ["data=wav_folder", *where, f"data.root={folder}"]


def _table(folder: Path) -> list[str]:
    """Numbers with and without decimals, categories, and a label that they tell."""
    random = np.random.RandomState(0)
    kinds = random.randint(3, size=240)
    sizes, weights = 10 * kinds + random.standard_normal(240), np.exp(random.standard_normal(240)) / 3
    lines = [
        f"{size:.1f},{weight:.9g},{('oak', 'elm, old', 'ash')[kind]},{'hard' if kind == 0 else 'soft'}"
        for size, weight, kind in zip(sizes, weights, kinds, strict=True)
    ]
    quoted = [line.replace("elm, old", '"elm, old"') for line in lines]
    (folder / "trees.csv").write_text("\n".join(["size,weight,tree,wood", *quoted]) + "\n")
    return ["data=csv", f"data.path={folder / 'trees.csv'}", "data.target=wood"]


def _series(folder: Path) -> list[str]:
    steps = np.random.RandomState(0).standard_normal((400, 2)).cumsum(0) / 10
    lines = [f"{price:.9g},{volume:.9g}" for price, volume in steps.tolist()]
    (folder / "days.csv").write_text("\n".join(["price,volume", *lines]) + "\n")
    return ["data=series", f"data.path={folder / 'days.csv'}", "data.length=8"]


KINDS = {"text": _text, "sound": _sound, "table": _table, "series": _series}
"""What writes a file of each kind of data, and the overrides that name it."""
