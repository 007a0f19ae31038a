"""One's own data: what texts and folders of recordings may look like, and what is said to those that cannot be used."""

from __future__ import annotations

import itertools
import logging
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from genlab.core.errors import GenlabError
from genlab.data.own import TextFile, WavFolder
from genlab.modalities import modality_of
from tests.tiny import train

RATE = 8000
NUMBERS = itertools.count()
POEM = "Tyger Tyger, burning bright,\nIn the forests of the night;\n" * 40


def written(tmp_path: Path, content: bytes, name: str = "poem.txt") -> Path:
    path = tmp_path / name
    path.write_bytes(content)
    return path


def text_of(data: TextFile) -> str:
    assert data.spec.alphabet is not None
    numbers = torch.cat([data.symbols(split) for split in ("train", "validation", "test")])
    return "".join(data.spec.alphabet[number] for number in numbers.tolist())


class TestTextFile:
    """Characters of UTF-8, or bytes."""

    @pytest.mark.parametrize(
        "text", [POEM, POEM.replace("\n", " "), "ñandú 🦤 日本" * 200], ids=["lines", "one", "wide"]
    )
    def test_the_alphabet_is_that_of_the_file(self, tmp_path: Path, text: str) -> None:
        data = TextFile(path=written(tmp_path, text.encode()), length=10)
        assert data.spec.alphabet == "".join(sorted(set(text)))
        assert data.spec.levels == len(set(text))
        assert text_of(data) == text
        batch = data.tensors("validation").x
        assert batch.dtype == torch.int64
        assert batch.shape[1:] == (10,)

    def test_more_than_256_symbols_keep_their_numbers(self, tmp_path: Path) -> None:
        text = "".join(map(chr, range(0x4E00, 0x4E00 + 700))) * 2
        assert text_of(TextFile(path=written(tmp_path, text.encode()), length=10)) == text

    def test_the_splits_follow_each_other(self, tmp_path: Path) -> None:
        data = TextFile(path=written(tmp_path, (POEM[:1000]).encode()), length=10)
        sizes = [len(data.symbols(split)) for split in ("train", "validation", "test")]
        assert sizes == [900, 50, 50]
        assert data.split_name("test") == "test (disjoint windows of 10)"

    @pytest.mark.parametrize("end", ["\r\n", "\r"])
    def test_line_ends_and_a_byte_order_mark_are_no_symbols(self, tmp_path: Path, end: str) -> None:
        content = b"\xef\xbb\xbf" + POEM.replace("\n", end).encode()
        assert text_of(TextFile(path=written(tmp_path, content), length=10)) == POEM

    def test_a_text_of_others_is_read_as_ones_own(self, tmp_path: Path) -> None:
        own = TextFile(path=written(tmp_path, b"ab\ncd\n" * 100), length=6)
        path = written(tmp_path, b"\xef\xbb\xbfab\r\ncd\r", "other.txt")
        assert modality_of(own.spec).read_many(path, own.spec).tolist() == own.read()[None, :6].tolist()

    def test_bytes_are_taken_as_they_are(self, tmp_path: Path) -> None:
        content = b"\xef\xbb\xbf\xff\r\n" * 200
        data = TextFile(path=written(tmp_path, content), length=10, by="bytes")
        assert (data.spec.levels, data.spec.alphabet) == (256, None)
        assert bytes(data.symbols("train").tolist()) == content[: int(0.9 * len(content))]

    def test_another_encoding_is_told_with_its_place(self, tmp_path: Path) -> None:
        with pytest.raises(
            GenlabError, match=r"poem.txt is not UTF-8: byte 12 \(in line 2\) is 0xe9, .* data.by=bytes"
        ):
            TextFile(path=written(tmp_path, "Tout un\ncafé".encode("latin-1")))
        with pytest.raises(GenlabError, match=r"is not UTF-8: byte 1 \(in line 1\) is 0xff"):
            TextFile(path=written(tmp_path, POEM.encode("utf-16")))

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "holds no text"),
            (b"\xef\xbb\xbf", "holds no text"),
            (b"aaaaaaaaaa", "holds one symbol only"),
            (b"\r\n\r\n", "holds one symbol only"),
        ],
    )
    def test_a_text_in_which_there_is_nothing_to_learn_is_told(
        self, tmp_path: Path, content: bytes, message: str
    ) -> None:
        with pytest.raises(GenlabError, match=rf"poem.txt {message}"):
            TextFile(path=written(tmp_path, content))

    def test_a_text_shorter_than_a_window_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(GenlabError, match=r"data.length is 256, but a split has 4 symbols only"):
            TextFile(path=written(tmp_path, POEM[:80].encode())).tensors("validation")

    def test_a_path_that_is_no_file_is_told(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        for path, words in ((None, "data.path is not given"), (tmp_path, "is a folder"), (tmp_path / "no", "No such")):
            with pytest.raises(GenlabError, match=words):
                TextFile(path=path)
        with pytest.raises(GenlabError, match="is a device or a pipe"):
            TextFile(path=tmp_path / "pipe")
        with pytest.raises(GenlabError, match=r"data.by is 'byte', expected .* Did you mean 'bytes'"):
            TextFile(path=tmp_path, by="byte")

    def test_another_text_is_another_data_set(self, tmp_path: Path) -> None:
        """So its runs have another folder, and its rows stand in no table beside those of the first."""
        first = TextFile(path=written(tmp_path, POEM.encode(), "my poem (1).txt")).spec.name
        assert first.startswith("text_file_my_poem_1_")
        assert TextFile(path=written(tmp_path, POEM.upper().encode(), "my poem (1).txt")).spec.name != first
        assert TextFile(path=tmp_path / "my poem (1).txt", by="bytes").spec.name.startswith("text_file_my_poem_1_bytes")


def tone(path: Path, seconds: float = 0.2, rate: int = RATE, channels: int = 1, subtype: str = "PCM_16") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    loud = 0.5 - 1e-4 * (next(NUMBERS) % 64)  # no two alike: copies are in one split
    wave = loud * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)
    soundfile.write(path, np.repeat(wave[:, None], channels, axis=1), rate, subtype=subtype)


def folder(path: Path, **options: object) -> WavFolder:
    return WavFolder(**{"path": path, "seconds": 0.1, "sampling_rate_hz": RATE, **options})


class TestWavFolder:
    """Recordings of any kind in a folder."""

    def test_sub_folders_are_classes_and_splits_have_their_share_of_each(self, tmp_path: Path) -> None:
        for name in ("wren", "owl"):
            for number in range(10):
                tone(tmp_path / name / "2024" / f"{number}.WAV")
        data = folder(tmp_path)
        assert data.spec.num_classes == 2
        assert data.spec.shape == (1, 800)
        assert data._classes == ["owl", "wren"]
        splits = {split: data.tensors(split) for split in ("train", "validation", "test")}
        assert {split: batch.y.tolist() for split, batch in splits.items()} == {
            "train": [0] * 8 + [1] * 8,
            "validation": [0, 1],
            "test": [0, 1],
        }
        parts = data._split()
        assert len({path for paths in parts.values() for path in paths}) == 20, "a file is in two splits"
        assert folder(tmp_path, seed=5)._split() == parts

    def test_equal_recordings_are_in_one_split_and_others_are_told(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        for number in range(20):
            tone(tmp_path / "birds" / f"{number:02}.wav")
        for number in range(20):
            (tmp_path / "birds" / f"copy of {number:02}.wav").write_bytes(
                (tmp_path / "birds" / f"{number:02}.wav").read_bytes()
            )
        (tmp_path / "birds" / "more.mp3").write_bytes(b"ID3")
        data = folder(tmp_path / "birds")
        with caplog.at_level(logging.WARNING):
            data.tensors("train")
        parts = [{path.read_bytes() for path in paths} for paths in data._split().values()]
        assert [len(part) for part in parts] == [16, 2, 2]
        assert len(set().union(*parts)) == 20
        assert "20 of 40 recordings equal another" in caplog.text
        assert "left out files that are no recordings: 1 .mp3" in caplog.text

    def test_what_is_hidden_is_passed_over(self, tmp_path: Path) -> None:
        for number in range(4):
            tone(tmp_path / "birds" / f"{number}.wav", 0.1 + number / 100)
        name = folder(tmp_path / "birds").spec.name
        tone(tmp_path / "birds" / "._0.wav")
        tone(tmp_path / "birds" / ".kept" / "old.wav")
        tone(tmp_path / "birds" / "__MACOSX" / "0.wav")
        again = folder(tmp_path / "birds")
        assert (again.spec.name, again.spec.num_classes) == (name, None)

    def test_copies_of_another_classes_recordings_make_no_class(self, tmp_path: Path) -> None:
        """They are drawn with the first class, so that a split could lack the second."""
        for number in range(4):
            tone(tmp_path / "birds" / "a" / f"{number}.wav", 0.1 + number / 100)
        shutil.copytree(tmp_path / "birds" / "a", tmp_path / "birds" / "b")
        with pytest.raises(GenlabError, match=r"b has 0 recordings that differ from each other"):
            folder(tmp_path / "birds").tensors("train")

    def test_any_rate_depth_and_number_of_channels_will_do(self, tmp_path: Path) -> None:
        kinds = [(44_100, 2, "PCM_24"), (RATE, 1, "FLOAT"), (22_050, 1, "PCM_16")]
        for number, (rate, channels, subtype) in enumerate(kinds):
            tone(tmp_path / f"{number}.wav", rate=rate, channels=channels, subtype=subtype)
        data = folder(tmp_path)
        assert data.spec.num_classes is None
        sounds = torch.cat([data.tensors(split).x for split in ("train", "validation", "test")])
        heard = data.encoding.decode(sounds[..., 100:700])
        # Trimming may shift a tone by a value, but neither its pitch nor its loudness.
        assert (torch.fft.rfft(heard).abs().argmax(-1) == 440 * 600 // RATE).all()
        torch.testing.assert_close(heard.std(-1), torch.full((3, 1), 0.5 / 2**0.5), rtol=0, atol=0.01)

    def test_what_is_shorter_than_an_example_is_masked(self, tmp_path: Path) -> None:
        for number in range(3):
            tone(tmp_path / f"{number}.wav", seconds=0.05)
        batch = folder(tmp_path).tensors("train")
        assert 380 < int(batch.mask.sum()) <= 400
        assert (batch.x[~batch.mask] == 128).all()

    def test_the_recordings_of_another_folder_are_treated_as_ones_own(self, tmp_path: Path) -> None:
        """Those of one's own folder are its examples, whose rate, length and ends are any."""
        for number, rate in enumerate((RATE, 2 * RATE, RATE, RATE)):
            tone(tmp_path / "birds" / f"{number}.wav", seconds=0.03 + 0.02 * number, rate=rate)
        data = folder(tmp_path)
        found, own = data.examples_of(tmp_path), [data.tensors(split) for split in ("train", "validation", "test")]
        assert found.mask is not None
        rows = [{(tuple(x.flatten().tolist()), int(m.sum())) for batch in batches
                 for x, m in zip(batch.x, batch.mask, strict=True)} for batches in ([found], own)]  # fmt: skip
        assert rows[0] == rows[1]
        assert len(rows[0]) == 4
        with pytest.raises(GenlabError, match=r"against is .*none, which is missing, expected a folder of recordings"):
            data.examples_of(tmp_path / "none")

    @pytest.fixture
    def with_broken(self, tmp_path: Path) -> Path:
        for number in range(8):
            tone(tmp_path / f"{number}.wav")
        (tmp_path / "3.wav").write_bytes(b"RIFF....")
        soundfile.write(tmp_path / "5.wav", np.zeros(0), RATE)
        return tmp_path

    def test_a_broken_file_is_refused_before_training(self, with_broken: Path) -> None:
        """Whichever split it is in."""
        with pytest.raises(GenlabError, match=r"(3.wav cannot be read|5.wav holds no sound).* data.broken=skip"):
            folder(with_broken).setup("fit")

    def test_a_broken_file_is_left_out_on_request_and_named(
        self, with_broken: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        data = folder(with_broken, broken="skip")
        with caplog.at_level(logging.WARNING):
            counts = [len(data.tensors(split).x) for split in ("train", "validation", "test")]
        assert sum(counts) == 6
        assert "3.wav cannot be read as sound" in caplog.text
        assert "5.wav holds no sound" in caplog.text

    def test_folders_that_cannot_be_used_are_told(self, tmp_path: Path) -> None:
        with pytest.raises(GenlabError, match=r"data.path is not given, expected a folder of recordings"):
            WavFolder()
        with pytest.raises(GenlabError, match="nowhere, which is missing"):
            folder(tmp_path / "nowhere")
        (tmp_path / "notes.txt").write_text("no sound")
        with pytest.raises(GenlabError, match=r"holds no recordings, expected files named .wav, .flac, .ogg"):
            folder(tmp_path)
        with pytest.raises(GenlabError, match=r"notes.txt, which is not a folder"):
            folder(tmp_path / "notes.txt")
        tone(tmp_path / "a.wav")
        with pytest.raises(GenlabError, match="has 1 recordings, expected at least 3"):
            folder(tmp_path)
        tone(tmp_path / "birds" / "b.wav")
        with pytest.raises(GenlabError, match="has 1 recordings beside its sub-folders"):
            folder(tmp_path)
        with pytest.raises(GenlabError, match=r"data.broken is 'skipp'"):
            folder(tmp_path, broken="skipp")

    def test_another_recording_makes_another_data_set(self, tmp_path: Path) -> None:
        for number in range(3):
            tone(tmp_path / "birds" / f"{number}.wav")
        first = folder(tmp_path / "birds").spec.name
        assert first.startswith("wav_folder_birds_")
        assert folder(tmp_path / "birds").spec.name == first
        tone(tmp_path / "birds" / "2.wav", seconds=0.3)
        assert folder(tmp_path / "birds").spec.name != first


def test_a_text_of_ones_own_is_trained_on_by_one_command(tmp_path: Path) -> None:
    path = written(tmp_path, POEM.encode())
    result = train(tmp_path, "data=text_file", f"data.path={path}", "data.length=16", model="ngram")
    assert result.data.name.startswith("text_file_poem_")
    assert result.data.unit == "bits/char"
    assert result.likelihood.bits_per_dim < 2
