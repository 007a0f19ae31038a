"""Data files: checked on every start, downloaded when they are missing, never deleted."""

from __future__ import annotations

import gzip
import hashlib
import logging
import os
import shutil
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.parse import urlsplit

from genlab.core.downloads import downloads_allowed
from genlab.core.errors import GenlabError, shown
from genlab.runs.atomic import what_is_in_the_way
from genlab.runs.scratch import scratch_folder

__all__ = ["Archive", "FolderArchive", "contents_checksum", "ensure_files", "ensure_folder", "file_checksum"]

log = logging.getLogger(__name__)

TIMEOUT_SECONDS = 20  # to connect, and between two chunks: a mirror that hangs must not keep the next one waiting


@dataclass(frozen=True)
class Archive:
    """One file as it is distributed, and what it unpacks to.

    Args:
        name: File name at the mirrors; ``.tar.gz`` and ``.zip`` are unpacked by member name, ``.gz`` as plain gzip;
            any other name is the file itself.
        checksum: ``"algorithm:hexdigest"`` of the archive.
        mirrors: Base URLs, tried in this order.
        files: Path below the data root -> ``"algorithm:hexdigest"`` of the unpacked file. All in one folder.
    """

    name: str
    checksum: str
    mirrors: tuple[str, ...]
    files: Mapping[str, str]

    def __post_init__(self) -> None:
        if not self.mirrors or not self.files:
            raise ValueError(f"archive {self.name} needs at least one mirror and one file.")


@dataclass(frozen=True)
class FolderArchive:
    """Many small files, as they are distributed in one archive and checked together.

    Args:
        name: File name at the mirrors, ``.tar.gz`` or ``.zip``.
        mirrors: Base URLs, tried in this order.
        folder: Folder below the data root in which the files lie.
        members: Which of the archive they are, by patterns of the ends of their paths, such as ``"recordings/*.wav"``;
            a file lies in the folder under as many parts of its path as its pattern has.
        count: How many files there are.
        contents: Their `contents_checksum`; None: they are counted only.
        checksum: ``"algorithm:hexdigest"`` of the archive; None where it is packed anew at times, as by GitHub.
    """

    name: str
    mirrors: tuple[str, ...]
    folder: str
    members: tuple[str, ...]
    count: int
    contents: str | None = None
    checksum: str | None = None

    def files(self, folder: Path) -> list[Path]:
        """Return the files that are there, sorted by their paths below a folder."""
        return sorted({path for pattern in self.members for path in folder.glob(pattern)})

    def problem(self, folder: Path) -> str | None:
        """Say what is wrong with the files in a folder, or None."""
        found = self.files(folder)
        if len(found) != self.count:
            return f"{shown(folder)} has {len(found):,} of {self.count:,} files"
        if self.contents is None or contents_checksum(found, folder) == self.contents:
            return None
        return f"{shown(folder)} holds files that are truncated or altered"

    def place(self, member: str) -> str | None:
        """Return where a member of the archive lies below the folder; None if it is none of the files."""
        parts = PurePosixPath(member).parts
        for pattern in self.members:
            end = parts[-len(PurePosixPath(pattern).parts) :]
            if PurePosixPath(*end).match(pattern) and ".." not in end and end[0] != "/":
                return "/".join(end)
        return None


def contents_checksum(paths: Iterable[Path], folder: Path) -> str:
    """Return ``"sha256:hexdigest"`` of files' paths below a folder and their contents, in the order given.

    Raises:
        OSError: If one of them cannot be read.
    """
    total = hashlib.sha256()
    for path in paths:
        total.update(path.relative_to(folder).as_posix().encode("utf-8", "surrogateescape") + b"\0")
        with path.open("rb") as stream:
            total.update(hashlib.file_digest(stream, "sha256").digest())
    return f"sha256:{total.hexdigest()}"


def file_checksum(path: Path, algorithm: str) -> str:
    """Return ``"algorithm:hexdigest"`` of a file; ``algorithm`` is a name that ``hashlib`` knows."""
    with path.open("rb") as stream:
        return f"{algorithm}:{hashlib.file_digest(stream, algorithm).hexdigest()}"


def ensure_files(root: Path, archive: Archive) -> None:
    """Check the files of an archive below ``root`` and download those that are missing or altered.

    Every file is hashed on every call: a gigabyte takes about a second, so remembering the outcome is not worth a
    cache that could be wrong. Where all files are as expected, neither the network nor the folder is touched. An
    altered file is renamed to ``<name>.corrupt``, not deleted.

    Raises:
        GenlabError: If a file cannot be read, set aside or downloaded; it names the file, a URL and the place.
    """
    problems: dict[str, str] = {}
    for name, expected in archive.files.items():
        if problem := _check(root / name, expected, archive):
            problems[name] = problem
    if problems:
        _download(root, archive, problems)


def ensure_folder(root: Path, archive: FolderArchive) -> None:
    """Check the files of an archive below ``root`` and download all if any is missing or altered.

    A folder in which something is wrong is renamed to ``<name>.corrupt``, not deleted.

    Raises:
        GenlabError: If the files cannot be read or downloaded; it names the folder, a URL and the place.
    """
    folder = root / archive.folder
    advice = (
        f"Unpack {archive.mirrors[0]}{archive.name} to {shown(folder)}, "
        "or set data.root (GENLAB_DATA) to a folder that has the files."
    )
    try:
        if (problem := archive.problem(folder)) is None:
            return
    except OSError as error:
        raise GenlabError(f"{shown(error.filename)} cannot be read ({error.strerror}).\n{advice}") from error

    def fetch(mirror: str, scratch: Path) -> None:
        unpacked = _fetch_folder(mirror, archive, scratch)
        if folder.exists():
            kept = _set_aside(folder, problem, advice)
            log.warning("%s; it was kept as %s.", problem, kept.name)
        os.replace(unpacked, folder)

    _try_mirrors(archive.mirrors, folder.parent, problem, advice, fetch)


def _fetch_folder(mirror: str, archive: FolderArchive, scratch: Path) -> Path:
    """Download, unpack and verify a folder in ``scratch``; a ValueError means that this mirror's file is wrong."""
    unpacked = scratch / "unpacked"
    packed = _retrieve(mirror, archive.name, archive.checksum, scratch)
    try:
        for member, source in _members(packed):
            # Only what is asked for is written, to paths of our own: a member's path can lead nowhere else.
            if (place := archive.place(member)) is not None:
                (unpacked / place).parent.mkdir(parents=True, exist_ok=True)
                _write(source, unpacked / place)
    except (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, EOFError, KeyError, zlib.error) as error:
        raise ValueError(f"{archive.name} from {mirror} is no archive.") from error
    if problem := archive.problem(unpacked):
        raise ValueError(f"{archive.name} from {mirror}: {problem}.")
    return unpacked


def _check(path: Path, expected: str, archive: Archive) -> str | None:
    try:
        if there := what_is_in_the_way(path):  # opening a pipe would wait for ever
            raise GenlabError(f"{shown(path)} is {there}, expected a file of data.\n{_advice(path, archive)}")
        found = file_checksum(path, _algorithm(expected))
    except (FileNotFoundError, NotADirectoryError):
        return f"{shown(path)} is missing"
    except OSError as error:
        raise GenlabError(f"{shown(path)} cannot be read ({error.strerror}).\n{_advice(path, archive)}") from error
    if found == expected:
        return None
    problem = f"{path} is truncated or altered (expected {expected}, found {found})"
    if not downloads_allowed():
        return problem  # nothing will take its place
    kept = _set_aside(path, problem, _advice(path, archive))
    log.warning("%s; it was kept as %s.", problem, kept.name)
    return f"{problem}, it was kept as {kept.name}"


def _algorithm(checksum: str) -> str:
    return checksum.partition(":")[0]


def _set_aside(path: Path, problem: str, advice: str) -> Path:
    kept = next(name for name in _corrupt_names(path) if not name.exists())
    try:
        path.rename(kept)
    except OSError as error:
        raise GenlabError(f"{problem}, and {path.parent} cannot be written ({error.strerror}).\n{advice}") from error
    return kept


def _corrupt_names(path: Path) -> Iterator[Path]:
    yield path.with_name(f"{path.name}.corrupt")
    number = 2
    while True:
        yield path.with_name(f"{path.name}.corrupt{number}")
        number += 1


def _advice(path: Path, archive: Archive) -> str:
    source = f"{archive.mirrors[0]}{archive.name}"
    is_packed = archive.checksum not in archive.files.values()
    what = f"Unpack {source}" if is_packed else f"Save {source} ({archive.checksum})"
    return f"{what} to {shown(path)}, or set data.root (GENLAB_DATA) to a folder that has the file."


def _download(root: Path, archive: Archive, problems: Mapping[str, str]) -> None:
    first, problem = next(iter(problems.items()))

    def fetch(mirror: str, scratch: Path) -> None:
        for name, path in _fetch(mirror, archive, list(problems), scratch).items():
            os.replace(path, root / name)

    _try_mirrors(archive.mirrors, (root / first).parent, problem, _advice(root / first, archive), fetch)


def _try_mirrors(
    mirrors: tuple[str, ...], folder: Path, problem: str, advice: str, fetch: Callable[[str, Path], None]
) -> None:
    """Fetch from the first mirror that has the right files, by way of a folder that is removed.

    Args:
        mirrors: Base URLs.
        folder: Where the files will lie; made if it is missing.
        problem: Why they are wanted.
        advice: What to do if no mirror has them.
        fetch: Given a mirror and a folder for the time being beside the files, downloads into it and moves them.
    """
    from requests import RequestException  # pooch's own dependency; slow to import, and rarely needed

    if not downloads_allowed():
        raise GenlabError(f"{problem}, and nothing is downloaded here.\n{advice}")
    failures = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Beside the target, so that the last step is a rename within one file system: a file is there whole or not.
        with scratch_folder(folder, ".download-") as scratch:
            for mirror in mirrors:
                try:
                    fetch(mirror, scratch)
                except (RequestException, ValueError) as error:
                    failures.append(f"{urlsplit(mirror).netloc}: {_reason(error)}")
                    continue
                return
    except OSError as error:
        raise GenlabError(f"{problem}, and no file can be written there ({error.strerror}).\n{advice}") from error
    raise GenlabError(f"{problem}, and it could not be downloaded ({'; '.join(failures)}).\n{advice}")


def _reason(error: Exception) -> str:
    from requests import ConnectionError, HTTPError, Timeout

    if isinstance(error, HTTPError):
        return f"HTTP {error.response.status_code}"
    if isinstance(error, Timeout):
        return "timed out"
    if isinstance(error, ConnectionError):
        return "no connection"
    return "unexpected checksum" if type(error) is ValueError else type(error).__name__


def _fetch(mirror: str, archive: Archive, names: list[str], scratch: Path) -> dict[str, Path]:
    """Download, unpack and verify ``names`` in ``scratch``; a ValueError means that this mirror's file is wrong."""
    packed = _retrieve(mirror, archive.name, archive.checksum, scratch)
    # Apart, because what is not packed has the same name before and after.
    (scratch / "unpacked").mkdir(exist_ok=True)
    unpacked = {name: scratch / "unpacked" / Path(name).name for name in names}
    _unpack(packed, list(unpacked.values()))
    for name, path in unpacked.items():
        expected = archive.files[name]
        if not path.exists() or file_checksum(path, _algorithm(expected)) != expected:
            raise ValueError(f"{archive.name} from {mirror} does not hold the expected {name}.")
    return unpacked


def _retrieve(mirror: str, name: str, checksum: str | None, scratch: Path) -> Path:
    """Download one file into ``scratch`` and check it."""
    import pooch

    # A terminal shows the progress bar, and an error names the mirrors: pooch's own lines would only stand between.
    pooch.get_logger().setLevel("WARNING")
    downloader = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), chunk_size=1 << 16, timeout=TIMEOUT_SECONDS)
    return Path(pooch.retrieve(mirror + name, known_hash=checksum, fname=name, path=scratch, downloader=downloader))


def _unpack(packed: Path, targets: list[Path]) -> None:
    # Only the names asked for are written, to paths of our own: a member's path can lead nowhere else.
    wanted = {target.name: target for target in targets}
    for name, source in _members(packed):
        target = wanted.get(Path(name).name) if name else targets[0]
        if target is not None:
            _write(source, target)


def _write(source: IO[bytes], target: Path) -> None:
    with target.open("wb") as sink:
        shutil.copyfileobj(source, sink)


def _members(packed: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Give the files in an archive by their names, or the one file, without a name, that it is."""
    if packed.name.endswith(".tar.gz"):
        with tarfile.open(packed) as tar:
            for member in tar:
                if (source := tar.extractfile(member)) is not None:
                    with source:
                        yield member.name, source
    elif packed.suffix == ".zip":
        with zipfile.ZipFile(packed) as archive:
            for name in archive.namelist():
                with archive.open(name) as source:
                    yield name, source
    else:
        with gzip.open(packed) if packed.suffix == ".gz" else packed.open("rb") as source:
            yield "", source
