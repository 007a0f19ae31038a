"""The folder of a pretrained model: found, and each file in it looked at before a library opens it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable
from math import prod
from pathlib import Path, PurePosixPath
from typing import Any

import yaml
from safetensors import safe_open

from genlab.core.errors import GenlabError, shown
from genlab.core.memory import memory_bytes, say_bytes
from genlab.core.words import counted
from genlab.runs.addresses import Address, is_address
from genlab.runs.atomic import what_is_in_the_way
from genlab.runs.pulling import pull_files

__all__ = [
    "Files",
    "check_layers",
    "check_numbers",
    "checksum",
    "file_in",
    "find_model",
    "read_json",
    "trained_on",
    "weights_in",
]

MOST_SETTINGS = 2**20
"""Bytes of a file of settings or of a model's card; those that people publish have a few thousand."""
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
CARD = "README.md"
_MOST_NAMES, _MOST_SHOWN = 8, 80

Files = Callable[[Collection[str], Path], dict[str, float]]
"""Says which files of a kind of model are opened, and the most bytes of each, given the names of all that there are and
a folder with those that were fetched so far. Settings come before the weights of which they speak: a model that is not
read here is refused before its weights are fetched."""


def find_model(reference: str | None, kind: str, files: Files) -> tuple[Path, Address | None]:
    """Return the folder that a setting names, and the address of its commit where it was pulled from the Hub.

    Args:
        reference: A folder, or an address as of :mod:`genlab.runs.addresses`.
        kind: What kind of model it is, a word.
        files: The files that are pulled, and the model's card.

    Raises:
        GenlabError: If none was given, there is no such folder, or it cannot be pulled.
    """
    if not reference:
        raise GenlabError("model.path is not given, expected the folder of a pretrained model. Add model.path=...")
    if is_address(reference):
        address = Address.parse(reference)
        return pull_files(address, kind, lambda names, there: _chosen(str(address), names, files(names, there)))
    folder = Path(reference).expanduser()
    try:
        is_folder = folder.is_dir()
    except OSError:  # a name that is too long for one
        is_folder = False
    if not is_folder:
        raise GenlabError(f"model.path is {shown(folder)}, which is no folder, expected that of a pretrained model.")
    return folder, None


def _chosen(where: str, names: Collection[str], files: dict[str, float]) -> dict[str, float]:
    for name in files:
        if name.endswith(".safetensors"):
            _check_weights(where, names, name)
        if name not in names:
            raise GenlabError(f"{where} has no {name}: it is no pretrained model of this kind.")
    return {**files, CARD: MOST_SETTINGS} if CARD in names else files


def file_in(folder: Path, name: str, most: float = MOST_SETTINGS) -> Path:
    """Return a file of a folder that may be opened.

    Args:
        folder: As of :func:`find_model`.
        name: Where it lies in the folder.
        most: Most bytes that it may have.

    Raises:
        GenlabError: If it is missing, no file, too large, or a link that leads out of the folder.
    """
    path = folder / name
    try:
        there = what_is_in_the_way(path)
        if there is None and not path.resolve(strict=True).is_relative_to(folder.resolve()):
            there = "a link out of that folder"
        size = path.stat().st_size if there is None else 0
    except (FileNotFoundError, NotADirectoryError):
        raise GenlabError(f"{shown(folder)} has no {name}: it is no pretrained model of this kind.") from None
    except (OSError, RuntimeError) as error:  # a link to itself is either
        raise GenlabError(f"{shown(path)} cannot be read ({error}).") from error
    if there is not None:
        raise GenlabError(f"{shown(path)} is {there}, expected a file.")
    if size > most:
        raise GenlabError(f"{shown(path)} has {say_bytes(size)}, expected at most {say_bytes(most)}.")
    return path


def weights_in(folder: Path, name: str) -> Path:
    """Return a file of weights in safetensors; arguments as of :func:`file_in`.

    Raises:
        GenlabError: Also if the weights are divided among several files, or pickled, which runs code when it is opened.
    """
    place = (folder / name).parent
    there = [file.relative_to(folder).as_posix() for file in place.iterdir()] if place.is_dir() else []
    _check_weights(shown(folder), there, name)
    return file_in(folder, name, memory_bytes())


def _check_weights(where: str, names: Collection[str], name: str) -> None:
    """Refuse weights that are not in their one file, by the names of all that there are, seen from ``where``."""
    path = PurePosixPath(name)
    place = where if len(path.parts) == 1 else f"{where}/{path.parent}"
    if f"{name}.index.json" in names:
        raise GenlabError(f"The weights in {place} are in several files, expected one, {path.name}.")
    beside = [each for each in map(PurePosixPath, names) if each.parent == path.parent]
    pickled = sorted(each.name for each in beside if each.suffix in PICKLES)
    if pickled and name not in names:
        raise GenlabError(
            f"{place} has weights as {shown(pickled[0])}, which may run code when it is opened. "
            f"Expected {path.name}: save them as safetensors."
        )


def check_layers(settings: Path, key: str, layers: int, weights: Path) -> None:
    """Refuse settings of more layers than there are tensors of weights: to make them would take hours, and fit nothing.

    Args:
        settings: The file that says so.
        key: Its key.
        layers: As many as it says.
        weights: In safetensors, of which the head is read.

    Raises:
        GenlabError: If a layer would have less than one tensor.
    """
    with safe_open(weights, framework="pt") as file:
        tensors = len(file.keys())
    if layers > tensors:
        raise GenlabError(
            f"{shown(settings)}: {key} stands for {layers:,} layers, but {shown(weights.name)} has "
            f"{counted(tensors, 'tensor')}, fewer than one for each."
        )


def check_numbers(settings: Path, count: int, weights: Path) -> None:
    """Refuse a network of more numbers than its weights have; arguments as of :func:`check_layers`.

    Raises:
        GenlabError: If it has more.
    """
    with safe_open(weights, framework="pt") as file:
        names = file.keys()
        there = sum(prod(file.get_slice(name).get_shape()) for name in names)
    if count > there:
        raise GenlabError(
            f"The weights in {shown(weights)} are not those of its {shown(settings.name)}: {there:,} numbers, "
            f"expected {count:,}."
        )


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """Read a file of settings; arguments as of :func:`file_in`.

    Raises:
        GenlabError: Also if it is damaged.
    """
    path = file_in(folder, name)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise GenlabError(f"{shown(path)} is damaged: {reason}") from error
    if not isinstance(found, dict):
        raise GenlabError(f"{shown(path)} holds a {type(found).__name__}, expected settings.")
    return found


def trained_on(folder: Path) -> str:
    """Return what the model's card says that it was trained on, a few words; ``unknown`` where it says nothing.

    The card is ``README.md``, whose head, between two lines of three dashes, names ``datasets``. Nobody checks it.
    """
    if not (folder / CARD).exists():
        return "unknown"
    text = file_in(folder, CARD).read_text(encoding="utf-8", errors="replace")
    opening, _, rest = text.removeprefix("\ufeff").partition("\n")
    head, end, _ = rest.partition("\n---")
    if opening.strip() != "---" or not end or "&" in head:  # an anchor: a few lines of them stand for a huge list
        return "unknown"
    try:
        said = yaml.safe_load(head)
    except (yaml.YAMLError, RecursionError, ValueError):
        return "unknown"
    named = said.get("datasets") if isinstance(said, dict) else None
    names = [named] if isinstance(named, str) else named if isinstance(named, list) else []
    words = [shown(" ".join(name.split()))[:_MOST_SHOWN] for name in names if isinstance(name, str) and name.strip()]
    more = ["..."] * (len(words) > _MOST_NAMES)
    return f"{', '.join(words[:_MOST_NAMES] + more)} (its card)" if words else "unknown"


def checksum(files: Iterable[Path]) -> bytes:
    """Return the SHA-256 of what files hold, one after the other, by which two states of a model are told apart."""
    digest = hashlib.sha256()
    for path in files:
        with open(path, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.digest()
