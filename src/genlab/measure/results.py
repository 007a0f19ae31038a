"""What a run leaves as figures: one result file per evaluation protocol, and ``metrics.csv``.

``result.schema.json``, in this package, describes the result file; writer and reader hold to it.
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

from genlab.core.errors import GenlabError
from genlab.runs.atomic import write_atomic
from genlab.runs.folder import RunDir
from genlab.runs.identity import code_version

__all__ = ["RESULT_SCHEMA", "new_result", "read_result", "result_path", "result_problems", "write_result"]

#: Number of the layout of a result file; a change of the layout raises it.
RESULT_SCHEMA = 1

# Null says something by itself here: continuous data, no labels.
_NOT_FIGURES = {"data.levels", "data.num_classes"}


def new_result(**sections: Any) -> dict[str, Any]:
    """Begin a result: the given sections, with layout number, time, code version and an empty ``missing`` around them.

    Args:
        **sections: Top-level keys of the result; they win over what is filled in.
    """
    return {
        "schema": RESULT_SCHEMA,
        "code_version": code_version(),
        "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "missing": {},
        **sections,
    }


def write_result(run: RunDir, result: Mapping[str, Any]) -> Path:
    """Write a result of a run in one step and return its path, that of `result_path`.

    Args:
        run: Whose result it is.
        result: All keys of ``result.schema.json``; an unknown figure is None with its reason in ``missing``.

    Raises:
        GenlabError: If another protocol of the same name has left its result there.
        ValueError: If the result does not fit the schema, holds NaN or an infinity, or a null without a reason.
        OSError: If the file cannot be written.
    """
    problems = result_problems(result)
    if problems:
        raise ValueError(f"not a valid result: {'; '.join(problems)}")
    path = result_path(run, result["protocol"], result["training"]["checkpoint"])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps(result, indent=2, allow_nan=False, ensure_ascii=False) + "\n")
    return path


def result_path(run: RunDir, protocol: Mapping[str, str], checkpoint: str = "best") -> Path:
    """Return where a result stands: ``results/<protocol>.json``, or ``<protocol>.last.json`` for the last checkpoint.

    Args:
        run: Whose result it is.
        protocol: Its name and hash.
        checkpoint: The checkpoint that the figures are of, ``"best"`` or ``"last"``.

    Raises:
        GenlabError: If a protocol of that name and another hash has left a result there, which would be lost.
    """
    suffix = "" if checkpoint == "best" else f".{checkpoint}"
    path = run.results / f"{protocol['name']}{suffix}.json"
    if path.exists() and (there := read_result(path)["protocol"]["hash"]) != protocol["hash"]:
        raise GenlabError(
            f"{path} is the result of another protocol '{protocol['name']}' (hash {there}, not {protocol['hash']}).\n"
            "A protocol with settings of its own needs a name of its own: add evaluation.name=<name>."
        )
    return path


def read_result(path: Path | str) -> dict[str, Any]:
    """Read a result file.

    Raises:
        GenlabError: If the file is missing, broken, of another layout, or no result at all.
    """
    try:
        result = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise GenlabError(f"There is no result {path}. Evaluate the run first.") from None
    except ValueError as error:
        raise GenlabError(f"{path} is not a result file: it is no JSON ({error}). Evaluate the run again.") from error
    number = result.get("schema") if isinstance(result, dict) else None
    if type(number) is not int:
        raise GenlabError(f"{path} is not a result file: it has no schema number.")
    if number != RESULT_SCHEMA:
        raise GenlabError(
            f"{path} has layout {number}, this version of genlab reads {RESULT_SCHEMA}. "
            "Use the version that wrote it, or evaluate the run again."
        )
    problems = result_problems(result)
    if problems:
        raise GenlabError(f"{path} is not a valid result: {problems[0]}. Evaluate the run again.")
    return result


def result_problems(result: object) -> list[str]:
    """Return all that is wrong with a result, each with its dotted key; an empty list for a valid one."""
    problems = list(_schema_problems(result, _schema(), ""))
    # The rules about nulls read sections that a result of the wrong shape need not have.
    return problems or list(_null_problems(result))  # type: ignore[arg-type]


@functools.cache
def _schema() -> dict[str, Any]:
    return json.loads(resources.files("genlab.measure").joinpath("result.schema.json").read_text(encoding="utf-8"))


_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict, "array": (list, tuple), "string": str, "number": (int, float), "integer": int, "null": type(None),
}  # fmt: skip


def _schema_problems(value: object, schema: Mapping[str, Any], key: str) -> Iterator[str]:
    """The part of JSON Schema that our file uses; a test holds it against a full validator."""
    if "$ref" in schema:
        schema = {**_schema()["$defs"][schema["$ref"].rpartition("/")[2]], **schema}
    where = key or "the result"
    if isinstance(value, float) and not math.isfinite(value):
        yield f"{where} is {value}: an unknown figure is null with its reason in missing"
        return
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(_is(value, kind) for kind in kinds):
        yield f"{where} is a {type(value).__name__}, expected {' or '.join(kinds)}"
        return
    if "const" in schema and (isinstance(value, bool) or value != schema["const"]):
        yield f"{where} is {value!r}, expected {schema['const']!r}"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{where} is {value!r}, expected one of {', '.join(schema['enum'])}"
    if isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        yield f"{where} is {value!r}, expected the form {schema['pattern']}"
    if isinstance(value, int | float) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        yield f"{where} is {value}, expected {schema.get('minimum', '')} to {schema.get('maximum', '')}"
    if isinstance(value, dict):
        yield from _object_problems(value, schema, key)
    if isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _schema_problems(item, schema.get("items", {}), f"{where}[{index}]")


def _object_problems(value: Mapping[str, Any], schema: Mapping[str, Any], key: str) -> Iterator[str]:
    prefix = f"{key}." if key else ""
    properties = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{prefix}{name} is not there"
    for name, item in value.items():
        inner = properties.get(name, schema.get("additionalProperties", {}))
        if inner is False:
            yield f"{prefix}{name} is no key of a result"
        else:
            yield from _schema_problems(item, inner, f"{prefix}{name}")


def _is(value: object, kind: str) -> bool:
    if isinstance(value, bool):
        return False  # Python's True is an int; a result has no booleans.
    return isinstance(value, _TYPES[kind])


def _null_problems(result: Mapping[str, Any]) -> Iterator[str]:
    reasons = result["missing"]
    nulls = set(_nulls(result, "")) - _NOT_FIGURES
    for key in sorted(nulls):
        section = key.partition(".")[0]
        if key not in reasons and section not in reasons:
            yield f"{key} is null without a reason in missing"
    for key in sorted(reasons):
        if not any(null == key or null.startswith(f"{key}.") for null in nulls):
            yield f"missing gives a reason for {key}, which is not null"


def _nulls(section: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for name, value in section.items():
        if value is None:
            yield f"{prefix}{name}"
        elif isinstance(value, dict):
            yield from _nulls(value, f"{prefix}{name}.")
