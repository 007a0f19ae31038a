"""Folders of pictures as people have them: each awkward one is read right or told, and nothing leaks into the test."""

from __future__ import annotations

import errno
import logging
import os
import shlex
import time
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from PIL import Image

from genlab.core.errors import GenlabError
from genlab.data import image_folder, listing, picture_cache
from genlab.data.base import Split
from genlab.data.image_folder import ImageFolder
from genlab.measure.features.cache import MemoryCache
from genlab.measure.measuring import choose_instruments
from genlab.measure.protocol import EvaluationProtocol
from genlab.runs.identity import config_hash
from tests.tiny import ROOT, train

SPLITS = get_args(Split)


def noise(seed: int, shape: tuple[int, ...] = (12, 10, 3)) -> Image.Image:
    return Image.fromarray(np.random.RandomState(seed).randint(0, 256, shape).astype(np.uint8))


def saved(picture: Image.Image, path: Path, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, **options)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twenty cats and ten dogs, no two alike."""
    for number in range(30):
        saved(noise(number), tmp_path / "photos" / ("cat" if number < 20 else "dog") / f"{number:02}.png")
    return tmp_path / "photos"


def folder(path: Path, **options: object) -> ImageFolder:
    return ImageFolder(**{"path": path, "size": 8, "cache": "memory", **options})


def splits_of(data: ImageFolder) -> dict[str, list[bytes]]:
    return {split: [row.numpy().tobytes() for row in data.tensors(split).x] for split in SPLITS}


class TestSplits:
    """Drawn once, in each class alike, and recorded."""

    def test_sub_folders_are_classes_and_each_has_its_share(self, photos: Path) -> None:
        data = folder(photos)
        assert (data.spec.shape, data.spec.levels, data.spec.num_classes) == ((3, 8, 8), 256, 2)
        assert {split: data.tensors(split).y.bincount().tolist() for split in SPLITS} == {
            "train": [16, 8],
            "validation": [2, 1],
            "test": [2, 1],
        }
        assert data.tensors("test").x.dtype == torch.uint8
        assert data.split_name("test") == "test (10 % of each class, split seed 0)"
        assert data.split_name("train") == "train (80 % of each class, split seed 0)"

    def test_they_depend_on_their_own_seed_alone(self, photos: Path) -> None:
        first = splits_of(folder(photos))
        assert splits_of(folder(photos, seed=5)) == first
        other = folder(photos, split_seed=1)
        assert splits_of(other) != first
        assert other.spec.name != folder(photos).spec.name
        assert other.split_name("test").endswith("split seed 1)")

    def test_equal_pictures_are_in_one_split_and_counted(self, photos: Path, caplog: pytest.LogCaptureFixture) -> None:
        for number in range(12):  # of one class and across classes, under other names and in other formats
            saved(noise(number % 3), photos / ("cat" if number < 6 else "dog") / f"again{number}.bmp")
        with caplog.at_level(logging.WARNING):
            found = splits_of(folder(photos))
        sets = [set(rows) for rows in found.values()]
        assert sum(map(len, sets)) == len(set().union(*sets)) == 30
        assert sum(map(len, found.values())) == 42
        assert "12 pictures equal others; equal ones are in the same split" in caplog.text

    def test_a_folder_without_sub_folders_has_no_classes(self, photos: Path) -> None:
        data = folder(photos / "cat")
        assert data.spec.num_classes is None
        assert data.tensors("train").y is None
        assert [len(data.tensors(split).x) for split in SPLITS] == [16, 2, 2]

    def test_folders_that_are_links_are_classes_as_others_are(self, photos: Path, tmp_path: Path) -> None:
        for number in range(10):
            saved(noise(100 + number), tmp_path / "elsewhere" / f"{number}.png")
        (photos / "bird").symlink_to(tmp_path / "elsewhere")
        (tmp_path / "elsewhere" / "again").symlink_to(photos)  # a circle
        data = folder(photos)
        assert data.classes == ["bird", "cat", "dog"]
        assert len(data.listing.pictures) == 40

    def test_splits_are_no_classes(self, photos: Path) -> None:
        (photos / "cat").rename(photos / "Train")
        (photos / "dog").rename(photos / "test")
        with pytest.raises(GenlabError, match=r"has the sub-folders Train, test, which are splits and no classes"):
            folder(photos)

    def test_training_comes_first_and_rows_keep_their_labels(self, tmp_path: Path) -> None:
        for number in range(40):
            shade = Image.new("L", (4, 4), number)
            saved(shade, tmp_path / f"{number % 2}" / f"{number:02}.png")
        data = folder(tmp_path, channels=1)
        for split in SPLITS:
            assert torch.equal(data.tensors(split).x[:, 0, 0, 0].long() % 2, data.tensors(split).y)

    def test_each_state_and_preparation_is_another_data_set(self, photos: Path) -> None:
        options = [{}, {"fit": "pad"}, {"background": "black"}, {"size": 9}, {"channels": 1}]
        names = {folder(photos, **option).spec.name for option in options}
        saved(noise(99), photos / "dog" / "29.png")
        names.add(folder(photos).spec.name)
        assert len(names) == 6
        assert all(name.startswith("image_folder_photos_") for name in names)

    def test_mirroring_is_a_part_of_the_draw(self, photos: Path) -> None:
        plain, mirrored = folder(photos, batch_size=24), folder(photos, batch_size=24, flip=True)
        x, drawn = (data.train_dataloader().batch(3).x for data in (plain, mirrored))
        kept = (drawn == x).flatten(1).all(1)
        assert 0 < kept.sum() < 24
        assert torch.equal(drawn[~kept], x[~kept].flip(3))
        assert splits_of(plain) == splits_of(mirrored)


class TestAwkward:
    """What is no good is left out and named, or refused."""

    @pytest.fixture
    def with_others(self, photos: Path) -> Path:
        (photos / "cat" / "03.png").write_bytes((photos / "cat" / "03.png").read_bytes()[:200])
        (photos / "dog" / "bad\x1b[31m.jpg").write_bytes(b"no picture")
        (photos / "dog" / "empty.webp").touch()
        (photos / "notes.txt").write_text("cats and dogs")
        (photos / "dog" / "IMG_1.HEIC").write_bytes(b"ftypheic")
        for hidden in (".DS_Store", "dog/._21.png", "__MACOSX/21.png", ".thumbnails/21.png"):
            (photos / hidden).parent.mkdir(exist_ok=True)
            (photos / hidden).write_bytes(b"no picture")
        os.mkfifo(photos / "cat" / "pipe.png")
        return photos

    def test_it_is_left_out_and_named(self, with_others: Path, caplog: pytest.LogCaptureFixture) -> None:
        data = folder(with_others)
        assert data.spec.num_classes == 2
        with caplog.at_level(logging.WARNING):
            assert sum(map(len, splits_of(data).values())) == 29
        assert "left out 3 pictures that cannot be read: cat/03.png: " in caplog.text
        assert r"dog/bad\x1b[31m.jpg: it is no picture, or of a kind that is not read" in caplog.text
        assert "\x1b" not in caplog.text
        assert "left out files that are no pictures: 1 .txt, 1 .heic, 1 .png" in caplog.text

    def test_it_is_refused_on_request(self, with_others: Path) -> None:
        with pytest.raises(GenlabError, match=r"files that are no pictures: .*1 \.heic.* data.broken=skip"):
            folder(with_others, broken="refuse")
        for name in ("notes.txt", "dog/IMG_1.HEIC", "cat/pipe.png"):
            (with_others / name).unlink()
        with pytest.raises(GenlabError, match=r"cat/03.png: [^\n]*\n.* \(and 1 more\)\n.*data.broken=skip"):
            folder(with_others, broken="refuse").setup("fit")

    def test_a_class_of_which_too_little_remains_is_told(self, photos: Path) -> None:
        for number in range(3):
            saved(noise(0), photos / "cow" / f"{number}.png")
        with pytest.raises(GenlabError, match=r"cow has 1 picture that can be read and differ"):
            folder(photos).tensors("train")

    def test_folders_that_cannot_be_used_are_told(self, tmp_path: Path) -> None:
        with pytest.raises(GenlabError, match=r"data.path is not given, expected a folder of pictures"):
            ImageFolder()
        with pytest.raises(GenlabError, match="nowhere, which is missing"):
            folder(tmp_path / "nowhere")
        (tmp_path / "a.heic").touch()
        with pytest.raises(GenlabError, match=r"holds no pictures, expected files named .png, .* it has 1 .heic"):
            folder(tmp_path)
        with pytest.raises(GenlabError, match=r"a.heic, which is not a folder"):
            folder(tmp_path / "a.heic")
        saved(noise(0), tmp_path / "a.png")
        with pytest.raises(GenlabError, match="has 1 pictures, expected at least 3"):
            folder(tmp_path)
        saved(noise(0), tmp_path / "b" / "b.png")
        with pytest.raises(GenlabError, match="has 1 pictures beside its sub-folders"):
            folder(tmp_path)
        (tmp_path / "c").mkdir()
        for number in range(3):
            (tmp_path / "c" / f"{number}.jpg").write_bytes(b"")
        with pytest.raises(GenlabError, match=r"None of the pictures in .*c can be read: 0.jpg"):
            folder(tmp_path / "c").tensors("train")

    @pytest.mark.parametrize(
        ("option", "message"),
        [
            ({"channels": 2}, r"data.channels is 2, expected 1 \(gray\) or 3"),
            ({"fit": "corp"}, "data.fit is 'corp', expected crop or pad. Did you mean 'crop'"),
            ({"background": "whyte"}, "data.background is 'whyte', .* Did you mean 'white'"),
            ({"broken": "skipp"}, "data.broken is 'skipp'"),
        ],
    )
    def test_other_options_are_told(self, photos: Path, option: dict[str, object], message: str) -> None:
        with pytest.raises(GenlabError, match=message):
            folder(photos, **option)


class TestCache:
    """Pictures are read once; what was kept is the same, and never that of another state."""

    def read(self, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
        """A list that grows by the pictures that are read."""
        read: list[Path] = []
        real = image_folder.decode_pictures

        def decode(paths: list[Path], preparation: object) -> object:
            read.extend(paths)
            return real(paths, preparation)

        monkeypatch.setattr(image_folder, "decode_pictures", decode)
        return read

    def test_what_was_kept_is_what_was_read(
        self, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (photos / "cat" / "03.png").write_bytes(b"")
        expected, read = folder(photos), self.read(monkeypatch)
        for _ in range(2):
            kept = folder(photos, cache=tmp_path / "kept")
            for split in SPLITS:
                assert torch.equal(kept.tensors(split).x, expected.tensors(split).x)
                assert torch.equal(kept.tensors(split).y, expected.tensors(split).y)
            assert kept.train_dataloader().batch(0).x.shape == (64, 3, 8, 8)
        assert len(read) == 30 + 30, "once for each place"

    def test_the_pieces_in_which_it_is_read_change_nothing(
        self, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Pieces of five pictures and chunks of four files, where there are thirty."""
        whole = folder(photos, cache=tmp_path / "whole")
        whole.tensors("train")
        monkeypatch.setattr(picture_cache, "PIECE", 5 * 3 * 8 * 8 + 1)
        monkeypatch.setattr(listing, "CHUNK", 4)
        monkeypatch.setattr(listing, "_KNOWN", {})
        parts = folder(photos, cache=tmp_path / "parts")
        assert parts.listing_checksum == whole.listing_checksum
        assert splits_of(parts) == splits_of(whole)
        kept, same = (next(path.rglob("*.safetensors")) for path in (tmp_path / "parts", tmp_path / "whole"))
        assert kept.read_bytes() == same.read_bytes()

    def test_the_left_out_are_named_at_each_start(
        self, photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        (photos / "cat" / "03.png").write_bytes(b"")
        for _ in range(2):
            caplog.clear()
            image_folder._told.clear()  # as in another process
            with caplog.at_level(logging.WARNING):
                folder(photos, cache=tmp_path).tensors("train")
                folder(photos, cache=tmp_path).tensors("test")
            assert caplog.text.count("cat/03.png") == 1, "once in each"
        with pytest.raises(GenlabError, match=r"cat/03\.png"):
            folder(photos, cache=tmp_path, broken="refuse").tensors("train")

    def test_in_memory_one_command_reads_once(self, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        read = self.read(monkeypatch)
        assert splits_of(folder(photos)) == splits_of(folder(photos))
        assert len(read) == 30

    @pytest.mark.parametrize("place", [10, -10])
    def test_a_damaged_file_is_read_again(self, photos: Path, tmp_path: Path, place: int) -> None:
        expected = splits_of(folder(photos, cache=tmp_path))
        (kept,) = tmp_path.glob("*.safetensors")
        content = bytearray(kept.read_bytes())
        content[place] ^= 1
        kept.write_bytes(content)
        assert splits_of(folder(photos, cache=tmp_path)) == expected
        assert kept.read_bytes() != bytes(content)

    def test_a_change_of_the_same_size_is_noticed(self, tmp_path: Path) -> None:
        for number in range(4):
            saved(noise(number), tmp_path / "p" / f"{number}.bmp")
        first = folder(tmp_path / "p", cache=tmp_path)
        first.tensors("train")
        content = saved(noise(9), tmp_path / "other.bmp").read_bytes()
        (tmp_path / "p" / "2.bmp").write_bytes(content)
        os.utime(tmp_path / "p" / "2.bmp", ns=(0, 1))
        second = folder(tmp_path / "p", cache=tmp_path)
        assert second.spec.name != first.spec.name
        assert splits_of(second) != splits_of(first)

    def test_a_change_that_keeps_size_and_time_is_noticed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As of files from an archive without times, or whose EXIF data a program mends."""
        for number in range(4):
            os.utime(saved(noise(number), tmp_path / "p" / f"{number}.bmp"), (1, 1))
        first = folder(tmp_path / "p", cache=tmp_path)
        first.prepare_data()
        time.sleep(0.05)  # times of entries are coarse
        os.utime(saved(noise(9), tmp_path / "p" / "2.bmp"), (1, 1))
        monkeypatch.setattr(listing, "_KNOWN", {})
        assert folder(tmp_path / "p", cache=tmp_path).spec.name != first.spec.name

    def test_what_the_files_hold_is_looked_at_once(
        self, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for path in photos.glob("*/*"):
            os.utime(path, (1, 1))  # long ago
        name = folder(photos, cache=tmp_path)
        name.prepare_data()
        monkeypatch.setattr(listing, "_KNOWN", {})
        monkeypatch.setattr(listing, "_digest", lambda path: pytest.fail("it was looked at again"))
        assert folder(photos, cache=tmp_path).spec.name == name.spec.name

    def test_it_lies_beside_the_data_or_with_the_user(
        self, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GENLAB_HOME", str(tmp_path / "home"))
        root = tmp_path / "root"
        root.mkdir()
        folder(photos, cache=None, root=root).prepare_data()
        assert list((root / "genlab_cache").glob("image_folder_photos_*"))
        sealed = tmp_path / "sealed"
        sealed.mkdir(mode=0o555)
        data = folder(photos, cache=None, root=sealed)
        data.prepare_data()
        assert not list(sealed.iterdir())
        assert list((tmp_path / "home" / "cache").glob("image_folder_photos_*"))
        assert splits_of(data) == splits_of(folder(photos))

    def test_features_of_them_are_kept_beside_them(self, photos: Path, tmp_path: Path) -> None:
        def kept(data: ImageFolder) -> object:
            return choose_instruments(data, EvaluationProtocol("p", "test", 1, None, 100, 100, 0)).cache

        assert kept(folder(photos, cache=tmp_path / "kept")).folder == tmp_path / "kept"
        assert isinstance(kept(folder(photos)), MemoryCache)

    def test_where_it_is_kept_makes_no_other_run(self) -> None:
        def identity(**settings: object) -> str:
            return config_hash({"data": {"path": "photos", "cache": None, "size": 64, **settings}})

        assert identity(cache="memory") == identity(cache="/scratch", root="/data") == identity()
        assert identity(size=32) != identity()

    def test_where_nothing_can_be_kept_it_is_told(self, photos: Path, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(GenlabError, match=r"cannot be kept in .*file .*\n.*data.cache=memory"):
            folder(photos, cache=tmp_path / "file" / "deep").prepare_data()

    def test_a_full_disk_leaves_nothing(self, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*arguments: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr("genlab.data.picture_cache._header", full)
        with pytest.raises(GenlabError, match="No space left on device"):
            folder(photos, cache=tmp_path / "kept").prepare_data()
        assert not list((tmp_path / "kept").iterdir())


def test_from_a_folder_of_mixed_pictures_to_a_table(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    from genlab.command.cli import compare

    for number in range(60):
        mode, suffix = [("RGB", "jpg"), ("L", "png"), ("CMYK", "jpg"), ("RGBA", "webp"), ("P", "gif")][number % 5]
        picture = noise(number, (20 + number, 30, 3)).convert(mode)
        saved(picture, tmp_path / "mixed" / ("left" if number % 2 else "right") / f"{number}.{suffix}")
    small = ["data.size=8", f"data.cache={tmp_path / 'kept'}", "budget.examples=64", "budget.validations=1"]
    *trainings, (script, *compared) = readme_lines_for_a_folder(tmp_path / "mixed")
    assert script == "scripts/compare.py"
    models = [words[1].removeprefix("model=") for words in trainings]
    assert len(set(models)) == 2
    for model, (_, _, *words) in zip(models, trainings, strict=True):
        result = train(tmp_path, *words, *small, model=model)
        assert result.data.name.startswith("image_folder_mixed_8_")
        assert result.data.split == "test (10 % of each class, split seed 0)"
    assert compare([*compared, f"paths.logs={tmp_path}"]) == 0
    table = capsys.readouterr().out
    assert result.data.name in table
    assert "10 % of each class" in table
    assert all(name in table for name in models)


def readme_lines_for_a_folder(photos: Path) -> list[list[str]]:
    """The words of the README's lines from a folder to a table, each from the script on, with another folder."""
    text = (ROOT / "README.md").read_text()
    (block,) = [block for block in text.split("\n\n") if "data=image_folder" in block and block.startswith("    ")]
    lines = [shlex.split(line)[1:] for line in block.splitlines()]
    return [[word.replace("data.path=photos", f"data.path={photos}") for word in words] for words in lines]
