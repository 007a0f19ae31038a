"""A user's own files: their path, what they are called in results, those of a kind in a folder, and its classes."""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from genlab.core.errors import GenlabError, shown
from genlab.data.files import contents_checksum

__all__ = ["class_folders", "files_below", "is_hidden", "name_of", "path_given", "walk"]

log = logging.getLogger(__name__)

SPLITS = frozenset({"train", "training", "val", "valid", "validation", "dev", "test", "testing"})
"""Names, in any case, of folders that are splits and no classes."""

_told: set[str] = set()
"""The folders of which it was said that they cannot be read: a command lists a folder more than once."""


def path_given(path: str | Path | None, what: str) -> Path:
    """Return the path of one's own data.

    Raises:
        GenlabError: If none was given.
    """
    if not path:
        raise GenlabError(f"data.path is not given, expected {what}. Add data.path=...")
    return Path(path).expanduser()


def name_of(kind: str, path: Path, *words: str, checksum: str = "") -> str:
    """Name a data set by its kind, its file or folder, further words, and a part of the checksum of what it holds.

    Args:
        kind: What begins the name.
        path: The file or folder.
        words: What else tells it apart; empty ones are left out.
        checksum: ``"algorithm:hexdigest"`` of what it holds; by default that of the file.

    Raises:
        GenlabError: If the file cannot be read.
    """
    stem = re.sub(r"[^A-Za-z0-9]+", "_", path.resolve().stem).strip("_")[:40]
    try:
        found = checksum or contents_checksum([path], path.parent)
    except OSError as error:
        raise GenlabError(f"{shown(error.filename)} cannot be read ({error.strerror}).") from error
    return "_".join(part for part in (kind, stem, *words, found.partition(":")[2][:6]) if part)


def walk(folder: Path, left_out: Callable[[str], bool] = lambda name: False) -> Iterator[Path]:
    """Give all files in a folder and below, also those of folders that are links; a link in a circle is not followed.

    Args:
        folder: The folder.
        left_out: Says of the name of a file or folder whether it is not looked at.
    """
    within: dict[str, frozenset[str]] = {}
    for place, folders, names in os.walk(folder, onerror=_tell_unread, followlinks=True):
        around = within.get(place, frozenset()) | {os.path.realpath(place)}
        folders[:] = [
            name for name in folders if not left_out(name) and os.path.realpath(os.path.join(place, name)) not in around
        ]
        within |= {os.path.join(place, name): around for name in folders}
        yield from (Path(place) / name for name in names if not left_out(name))


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is not looked at: what a Mac leaves in an archive looks like data."""
    return name.startswith(".") or name == "__MACOSX"


def _tell_unread(error: OSError) -> None:
    if (place := str(error.filename)) not in _told:
        _told.add(place)
        log.warning("Left out the folder %s, which cannot be read (%s).", shown(place), error.strerror)


def files_below(folder: Path, suffixes: Sequence[str], what: str, key: str = "data.path") -> list[Path]:
    """Return all files in a folder and below whose names end in one of some ways, but hidden ones, sorted by paths.

    Args:
        folder: The folder that the user named.
        suffixes: Ends of names in lower case, with the dot.
        what: What the files are called, e.g. ``"recordings"``.
        key: The setting that names the folder.

    Raises:
        GenlabError: If there is no such folder, or no such file in it.
    """
    if not folder.is_dir():
        state = "is not a folder" if folder.exists() else "is missing"
        raise GenlabError(f"{key} is {shown(folder)}, which {state}, expected a folder of {what}.")
    found = sorted(path for path in walk(folder, is_hidden) if path.suffix.lower() in suffixes and path.is_file())
    if not found:
        raise GenlabError(f"{shown(folder)} holds no {what}, expected files named {', '.join(suffixes)}.")
    return found


def class_folders(files: Sequence[Path], folder: Path, what: str) -> list[str]:
    """Return the names of the sub-folders that are classes; none where all files are of one kind.

    Args:
        files: Files in the folder and below.
        folder: The folder that the user named.
        what: What the files are called, e.g. ``"recordings"``.

    Raises:
        GenlabError: If some files lie beside sub-folders, these are splits, or a class has fewer than three.
    """
    tops = Counter(path.relative_to(folder).parts[0] if path.parent != folder else "" for path in files)
    if "" in tops and len(tops) > 1:
        raise GenlabError(
            f"{shown(folder)} has {tops['']} {what} beside its sub-folders, which are classes. "
            "Move them into a sub-folder."
        )
    if len(tops) > 1 and SPLITS.issuperset(top.lower() for top in tops):
        raise GenlabError(
            f"{shown(folder)} has the sub-folders {', '.join(map(shown, sorted(tops)))}, which are splits and no "
            "classes; of a folder, splits are drawn anew. Give one of these by data.path."
        )
    fewest = min(tops, key=lambda top: tops[top])
    if tops[fewest] < 3:
        where = folder / fewest if fewest else folder
        raise GenlabError(
            f"{shown(where)} has {tops[fewest]} {what}, expected at least 3: one to train, to validate and to test."
        )
    return sorted(tops) if len(tops) > 1 else []
