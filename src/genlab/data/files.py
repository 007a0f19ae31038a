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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO
from urllib.parse import urlsplit

from genlab.core.errors import GenlabError, shown
from genlab.runs.atomic import what_is_in_the_way

__all__ = ["Archive", "ensure_files", "file_checksum"]

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
    kept = _set_aside(path, problem, archive)
    log.warning("%s; it was kept as %s.", problem, kept.name)
    return f"{problem}, it was kept as {kept.name}"


def _algorithm(checksum: str) -> str:
    return checksum.partition(":")[0]


def _set_aside(path: Path, problem: str, archive: Archive) -> Path:
    kept = next(name for name in _corrupt_names(path) if not name.exists())
    try:
        path.rename(kept)
    except OSError as error:
        raise GenlabError(
            f"{problem}, and {path.parent} cannot be written ({error.strerror}).\n{_advice(path, archive)}"
        ) from error
    return kept


def _corrupt_names(path: Path) -> Iterator[Path]:
    yield path.with_name(f"{path.name}.corrupt")
    number = 2
    while True:
        yield path.with_name(f"{path.name}.corrupt{number}")
        number += 1


def _advice(path: Path, archive: Archive) -> str:
    return (
        f"Unpack {archive.mirrors[0]}{archive.name} to {shown(path)}, "
        "or set data.root (GENLAB_DATA) to a folder that has the file."
    )


def _download(root: Path, archive: Archive, problems: Mapping[str, str]) -> None:
    from requests import RequestException  # pooch's own dependency; slow to import, and rarely needed

    first, problem = next(iter(problems.items()))
    failures = []
    try:
        (root / first).parent.mkdir(parents=True, exist_ok=True)
        # Beside the target, so that the last step is a rename within one file system: a file is there whole or not.
        with TemporaryDirectory(dir=(root / first).parent, prefix=".download-") as scratch:
            for mirror in archive.mirrors:
                try:
                    unpacked = _fetch(mirror, archive, list(problems), Path(scratch))
                except (RequestException, ValueError) as error:
                    failures.append(f"{urlsplit(mirror).netloc}: {_reason(error)}")
                    continue
                for name, path in unpacked.items():
                    os.replace(path, root / name)
                return
    except OSError as error:
        raise GenlabError(
            f"{problem}, and no file can be written there ({error.strerror}).\n{_advice(root / first, archive)}"
        ) from error
    raise GenlabError(
        f"{problem}, and it could not be downloaded ({'; '.join(failures)}).\n{_advice(root / first, archive)}"
    )


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
    import pooch

    # A terminal shows the progress bar, and an error names the mirrors: pooch's own lines would only stand between.
    pooch.get_logger().setLevel("WARNING")
    downloader = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), chunk_size=1 << 16, timeout=TIMEOUT_SECONDS)
    packed = pooch.retrieve(
        mirror + archive.name, known_hash=archive.checksum, fname=archive.name, path=scratch, downloader=downloader
    )
    unpacked = {name: scratch / Path(name).name for name in names}
    _unpack(Path(packed), list(unpacked.values()))
    for name, path in unpacked.items():
        expected = archive.files[name]
        if not path.exists() or file_checksum(path, _algorithm(expected)) != expected:
            raise ValueError(f"{archive.name} from {mirror} does not hold the expected {name}.")
    return unpacked


def _unpack(packed: Path, targets: list[Path]) -> None:
    # Only the names asked for are written, to paths of our own: a member's path can lead nowhere else.
    wanted = {target.name: target for target in targets}
    for name, source in _members(packed):
        target = wanted.get(Path(name).name) if name else targets[0]
        if target is not None:
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
