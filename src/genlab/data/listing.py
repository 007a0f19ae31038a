"""The pictures in a folder: which files they are, and a checksum of what they hold that is not computed twice."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from genlab.core.errors import GenlabError, shown
from genlab.data.decoding import SUFFIXES
from genlab.data.folders import is_hidden, walk
from genlab.runs.atomic import make_folder, write_atomic

__all__ = ["Listing", "list_pictures"]

SETTLED_SECONDS = 2.0
"""Age from which a file's time of change tells its states apart; of one that is younger nothing is kept."""
CHUNK = 64
"""Files whose checksums are computed as one task: tasks take more memory than what is found of the files."""

State = tuple[int, int, int]
"""A file's size in bytes, its time of change in ns, and that of its entry, which no program sets back."""

_KNOWN: dict[tuple[str, State], str] = {}
"""Checksums that this process has computed: it lists a folder more than once."""


@dataclass(frozen=True)
class Listing:
    """What a folder holds.

    Attributes:
        folder: The folder.
        pictures: Files that are pictures by their names, sorted by their paths.
        others: How many files have other names, by the ends of these; hidden ones are not counted.
    """

    folder: Path
    pictures: tuple[Path, ...]
    others: Counter[str]

    def checksum(self, notes: Sequence[Path]) -> str:
        """Return ``"sha256:hexdigest"`` of the pictures' paths below the folder and their contents.

        Args:
            notes: Files in which :meth:`keep` may have left checksums; those of files that have not changed are taken.
        """
        states, known = _states(self.pictures), self._kept(notes)
        names = [path.relative_to(self.folder).as_posix() for path in self.pictures]
        keys = [(str(path.absolute()), state) for path, state in zip(self.pictures, states, strict=True)]
        for key, name, state in zip(keys, names, states, strict=True):
            if key not in _KNOWN and (kept := known.get(name, [()])) and tuple(kept[:-1]) == state:
                _KNOWN[key] = str(kept[-1])
        missing = [(path, key) for path, key in zip(self.pictures, keys, strict=True) if key not in _KNOWN]
        chunks = [missing[first : first + CHUNK] for first in range(0, len(missing), CHUNK)]
        with ThreadPoolExecutor() as pool:
            for digests in pool.map(lambda chunk: [(key, _digest(path)) for path, key in chunk], chunks):
                _KNOWN.update(digests)
        total = hashlib.sha256()
        for name, key in zip(names, keys, strict=True):
            total.update(name.encode("utf-8", "surrogateescape") + b"\0" + _KNOWN[key].encode())
        return f"sha256:{total.hexdigest()}"

    def keep(self, path: Path) -> None:
        """Leave the checksums in a file, for the next start.

        Raises:
            OSError: If it cannot be written.
        """
        settled = time.time_ns() - SETTLED_SECONDS * 1e9
        entries = {}
        for picture, state in zip(self.pictures, _states(self.pictures), strict=True):
            digest = _KNOWN.get((str(picture.absolute()), state))
            if digest and state[1] < settled:
                entries[picture.relative_to(self.folder).as_posix()] = [*state, digest]
        make_folder(path.parent)
        write_atomic(path, json.dumps({"folder": str(self.folder.absolute()), "files": entries}))

    def _kept(self, notes: Sequence[Path]) -> dict[str, list[object]]:
        for path in notes:
            try:
                found = json.loads(path.read_text())
                if found["folder"] == str(self.folder.absolute()):
                    return {name: [size, *times, digest] for name, (size, *times, digest) in found["files"].items()}
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                continue  # missing or damaged: they are computed again
        return {}


def _states(paths: Sequence[Path]) -> list[State]:
    states = []
    for path in paths:
        found = path.stat()
        states.append((found.st_size, found.st_mtime_ns, found.st_ctime_ns))
    return states


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return "unreadable"  # it will be told when it is to be read as a picture


def list_pictures(folder: Path) -> Listing:
    """List a folder and what lies below it; hidden files and folders are not looked at.

    Raises:
        GenlabError: If there is no such folder, or no picture in it.
    """
    if not folder.is_dir():
        state = "is not a folder" if folder.exists() else "is missing"
        raise GenlabError(f"data.path is {shown(folder)}, which {state}, expected a folder of pictures.")
    found: list[Path] = []
    others: Counter[str] = Counter()
    for path in walk(folder, is_hidden):
        if path.suffix.lower() in SUFFIXES and path.is_file():  # opening a pipe would wait for ever
            found.append(path)
        else:
            others[path.suffix.lower() or path.name] += 1
    if not found:
        beside = f"; it has {say_others(others)}" if others else ""
        raise GenlabError(f"{shown(folder)} holds no pictures, expected files named {', '.join(SUFFIXES)}{beside}.")
    return Listing(folder, tuple(sorted(found)), others)


def say_others(others: Counter[str]) -> str:
    """Say how many files of which names there are: ``"10 .txt, 2 .heic"``."""
    most = [f"{count:,} {shown(name)}" for name, count in others.most_common(5)]
    return ", ".join(most) + (" ..." if len(others) > 5 else "")
