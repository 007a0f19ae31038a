"""Files are checked, fetched from the first mirror that has them, and never lost; the network is a last resort."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
from dataclasses import replace
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from genlab.core.downloads import no_downloads
from genlab.core.errors import GenlabError
from genlab.data.files import Archive, ensure_files

DEAD = "http://127.0.0.1:1/"  # nothing listens on port 1
NAME = "Set/raw/values"
CONTENT = b"the values of a data set" * 100


def checksum(content: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"


def gzip_archive(*mirrors: str, packed: bytes = gzip.compress(CONTENT, mtime=0)) -> Archive:
    return Archive("values.gz", checksum(packed, "md5"), mirrors, {NAME: checksum(CONTENT)})


@pytest.fixture
def served(mirror: ThreadingHTTPServer) -> ThreadingHTTPServer:
    (mirror.folder / "values.gz").write_bytes(gzip.compress(CONTENT, mtime=0))
    return mirror


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


def put(root: Path, content: bytes, name: str = NAME) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def names(root: Path) -> set[str]:
    return {path.name for path in (root / NAME).parent.iterdir()}


def test_a_missing_file_is_downloaded_and_unpacked(root: Path, served: ThreadingHTTPServer) -> None:
    ensure_files(root, gzip_archive(served.url))
    assert (root / NAME).read_bytes() == CONTENT
    assert names(root) == {"values"}, "nothing else may be left in the folder"


def test_a_file_that_is_not_packed_is_taken_as_it_is(root: Path, mirror: ThreadingHTTPServer) -> None:
    """Under the name that it has at the mirror, or another."""
    (mirror.folder / "values").write_bytes(CONTENT)
    for name in (NAME, "Set/raw/other"):
        archive = Archive("values", checksum(CONTENT), (mirror.url,), {name: checksum(CONTENT)})
        ensure_files(root, archive)
        assert (root / name).read_bytes() == CONTENT
    dead = replace(archive, mirrors=(DEAD,), files={"third": checksum(CONTENT)})
    with pytest.raises(GenlabError, match=rf"Save {DEAD}values \({checksum(CONTENT)}\) to {root / 'third'}, or set"):
        ensure_files(root, dead)


def test_good_files_need_no_network_and_no_writable_folder(root: Path, served: ThreadingHTTPServer) -> None:
    path = put(root, CONTENT)
    path.chmod(0o400)
    path.parent.chmod(0o500)
    ensure_files(root, gzip_archive(served.url))
    assert served.requests == []
    path.parent.chmod(0o700)


@pytest.mark.parametrize("bad", ["dead", "not there", "altered"])
def test_the_next_mirror_serves_what_the_first_does_not(bad: str, root: Path, served: ThreadingHTTPServer) -> None:
    other = served.folder / "other"
    other.mkdir()
    if bad == "altered":
        (other / "values.gz").write_bytes(gzip.compress(b"something else"))
    first = DEAD if bad == "dead" else f"{served.url}other/"
    ensure_files(root, gzip_archive(first, served.url))
    assert (root / NAME).read_bytes() == CONTENT
    assert served.requests[-1] == "/values.gz"
    assert len(served.requests) == (1 if bad == "dead" else 2)


def test_mirrors_are_tried_in_order(root: Path, served: ThreadingHTTPServer) -> None:
    ensure_files(root, gzip_archive(served.url, f"{served.url}never/"))
    assert served.requests == ["/values.gz"]


def test_a_missing_file_without_a_network_says_what_to_do(root: Path) -> None:
    with pytest.raises(GenlabError) as caught:
        ensure_files(root, gzip_archive(DEAD))
    message = str(caught.value)
    assert f"{root / NAME} is missing" in message
    assert "127.0.0.1:1: no connection" in message
    assert f"Unpack {DEAD}values.gz to {root / NAME}" in message
    assert len(message.splitlines()) == 2


def test_where_nothing_is_downloaded_what_is_missing_is_said(root: Path, served: ThreadingHTTPServer) -> None:
    with no_downloads(), pytest.raises(GenlabError, match=r"is missing, and nothing is downloaded here\.\nUnpack h"):
        ensure_files(root, gzip_archive(served.url))
    assert not root.exists()
    ensure_files(root, gzip_archive(served.url))
    assert (root / NAME).read_bytes() == CONTENT


def test_where_nothing_is_downloaded_what_is_altered_stays_as_it_is(root: Path, served: ThreadingHTTPServer) -> None:
    path = put(root, b"of somebody else")
    with no_downloads(), pytest.raises(GenlabError, match=r"truncated or altered .*, and nothing is downloaded here"):
        ensure_files(root, gzip_archive(served.url))
    assert [found.name for found in path.parent.iterdir()] == [path.name]


def test_the_message_names_each_mirror_and_its_failure(root: Path, served: ThreadingHTTPServer) -> None:
    other = served.folder / "other"
    other.mkdir()
    (other / "values.gz").write_bytes(b"altered")
    with pytest.raises(GenlabError, match=r"HTTP 404; .*unexpected checksum; .*no connection"):
        ensure_files(root, gzip_archive(f"{served.url}never/", f"{served.url}other/", DEAD))
    assert names(root) == set()


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT[:-1] + b"?", b""], ids=["truncated", "altered", "empty"])
def test_a_bad_file_is_kept_aside_and_replaced(
    content: bytes, root: Path, served: ThreadingHTTPServer, caplog: pytest.LogCaptureFixture
) -> None:
    put(root, content)
    ensure_files(root, gzip_archive(served.url))
    assert (root / NAME).read_bytes() == CONTENT
    assert (root / f"{NAME}.corrupt").read_bytes() == content
    assert f"expected {checksum(CONTENT)}, found {checksum(content)}" in caplog.text
    assert "values.corrupt" in caplog.text


def test_a_second_bad_file_does_not_replace_the_first(root: Path, served: ThreadingHTTPServer) -> None:
    for content in (b"first", b"second", b"third"):
        put(root, content)
        ensure_files(root, gzip_archive(served.url))
    kept = [(root / f"{NAME}.{suffix}").read_bytes() for suffix in ("corrupt", "corrupt2", "corrupt3")]
    assert kept == [b"first", b"second", b"third"]


def test_a_bad_file_without_a_network_is_kept_and_explained(root: Path) -> None:
    put(root, b"bad")
    with pytest.raises(GenlabError) as caught:
        ensure_files(root, gzip_archive(DEAD))
    message = str(caught.value)
    assert f"expected {checksum(CONTENT)}, found {checksum(b'bad')}" in message
    assert "kept as values.corrupt" in message
    assert f"Unpack {DEAD}values.gz" in message
    assert (root / f"{NAME}.corrupt").read_bytes() == b"bad"


def test_a_bad_file_in_a_read_only_folder_stays_where_it_is(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(root, b"bad")

    def refuse(*args: object) -> None:
        raise OSError(30, os.strerror(30))

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(GenlabError, match=r"found sha256:.* cannot be written \(Read-only file system\)"):
        ensure_files(root, gzip_archive(DEAD))
    assert path.read_bytes() == b"bad"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, served: ThreadingHTTPServer) -> None:
    blocker = tmp_path / "blocker"
    blocker.write_text("a file where the root should be")
    with pytest.raises(GenlabError, match=r"is missing, and no file can be written there .*\n.*GENLAB_DATA"):
        ensure_files(blocker, gzip_archive(served.url))
    assert served.requests == []


def test_a_full_disk_leaves_no_half_file(
    root: Path, served: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(packed: Path, targets: list[Path]) -> None:
        targets[0].write_bytes(CONTENT[:10])
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("genlab.data.files._unpack", full)
    with pytest.raises(GenlabError, match="No space left on device"):
        ensure_files(root, gzip_archive(served.url))
    assert names(root) == set()


def test_a_file_that_cannot_be_read_is_named(root: Path) -> None:
    (root / NAME).mkdir(parents=True)
    with pytest.raises(GenlabError, match=r"values is a folder, expected a file"):
        ensure_files(root, gzip_archive(DEAD))


def test_an_archive_that_unpacks_to_other_bytes_is_refused(root: Path, served: ThreadingHTTPServer) -> None:
    archive = replace(gzip_archive(served.url), files={NAME: checksum(b"what was expected")})
    with pytest.raises(GenlabError, match="unexpected checksum"):
        ensure_files(root, archive)
    assert names(root) == set()


class TestTar:
    """An archive of several files, with members that nobody asked for."""

    FILES = {"set-bin/a.bin": b"aaaa", "set-bin/b.bin": b"bbbb"}  # noqa: RUF012

    @pytest.fixture
    def archive(self, mirror: ThreadingHTTPServer) -> Archive:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
            for name, content in {**self.FILES, "set-bin/readme.html": b"-", "../escaped.bin": b"!"}.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
        (mirror.folder / "set.tar.gz").write_bytes(buffer.getvalue())
        files = {name: checksum(content, "sha1") for name, content in self.FILES.items()}
        return Archive("set.tar.gz", checksum(buffer.getvalue()), (mirror.url,), files)

    def test_only_the_listed_members_are_unpacked(self, root: Path, archive: Archive) -> None:
        ensure_files(root, archive)
        assert {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*.*")} == self.FILES
        assert not (root.parent / "escaped.bin").exists()

    def test_good_files_beside_a_missing_one_are_not_touched(self, root: Path, archive: Archive) -> None:
        good = put(root, b"aaaa", "set-bin/a.bin")
        before = good.stat()
        ensure_files(root, archive)
        assert (root / "set-bin/b.bin").read_bytes() == b"bbbb"
        assert (good.stat().st_ino, good.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)

    def test_a_member_that_is_not_in_the_archive(self, root: Path, archive: Archive) -> None:
        archive = replace(archive, files={**archive.files, "set-bin/c.bin": checksum(b"cccc")})
        with pytest.raises(GenlabError, match="unexpected checksum"):
            ensure_files(root, archive)
