"""What is wrong with a result, in the words of its file: one line for each key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

__all__ = ["describe_problems"]

_EXPECTED = {
    "int": "a whole number",
    "float": "a number",
    "string": "a text",
    "tuple": "a list",
    "dict": "an object",
    "model": "an object",
    "model_attributes": "an object",
}
"""What a value of each type is called in JSON, by the first words of pydantic's types of errors."""


def describe_problems(error: ValidationError, content: object) -> list[str]:
    """Return what is wrong, each with its dotted key.

    Args:
        error: What pydantic found.
        content: The result that it was found in, as plain containers or objects.
    """
    found: dict[str, list[ErrorDetails]] = {}
    for details in error.errors(include_url=False):
        found.setdefault(_where(details, content), []).append(details)
    return [_line(where, alternatives) for where, alternatives in found.items()]


def _where(details: ErrorDetails, content: object) -> str:
    """Return the dotted key: without what pydantic adds to say which alternative of a type it tried."""
    where = ""
    for part in details["loc"]:
        if isinstance(part, int):
            where += f"[{part}]"
            continue
        inner = content.get(part, content) if isinstance(content, Mapping) else getattr(content, part, content)
        if inner is content and details["type"] != "missing":
            break
        content = inner
        where += f"{'.' if where else ''}{part}"
    return where


def _line(where: str, alternatives: Sequence[ErrorDetails]) -> str:
    details = min(alternatives, key=_rank)
    kind, value, limits = details["type"], details["input"], details.get("ctx", {})
    where = where or "the result"
    if kind == "value_error":  # the rule about nulls, whose lines name their keys
        return str(limits["error"])
    if kind == "missing":
        return f"{where} is not there"
    if kind == "extra_forbidden":
        lacking = ", unless of a plug-in that is not installed here" if where.startswith("quality") else ""
        return f"{where} is no key of a result{lacking}"
    if kind == "finite_number":
        return f"{where} is {value}: an unknown figure is null with its reason in missing"
    if kind.endswith("_type"):
        expected = dict.fromkeys(_expected(other) for other in alternatives if other["type"].endswith("_type"))
        if "a number" in expected:  # a whole number is one
            expected.pop("a whole number", None)
        return f"{where} is a {type(value).__name__}, expected {' or '.join(expected)}"
    return f"{where} is {value!r}, expected {_bound(kind, limits) or details['msg']}"


def _rank(details: ErrorDetails) -> int:
    """Put first what says most: of a number out of its bounds, that it is no whole number is no news."""
    return 0 if details["type"] == "finite_number" else 2 if details["type"].endswith("_type") else 1


def _expected(details: ErrorDetails) -> str:
    return _EXPECTED.get(details["type"].removesuffix("_type"), details["msg"])


def _bound(kind: str, limits: Mapping[str, Any]) -> str:
    return {
        "greater_than_equal": f"at least {limits.get('ge')}",
        "less_than_equal": f"at most {limits.get('le')}",
        "literal_error": f"one of {limits.get('expected')}",
        "string_pattern_mismatch": f"the form {limits.get('pattern')}",
        "string_too_short": "a text that is not empty",
    }.get(kind, "")
