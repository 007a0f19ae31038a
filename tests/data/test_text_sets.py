"""The text data sets: their symbols and splits, on small files of the same form and on the real one that is at hand."""

from __future__ import annotations

import hashlib
import io
import zipfile
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from genlab.core.errors import GenlabError
from genlab.data.files import Archive
from genlab.data.text import Enwik8, Shakespeare, Text8, TextData

SPLITS = ("train", "validation", "test")
WORDS = b" anarchism originated as a term of abuse first used against early working class radicals" * 20
MARKUP = "<page>\n  <title>Anarchism</title>\n  [[fr:Anarchisme libéral]] 日本語\n</page>\n".encode() * 20


def zipped(name: str, content: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return packed.getvalue()


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@pytest.fixture(params=[(Text8, WORDS), (Enwik8, MARKUP)], ids=["text8", "enwik8"])
def small(
    request: pytest.FixtureRequest, mirror: ThreadingHTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[TextData, bytes]:
    """A data set whose archive is small, on a mirror on this machine."""
    cls, content = request.param
    name = cls.__name__.lower()
    packed = zipped(name, content)
    (mirror.folder / f"{name}.zip").write_bytes(packed)
    archive = Archive(f"{name}.zip", sha256(packed), (mirror.url,), {f"{name}/{name}": sha256(content)})
    monkeypatch.setattr(cls, "archives", (archive,))
    return cls(tmp_path / "data", length=16), content


def test_it_is_downloaded_and_cut_into_chunks_that_do_not_overlap(small: tuple[TextData, bytes]) -> None:
    data, content = small
    ends = [0, int(0.9 * len(content)), int(0.9 * len(content)) + (len(content) - int(0.9 * len(content))) // 2, None]
    for split, start, stop in zip(SPLITS, ends, ends[1:], strict=False):
        part = content[start:stop]
        batch = data.tensors(split)
        assert batch.x.dtype == torch.int64
        assert batch.y is None
        alphabet = data.spec.alphabet
        found = batch.x.flatten().tolist()
        read = bytes(found) if alphabet is None else "".join(alphabet[number] for number in found).encode()
        assert read == part[: len(part) // 16 * 16]
    assert data.spec.levels == (256 if data.spec.alphabet is None else 27)


def test_the_whole_files_are_split_at_90_and_95_million() -> None:
    for cls in (Text8, Enwik8):
        assert cls().parts(100_000_000) == {
            "train": (0, 90_000_000), "validation": (90_000_000, 95_000_000), "test": (95_000_000, 100_000_000)
        }  # fmt: skip


def test_the_archives_are_those_of_the_sets() -> None:
    """What only a download would show: names, and one checksum of the archive and one of the file."""
    for cls in (Text8, Enwik8):
        (archive,) = cls.archives
        name = cls.__name__.lower()
        assert archive.name == f"{name}.zip"
        assert set(archive.files) == {f"{name}/{name}"}
        assert archive.mirrors[0] == "https://mattmahoney.net/dc/"
        assert len(archive.checksum.removeprefix("sha256:")) == 64


@pytest.mark.real_data
@pytest.mark.parametrize("real_root", ["tinyshakespeare"], indirect=True)
def test_shakespeare_is_read_as_it_is_and_split_as_nanogpt_does(real_root: Path) -> None:
    content = (real_root / "tinyshakespeare" / "input.txt").read_text()
    data = Shakespeare(real_root, split="nanogpt")
    assert "".join(sorted(set(content))) == data.alphabet
    assert "".join(data.alphabet[number] for number in data.symbols("train")[:500].tolist()) == content[:500]
    assert [len(data.symbols(split)) for split in SPLITS] == [1_003_854, 111_540, 111_540]
    assert "which also selects" in data.split_name("test")
    standard = Shakespeare(real_root)
    assert [len(standard.symbols(split)) for split in SPLITS] == [1_003_854, 55_770, 55_770]
    with pytest.raises(GenlabError, match=r"data.split is 'half'"):
        Shakespeare(real_root, split="half")
