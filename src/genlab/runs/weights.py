"""The weights of a run: from its checkpoints, or from the file of an export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from genlab.runs.checkpoints import CheckpointError, load_checkpoint
from genlab.runs.exports import WEIGHTS, ExportDir, check_file
from genlab.runs.folder import RunDir

__all__ = ["open_weights"]


def open_weights(run: RunDir, path: Path) -> dict[str, Any]:
    """Read a checkpoint of a run, checked byte by byte and without unpickling.

    Args:
        run: The run.
        path: Its checkpoint; see :func:`genlab.command.load.find_checkpoint`.

    Returns:
        ``state_dict``, and in ``genlab`` what the training was; of an export nothing else.

    Raises:
        CheckpointError: If the file is missing, truncated, altered or holds more than plain data.
        GenlabError: If it is none that an export has, such as a link.
    """
    return _exported(run) if isinstance(run, ExportDir) else load_checkpoint(path, mmap=True)


def _exported(run: ExportDir) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = check_file(run.source, WEIGHTS, run.export.files[WEIGHTS])
    try:
        tensors = load_file(path)
    except (SafetensorError, KeyError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{path} is no file of safetensors ({reason}).") from error
    training = run.export.training.model_dump(mode="json")
    return {"state_dict": tensors, "genlab": {**training, "progress": run.export.progress.model_dump()}}
