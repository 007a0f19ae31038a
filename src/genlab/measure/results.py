"""Result files: where they lie, how they are written and read. What a result is, :mod:`genlab.measure.result` says."""

from __future__ import annotations

import json
import platform
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from genlab.core.errors import GenlabError
from genlab.measure.protocol import PROTOCOL_VERSION, EvaluationProtocol
from genlab.measure.result import RESULT_SCHEMA, Result, ResultError
from genlab.measure.result_sections import ProtocolInfo
from genlab.runs.atomic import what_is_in_the_way, write_atomic
from genlab.runs.code import this_code
from genlab.runs.folder import RunDir

__all__ = ["new_result", "parse_result", "read_result", "result_path", "write_result"]


def new_result(**sections: Any) -> Result:
    """Make a result: the given sections, with layout number, time and versions around them.

    Args:
        **sections: Fields of :class:`~genlab.measure.result.Result`, as objects or plain mappings; they win over what
            is filled in. An unknown figure is None with its reason in ``missing``.

    Raises:
        ResultError: If one is missing or wrong, holds NaN or an infinity, or a null without a reason.
    """
    code = this_code()
    filled_in = {
        "schema": RESULT_SCHEMA,
        "code_version": code.version,
        "code_sha256": code.sha256,
        "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "missing": {},
        "software": {"python": platform.python_version(), "torch": metadata.version("torch")},
    }
    return Result.of(filled_in | sections)


def write_result(run: RunDir, result: Result, checkpoint: str = "best") -> Path:
    """Write a result of a run in one step and return its path, that of `result_path`.

    Args:
        run: Whose result it is.
        result: What is written.
        checkpoint: The checkpoint that was asked for; see `result_path`.

    Raises:
        GenlabError: If another protocol of the same name has left its result there.
        OSError: If the file cannot be written.
    """
    path = result_path(run, result.protocol, checkpoint)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps(result.as_dict(), indent=2, allow_nan=False, ensure_ascii=False) + "\n")
    return path


def result_path(run: RunDir, protocol: EvaluationProtocol | ProtocolInfo, checkpoint: str = "best") -> Path:
    """Return where a result stands: ``results/<protocol>.json``, or ``<protocol>.last.json`` for the last checkpoint.

    Args:
        run: Whose result it is.
        protocol: Its name and hash are asked for.
        checkpoint: The checkpoint that was asked for, ``"best"`` or ``"last"``.

    Raises:
        GenlabError: If a protocol of that name and another hash has left a result there, which would be lost.
    """
    suffix = "" if checkpoint == "best" else f".{checkpoint}"
    path = run.results / f"{protocol.name}{suffix}.json"
    if path.exists() and (there := read_result(path).protocol.hash) != protocol.hash:
        raise GenlabError(
            f"{path} is the result of another protocol '{protocol.name}' (hash {there}, not {protocol.hash}).\n"
            f"A protocol with settings of its own, and this version {PROTOCOL_VERSION} of one that was of an earlier "
            "version, needs a name of its own: add evaluation.name=<name>."
        )
    return path


def read_result(path: Path | str) -> Result:
    """Read a result file.

    Raises:
        GenlabError: If the file is missing, broken, of another layout, or no result at all.
    """
    try:
        if there := what_is_in_the_way(path):  # opening a pipe would wait for ever
            raise ResultError([f"it is {there}"])
        return parse_result(Path(path).read_bytes())
    except FileNotFoundError:
        raise GenlabError(f"There is no result {path}. Evaluate the run first.") from None
    except ResultError as error:
        raise GenlabError(f"{path} is not a valid result: {error.problems[0]}. Evaluate the run again.") from error


def parse_result(content: bytes) -> Result:
    """Return the result that the content of a file is.

    Raises:
        ResultError: If it is none; its problems begin with what to tell the user.
    """
    try:
        return Result.from_json(content)
    except ValidationError:
        return Result.of(_of_this_layout(content))


def _of_this_layout(content: bytes) -> dict[str, Any]:
    try:
        result = json.loads(content)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else f"it is no JSON: {error}"
        raise ResultError([reason]) from error
    number = result.get("schema") if isinstance(result, dict) else None
    if type(number) is not int:
        raise ResultError(["it is no result of genlab: it has no schema number"])
    if number != RESULT_SCHEMA:
        raise ResultError([f"it has layout {number}, this version of genlab reads {RESULT_SCHEMA}"])
    return result
