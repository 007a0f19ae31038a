"""The sound data sets: downloaded as folders, split as their authors say, on small files of the same form."""

from __future__ import annotations

import io
import tarfile
from dataclasses import replace
from http.server import ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from genlab.core.errors import GenlabError
from genlab.data.files import FolderArchive, contents_checksum, ensure_folder
from genlab.data.sound import SpeechCommandsDigits, SpokenDigits

SPLITS = ("train", "validation", "test")
FILES = {"recordings/a.wav": b"first", "recordings/b.wav": b"second"}


def tar_of(members: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def put(folder: Path, files: dict[str, bytes] = FILES) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def archive(mirror: ThreadingHTTPServer, tmp_path: Path) -> FolderArchive:
    """Two files, with others beside them in the archive, some of which want to lie elsewhere."""
    others = {"repo-1.0/README.md": b"read me", "../../recordings/c.txt": b"no", "repo-1.0/recordings/..": b""}
    packed = tar_of({**{f"repo-1.0/{name}": content for name, content in FILES.items()}, **others})
    (mirror.folder / "v1.tar.gz").write_bytes(packed)
    whole = put(tmp_path / "whole")
    contents = contents_checksum(sorted(whole.glob("recordings/*.wav")), whole)
    return FolderArchive("v1.tar.gz", (mirror.url,), "set", ("recordings/*.wav",), 2, contents)


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


class TestFolders:
    """Many files, checked together."""

    def test_a_missing_folder_is_downloaded(self, archive: FolderArchive, tmp_path: Path) -> None:
        ensure_folder(tmp_path / "data", archive)
        assert names(tmp_path / "data") == {f"set/{name}" for name in FILES}
        assert (tmp_path / "data" / "set" / "recordings" / "b.wav").read_bytes() == b"second"

    def test_a_good_folder_needs_no_network(
        self, archive: FolderArchive, tmp_path: Path, mirror: ThreadingHTTPServer
    ) -> None:
        put(tmp_path / "data" / "set", {**FILES, "notes.txt": b"mine"})
        ensure_folder(tmp_path / "data", archive)
        assert not mirror.requests

    @pytest.mark.parametrize(
        "files", [{"recordings/a.wav": b"first"}, {**FILES, "recordings/b.wav": b"2nd"}], ids=["missing", "altered"]
    )
    def test_a_bad_folder_is_kept_aside_and_replaced(
        self, archive: FolderArchive, tmp_path: Path, files: dict[str, bytes]
    ) -> None:
        put(tmp_path / "data" / "set", {**files, "notes.txt": b"mine"})
        ensure_folder(tmp_path / "data", archive)
        assert names(tmp_path / "data" / "set") == set(FILES)
        assert (tmp_path / "data" / "set.corrupt" / "notes.txt").read_bytes() == b"mine"

    @pytest.mark.parametrize("content", [b"<html>not found</html>", tar_of({"repo/recordings/a.wav": b"first"})])
    def test_what_a_mirror_should_not_have_sent_is_refused(
        self, archive: FolderArchive, tmp_path: Path, mirror: ThreadingHTTPServer, content: bytes
    ) -> None:
        (mirror.folder / "v1.tar.gz").write_bytes(content)
        with pytest.raises(GenlabError, match=r"set has 0 of 2 files, and it could not be downloaded .*checksum"):
            ensure_folder(tmp_path / "data", archive)
        assert not (tmp_path / "data" / "set").exists()

    def test_without_a_network_it_says_what_to_do(self, archive: FolderArchive, tmp_path: Path) -> None:
        dead = replace(archive, mirrors=("http://127.0.0.1:9/",))
        with pytest.raises(GenlabError, match=r"no connection\)\.\nUnpack http://127.0.0.1:9/v1.tar.gz to .*set"):
            ensure_folder(tmp_path / "data", dead)

    def test_no_member_leads_out_of_the_folder(self, archive: FolderArchive) -> None:
        loose = replace(archive, members=("*/*.wav",))
        assert loose.place("repo/recordings/a.wav") == "recordings/a.wav"
        assert [loose.place(name) for name in ("repo/../a.wav", "../a.wav", "/a.wav", "a.wav")] == [None] * 4

    def test_a_renamed_file_changes_the_checksum(self, archive: FolderArchive, tmp_path: Path) -> None:
        folder = put(tmp_path / "set", {"recordings/a.wav": b"second", "recordings/b.wav": b"first"})
        assert "altered" in (archive.problem(folder) or "")


def wav(length: int) -> bytes:
    """A recording whose first half is quiet."""
    buffer = io.BytesIO()
    soundfile.write(buffer, 0.5 * (np.arange(length) >= length / 2), 16_000, format="WAV")
    return buffer.getvalue()


def test_sc09_takes_its_splits_from_the_lists(
    mirror: ThreadingHTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = {"./bed/a_nohash_0.wav": wav(10), "./LICENSE": b"CC BY"}
    for digit in SpeechCommandsDigits.digits:
        members |= {f"./{digit}/{who}_nohash_0.wav": wav(16_000 - 1000 * place) for place, who in enumerate("abcd")}
    listed = {"validation_list.txt": "b", "testing_list.txt": "d"}
    for name, who in listed.items():
        lines = [f"{digit}/{who}_nohash_0.wav" for digit in ("bed", *SpeechCommandsDigits.digits)]
        members[f"./{name}"] = "\n".join(lines).encode()
    packed = tar_of(members)
    (mirror.folder / "speech_commands_v0.02.tar.gz").write_bytes(packed)
    small = replace(SpeechCommandsDigits.folders[0], mirrors=(mirror.url,), count=42, checksum=None)
    monkeypatch.setattr(SpeechCommandsDigits, "folders", (small,))
    data = SpeechCommandsDigits(tmp_path)
    found = {split: data.tensors(split) for split in SPLITS}
    assert not (tmp_path / "speech_commands_v0.02" / "bed").exists()
    assert [len(found[split].x) for split in SPLITS] == [20, 10, 10]
    assert found["test"].y.tolist() == list(range(10))
    # Not trimmed: what is masked is only what is missing to a second.
    assert found["validation"].mask.sum(-1).unique().tolist() == [15_000]
    assert data.spec.shape == (1, 16_000)
    assert data.spec.num_classes == 10


def test_sc09_is_the_published_set() -> None:
    (archive,) = SpeechCommandsDigits.folders
    assert archive.count == 31_158 + 3_643 + 4_107 + 2
    assert archive.checksum is not None


@pytest.mark.real_data
@pytest.mark.parametrize("real_root", ["fsdd"], indirect=True)
def test_the_spoken_digits_at_hand_are_those_of_the_release(real_root: Path) -> None:
    (archive,) = SpokenDigits.folders
    assert archive.problem(real_root / "fsdd") is None
    data = SpokenDigits(real_root)
    numbers = {split: data._numbers(split) for split in SPLITS}
    assert [sum(map(len, numbers[split].values())) for split in SPLITS] == [2400, 300, 300]
    assert all(found == [0, 1, 2, 3, 4] for found in numbers["test"].values())
    test = data.tensors("test")
    assert torch.bincount(test.y).tolist() == [30] * 10
    assert (test.x[~test.mask] == 128).all()
