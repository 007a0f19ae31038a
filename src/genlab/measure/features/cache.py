"""Features of real examples, kept between runs: they are the same for every model of a data set."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from genlab.runs.atomic import write_atomic

__all__ = ["FEATURES_VERSION", "FeatureCache", "MemoryCache"]

FEATURES_VERSION = 1
"""Raised when code changes what features an extractor gives: then what was kept is computed again."""

_log = logging.getLogger("genlab")


class FeatureCache:
    """Features as files below a folder, each under a key of all that it depends on.

    The key holds the examples themselves, by their SHA-256, so that changed data never gets old features; a file tells
    its key and the SHA-256 of its content, and one that is damaged or foreign is computed again. Files are written in
    one step, so that any number of processes may share the folder. Where it cannot be written, nothing is kept.

    Args:
        folder: Where the files lie, made at the first write; its parent must exist.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(
        self,
        data: str,
        split: str,
        extractor_sha256: str,
        x: Tensor,
        levels: int,
        extract: Callable[[], dict[str, Tensor]],
    ) -> dict[str, Tensor]:
        """Return what ``extract`` gives for examples, from the file if there is one.

        Args:
            data: Name of the data set.
            split: Name of the split; with the data's it names the file, for people who look into the folder.
            extractor_sha256: Checksum of the extractor.
            x: ``[N, ...]``, the examples, on the CPU.
            levels: Number of values per dimension.
            extract: Computes the features: tensors by name, ``[N, D]`` each.
        """
        path, key = self._locate(data, split, extractor_sha256, x, levels)
        found = _read(path, key, len(x))
        if found is None:
            found = extract()
            _write(path, key, found)
        return found

    def has(self, data: str, split: str, extractor_sha256: str, x: Tensor, levels: int) -> bool:
        """Whether there is a file of these features; :meth:`get` looks into it."""
        return self._locate(data, split, extractor_sha256, x, levels)[0].is_file()

    def _locate(
        self, data: str, split: str, extractor_sha256: str, x: Tensor, levels: int
    ) -> tuple[Path, dict[str, str]]:
        key = {
            "version": str(FEATURES_VERSION),
            "extractor_sha256": extractor_sha256,
            "examples_sha256": _checksum({"x": x}),
            "levels": str(levels),
        }
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        return self.folder / f"{data}-{split}-{digest[:16]}.safetensors", key


class MemoryCache:
    """Features in main memory, for one process that measures the same examples again and again."""

    def __init__(self) -> None:
        self._kept: dict[tuple[object, ...], dict[str, Tensor]] = {}

    def get(
        self,
        data: str,
        split: str,
        extractor_sha256: str,
        x: Tensor,
        levels: int,
        extract: Callable[[], dict[str, Tensor]],
    ) -> dict[str, Tensor]:
        """Return what ``extract`` gives for examples, computed once for equal ones; see :meth:`FeatureCache.get`."""
        # By what the examples are: where they lie says nothing, since memory that was freed is used again.
        key = _name(data, split, extractor_sha256, x, levels)
        if key not in self._kept:
            self._kept[key] = extract()
        return self._kept[key]

    def has(self, data: str, split: str, extractor_sha256: str, x: Tensor, levels: int) -> bool:
        """Whether these features are kept."""
        return _name(data, split, extractor_sha256, x, levels) in self._kept


def _name(data: str, split: str, extractor_sha256: str, x: Tensor, levels: int) -> tuple[object, ...]:
    return (data, split, extractor_sha256, levels, _checksum({"x": x}))


def _checksum(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)};".encode())
        digest.update(tensor.numpy())
    return digest.hexdigest()


def _read(path: Path, key: dict[str, str], count: int) -> dict[str, Tensor] | None:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        _log.info("%s cannot be read (%s): the features are computed again.", path, error.strerror)
        return None
    try:
        tensors = load(content)
        length = int.from_bytes(content[:8], "little")
        about = json.loads(content[8 : 8 + length]).get("__metadata__", {})
        if about == {**key, "content_sha256": _checksum(tensors)} and all(len(t) == count for t in tensors.values()):
            return tensors
    except (SafetensorError, ValueError, TypeError, AttributeError):
        pass
    _log.info("%s is damaged or of something else: the features are computed again.", path)
    return None


def _write(path: Path, key: dict[str, str], tensors: dict[str, Tensor]) -> None:
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    content = save(tensors, metadata={**key, "content_sha256": _checksum(tensors)})
    try:
        path.parent.mkdir(exist_ok=True)
        write_atomic(path, content)
    except OSError as error:
        _log.info("%s cannot be written (%s): the features are not kept.", path, error.strerror)
