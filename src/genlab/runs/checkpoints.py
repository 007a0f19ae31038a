"""Checkpoints that survive: written in one step, one generation kept, checked before they are trusted.

A checkpoint holds tensors and plain containers only, so that it opens without unpickling.
"""

from __future__ import annotations

import errno
import logging
import os
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import CheckpointIO
from torch import Tensor

from genlab.core.errors import GenlabError
from genlab.runs.atomic import atomic_file, remove_leftovers, what_is_in_the_way
from genlab.runs.folder import RunDir

__all__ = [
    "AtomicCheckpointIO",
    "CheckpointError",
    "assert_plain",
    "load_checkpoint",
    "resume_checkpoint",
    "training_record",
]

_log = logging.getLogger("genlab")
_MAPPINGS = (dict, OrderedDict, Counter)
_SEQUENCES = (list, tuple, set, torch.Size)
# Exact types: a NumPy float is a Python float by inheritance, and cannot be loaded without unpickling.
_LEAVES = {
    type(None), bool, int, float, complex, str, bytes,
    Tensor, torch.nn.Parameter, torch.dtype, torch.device,
}  # fmt: skip


class CheckpointError(GenlabError):
    """A checkpoint that is truncated, altered or not one of ours."""


class AtomicCheckpointIO(CheckpointIO):
    """Lightning plugin that writes and reads checkpoints so that a good one is there at every instant.

    A checkpoint is written to a temporary name, synced and renamed. Before ``last.ckpt`` is replaced it becomes
    ``last.previous.ckpt``.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: object = None) -> None:
        """Write a checkpoint.

        Args:
            checkpoint: Tensors and plain containers, see `assert_plain`.
            path: Where to; a local file, its folder is made if it is missing.
            storage_options: Must be None.

        Raises:
            TypeError: If the checkpoint holds something that could not be loaded again.
            GenlabError: If it cannot be written, e.g. on a full disk; the files that were there are unharmed.
        """
        if storage_options is not None:
            raise TypeError("storage_options must be None: checkpoints are local files.")
        assert_plain(checkpoint)
        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            previous = path.with_name(RunDir.PREVIOUS) if path.name == RunDir.LAST else None
            with atomic_file(path, previous) as file:
                torch.save(checkpoint, file)
        except (OSError, RuntimeError) as error:
            reason = _write_failure(error)
            if reason is None:
                raise
            raise GenlabError(
                f"Could not write the checkpoint {path}: {reason}. The last good checkpoint is unharmed.\n"
                "Make room or mend the disk, then give the same command again: the run goes on from there."
            ) from error

    def load_checkpoint(
        self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = True
    ) -> dict[str, Any]:
        """Read a checkpoint to ``map_location``; never unpickles, so ``weights_only=False`` is refused.

        Raises:
            ValueError: If ``weights_only`` is False.
            CheckpointError: If the file is missing, truncated, altered or holds more than plain data.
        """
        if weights_only is False:
            raise ValueError("weights_only=False would unpickle: checkpoints hold plain data and need none of it.")
        return load_checkpoint(path, map_location)

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove a checkpoint; one that is gone already is no error."""
        Path(path).unlink(missing_ok=True)


def load_checkpoint(path: str | Path, map_location: Any = "cpu", mmap: bool = False) -> dict[str, Any]:
    """Read a checkpoint after checking every byte of it against its checksum, without unpickling.

    torch notices a file that is cut short, but not a flipped bit inside a tensor; the zip container that it writes
    records a CRC-32 of each part, and checking those costs about 0.4 ms per MB.

    Args:
        path: The checkpoint file.
        map_location: Where the tensors go, as for `torch.load`.
        mmap: Map the tensors from the file instead of reading them.

    Raises:
        CheckpointError: If the file is missing, truncated, altered or holds more than plain data.
    """
    try:
        if there := what_is_in_the_way(path):  # opening a pipe would wait for ever
            raise CheckpointError(f"The checkpoint {path} is {there}, and no file.")
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is None:
            checkpoint = torch.load(path, map_location=map_location, weights_only=True, mmap=mmap)
    except CheckpointError:
        raise
    except FileNotFoundError:
        raise CheckpointError(f"The checkpoint {path} does not exist.") from None
    except zipfile.BadZipFile as error:
        raise CheckpointError(f"The checkpoint {path} is truncated or no checkpoint ({error}).") from error
    except Exception as error:
        # Trouble of the machine is not the file's: nobody should take it for damaged. A seek to nowhere (EINVAL) is
        # the exception: a damaged table of contents leads there.
        if isinstance(error, MemoryError | OSError) and getattr(error, "errno", None) != errno.EINVAL:
            raise
        reason = str(error).partition("\n")[0]
        raise CheckpointError(f"The checkpoint {path} cannot be read ({reason}).") from error
    if damaged is not None:
        raise CheckpointError(f"The checkpoint {path} is damaged: the checksum of its part {damaged} does not match.")
    if not isinstance(checkpoint, dict):
        raise CheckpointError(f"The checkpoint {path} holds a {type(checkpoint).__name__}, expected a dict.")
    return checkpoint


def training_record(checkpoint: Mapping[str, Any], path: Path | str) -> dict[str, Any]:
    """Return what a checkpoint says of its training: ``progress``, ``hardware``, ``stopped_by`` and ``code``.

    The last of these is for :func:`genlab.runs.code.codes_of`; checkpoints of earlier versions lack it.

    Raises:
        CheckpointError: If it does not, as one of another program.
    """
    record = checkpoint.get("genlab")
    if not isinstance(record, Mapping) or not all(name in record for name in ("progress", "hardware", "stopped_by")):
        raise CheckpointError(f"The checkpoint {path} does not say how it was trained: it is none of genlab's runs.")
    return dict(record)


def resume_checkpoint(run: RunDir) -> Path | None:
    """Return the newest usable checkpoint to go on from, or None for a run that has none yet.

    A damaged file is kept aside under its name plus ``.corrupt`` and a warning says so. Call it in one process only,
    the one that holds the run's lock.

    Raises:
        GenlabError: If there are checkpoints and none of them is usable.
    """
    remove_leftovers(run.checkpoints)
    damage: list[str] = []
    for path in (run.last_checkpoint, run.previous_checkpoint):
        if not path.exists():
            continue
        try:
            load_checkpoint(path, mmap=True)
        except CheckpointError as error:
            aside = path.with_name(path.name + ".corrupt")
            os.replace(path, aside)
            damage.append(f"{error} Kept aside as {aside.name}")
        else:
            if damage:
                _log.warning("%s; going on from %s.", damage[0], path.name)
            return path
    if damage:
        raise GenlabError(
            f"{'; '.join(damage)}. No usable checkpoint is left in this run.\n"
            "Put one back from a backup, or give the same command again to start the run from its beginning."
        )
    return None


def assert_plain(value: object, path: str = "") -> None:
    """Check that a checkpoint holds only what loads without unpickling: tensors, numbers, strings, plain containers.

    Raises:
        TypeError: Names the path of the first key whose value is something else.
    """
    kind = type(value)
    if kind in _LEAVES:
        return
    if kind in _MAPPINGS:
        for key, item in value.items():
            assert_plain(key, f"{path} (key)")
            assert_plain(item, f"{path}.{key}" if path else str(key))
    elif kind in _SEQUENCES:
        for index, item in enumerate(value):
            assert_plain(item, f"{path}[{index}]")
    else:
        raise TypeError(
            f"checkpoint[{path}] is a {kind.__module__}.{kind.__qualname__}; "
            "a checkpoint holds tensors, numbers, strings and plain containers only."
        )


def _write_failure(error: BaseException | None) -> str | None:
    # torch's writer may turn the disk's error into a RuntimeError of its own, which has the disk's as its context.
    while error is not None:
        if isinstance(error, OSError):
            return error.strerror or str(error)
        error = error.__cause__ or error.__context__
    return None
