"""Sound data sets: recordings of one length, padded where they are shorter, with a mask that says where."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Literal, NamedTuple, Unpack

import numpy as np
import torch
from annotated_types import Gt, Le
from torch import Tensor

from genlab.core.batch import Batch
from genlab.core.errors import GenlabError, nearest
from genlab.core.spec import DataSpec
from genlab.data.base import GenlabDataModule, LoaderOptions, Split
from genlab.data.files import FolderArchive
from genlab.data.folders import files_below
from genlab.modalities.waveform import ENCODINGS, Encoding

__all__ = ["SUFFIXES", "Recording", "SoundData", "SpeechCommandsDigits", "SpokenDigits", "trimmed"]

SUFFIXES = (".wav", ".flac", ".ogg")
"""Of files of recordings."""
Seconds = Annotated[float, Gt(0), Le(600)]
Labels = Literal["digit", "speaker", "digit_and_speaker"]


class Recording(NamedTuple):
    """One recording.

    Attributes:
        amplitudes: ``[S]``, float32 in ``[-1, 1]``, at the data set's sampling rate; no longer than an example.
        label: Its class, or None.
    """

    amplitudes: np.ndarray
    label: int | None


def trimmed(amplitudes: np.ndarray, threshold: float = 0.01) -> np.ndarray:
    """Cut off what is quieter at either end than a fraction of the loudest value; silence alone stays whole."""
    loud = np.flatnonzero(np.abs(amplitudes) > threshold * np.abs(amplitudes).max(initial=0.0))
    return amplitudes[loud[0] : loud[-1] + 1] if len(loud) else amplitudes


class SoundData(GenlabDataModule):
    """Recordings that are trimmed if they are to be, then cropped to a length or padded with silence up to it.

    ``mask`` is false on the padding. A data set is a subclass that sets the sampling rate and gives the
    :meth:`recordings` of a split.

    The other arguments are those of :class:`LoaderOptions`.

    Args:
        root: Folder with the data files.
        seconds: Length of an example.
        encoding: How amplitudes are stored, of `ENCODINGS`: ``"mulaw8"`` or ``"pcm16"``.
    """

    sampling_rate_hz: int
    trims: ClassVar[bool] = True
    """Whether what is quiet at either end is cut off."""

    def __init__(
        self,
        root: str | Path = "data",
        *,
        seconds: Seconds = 1.0,
        encoding: Literal["mulaw8", "pcm16"] = "mulaw8",
        **loader: Unpack[LoaderOptions],
    ) -> None:
        loader.setdefault("batch_size", 32)
        super().__init__(root, **loader)
        if encoding not in ENCODINGS:
            raise GenlabError(
                f"data.encoding is '{encoding}', expected {', '.join(ENCODINGS)}.{nearest(encoding, ENCODINGS)}"
            )
        self.encoding: Encoding = ENCODINGS[encoding]
        self.length = round(seconds * self.sampling_rate_hz)
        if self.length < 2:
            raise GenlabError(f"data.seconds is {seconds}, expected at least {2 / self.sampling_rate_hz}.")

    def recordings(self, split: Split) -> Sequence[Recording]:
        """Return what :meth:`heard` gives of the recordings of a split, in an order that is always the same."""
        raise NotImplementedError

    def load(self, split: Split) -> dict[Split, Batch]:
        return {split: self._examples(self.recordings(split))}

    def heard(self, path: Path, label: int | None) -> Recording:
        """Return what an example has of a recording: trimmed if it is to be, and no more than fits.

        Raises:
            GenlabError: If it cannot be read.
        """
        from genlab.data.audio import read_audio

        whole = read_audio(path, self.sampling_rate_hz)
        return Recording((trimmed(whole) if self.trims else whole)[: self.length].copy(), label)

    def examples_of(self, folder: Path) -> Batch:
        files = files_below(folder, SUFFIXES, "recordings", key="against")
        return self._examples([self.heard(path, None) for path in files])

    def _examples(self, found: Sequence[Recording]) -> Batch:
        silence = self.encoding.levels // 2
        x = torch.full((len(found), 1, self.length), silence)
        mask = torch.zeros_like(x, dtype=torch.bool)
        for row, recording in enumerate(found):
            kept = recording.amplitudes
            x[row, 0, : len(kept)] = self.encoding.encode(torch.from_numpy(kept))
            mask[row, 0, : len(kept)] = True
        labels = [recording.label for recording in found]
        return Batch(x, _tensor(labels), mask)


def _tensor(labels: list[int | None]) -> Tensor | None:
    known = [label for label in labels if label is not None]
    return torch.tensor(known) if len(known) == len(labels) else None


class SpokenDigits(SoundData):
    """Free Spoken Digit Dataset: 3,000 recordings of ten English digits by six speakers, 8 kHz.

    int64 ``[N, 1, T]``. As the set's authors say, recordings 0 to 4 of each digit and speaker are test, 300. Five more
    of each, drawn once by a fixed seed, are validation, 300; 2,400 are training.
    Source: Z. Jackson et al., Free Spoken Digit Dataset, version 1.0.10, 2020; CC BY-SA 4.0.

    The other arguments are those of :class:`SoundData`.

    Args:
        root: Folder with ``fsdd/recordings/{digit}_{speaker}_{number}.wav``; missing ones are downloaded into it.
        label: What the classes are: the ``"digit"``, the ``"speaker"``, or both, 6 digit + speaker.
    """

    licence = "CC BY-SA 4.0"

    folders = (
        FolderArchive(
            "v1.0.10.tar.gz",
            ("https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/",),
            "fsdd",
            ("recordings/*.wav",),
            3000,
            "sha256:954ea1cf5c26624532853cc6ef905de1efeb89365398c0ce58fe829927db0667",
        ),
    )
    sampling_rate_hz = 8000
    speakers = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")

    def __init__(
        self,
        root: str | Path = "data",
        *,
        seconds: Seconds = 0.64,
        encoding: Literal["mulaw8", "pcm16"] = "mulaw8",
        label: Labels = "digit",
        **loader: Unpack[LoaderOptions],
    ) -> None:
        super().__init__(root, seconds=seconds, encoding=encoding, **loader)
        classes = {"digit": 10, "speaker": len(self.speakers), "digit_and_speaker": 10 * len(self.speakers)}
        if label not in classes:
            raise GenlabError(f"data.label is '{label}', expected {', '.join(classes)}.{nearest(label, classes)}")
        self.label = label
        self.spec = DataSpec(
            "spoken_digits",
            "waveform",
            (1, self.length),
            levels=self.encoding.levels,
            num_classes=classes[label],
            sampling_rate_hz=self.sampling_rate_hz,
            has_mask=True,
            extractor="spoken_digits-64" if label == "digit" else None,
        )

    def recordings(self, split: Split) -> list[Recording]:
        folder = self.root / "fsdd" / "recordings"
        numbers = self._numbers(split)
        return [
            self.heard(folder / f"{digit}_{speaker}_{number}.wav", self._class(digit, voice))
            for digit in range(10)
            for voice, speaker in enumerate(self.speakers)
            for number in numbers[digit, voice]
        ]

    def _numbers(self, split: Split) -> dict[tuple[int, int], list[int]]:
        """The numbers of the recordings of each digit and speaker in a split."""
        random = np.random.RandomState(0)  # NumPy promises never to change this stream
        chosen = {}
        for digit in range(10):
            for voice in range(len(self.speakers)):
                others = random.permutation(np.arange(5, 50))
                of_splits = {"test": np.arange(5), "validation": others[:5], "train": others[5:]}
                chosen[digit, voice] = sorted(of_splits[split].tolist())
        return chosen

    def _class(self, digit: int, voice: int) -> int:
        return {"digit": digit, "speaker": voice}.get(self.label, len(self.speakers) * digit + voice)


class SpeechCommandsDigits(SoundData):
    """SC09: the ten digits of Speech Commands, spoken by thousands of people, 1 s at 16 kHz.

    int64 ``[N, 1, T]``. The splits are those of the set's authors, 31,158 / 3,643 / 4,107; a speaker is in one alone.
    As in published figures recordings are not trimmed; shorter ones are padded, and masked.
    Source: P. Warden, "Speech Commands", 2018, version 0.02; CC BY 4.0. As SC09: Donahue et al. (2019), "Adversarial
    audio synthesis".

    The other arguments are those of :class:`SoundData`.

    Args:
        root: Folder with ``speech_commands_v0.02/{digit}/*.wav`` and the lists; missing ones are downloaded into it.
    """

    licence = "CC BY 4.0"

    digits = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    lists: ClassVar[dict[Split, str]] = {"validation": "validation_list.txt", "test": "testing_list.txt"}
    folders = (
        FolderArchive(
            "speech_commands_v0.02.tar.gz",
            (
                "https://storage.googleapis.com/download.tensorflow.org/data/",
                "http://download.tensorflow.org/data/",
            ),
            "speech_commands_v0.02",
            (*(f"{digit}/*.wav" for digit in digits), *lists.values()),
            38_908 + len(lists),
            checksum="sha256:af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58",
        ),
    )
    sampling_rate_hz = 16_000
    trims = False

    def __init__(
        self,
        root: str | Path = "data",
        *,
        seconds: Seconds = 1.0,
        encoding: Literal["mulaw8", "pcm16"] = "mulaw8",
        **loader: Unpack[LoaderOptions],
    ) -> None:
        super().__init__(root, seconds=seconds, encoding=encoding, **loader)
        self.spec = DataSpec(
            "sc09",
            "waveform",
            (1, self.length),
            levels=self.encoding.levels,
            num_classes=len(self.digits),
            sampling_rate_hz=self.sampling_rate_hz,
            has_mask=True,
        )

    def recordings(self, split: Split) -> list[Recording]:
        folder = self.root / "speech_commands_v0.02"
        listed = {name: set((folder / file).read_text().split()) for name, file in self.lists.items()}
        held_out = set().union(*listed.values())
        return [
            self.heard(path, label)
            for label, digit in enumerate(self.digits)
            for path in sorted((folder / digit).glob("*.wav"))
            if (name := f"{digit}/{path.name}") in listed.get(split, ()) or (split == "train" and name not in held_out)
        ]
