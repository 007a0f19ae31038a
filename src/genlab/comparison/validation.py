"""Whether a value fits a JSON Schema, decided fast: the schema becomes one function, once."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["compile_schema"]

Check = Callable[[Any], bool]

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "number": (int, float), "integer": (int,),
    "null": (type(None),),
}  # fmt: skip


def compile_schema(schema: Mapping[str, Any], defs: Mapping[str, Any] | None = None) -> Check:
    """Return a function that says whether a value, as ``json.loads`` gives it, fits a schema.

    Many times as fast as walking the schema for each value, which tells in return what is wrong. Knows the part of
    JSON Schema that ``result.schema.json`` uses. NaN and infinities fit nowhere.

    Args:
        schema: The schema, or a part of it.
        defs: What ``$ref`` refers to; the schema's own ``$defs`` by default.
    """
    defs = schema.get("$defs", {}) if defs is None else defs
    if "$ref" in schema:
        schema = {**defs[schema["$ref"].rpartition("/")[2]], **schema}
    checks = [*_enumerations(schema), *_numbers(schema), *_strings(schema)]
    if "properties" in schema or "additionalProperties" in schema:
        checks.append(_object(schema, defs))
    if "items" in schema:
        checks.append(_items(compile_schema(schema["items"], defs)))
    return _typed(schema, checks)


def _typed(schema: Mapping[str, Any], checks: list[Check]) -> Check:
    names = schema.get("type", list(_TYPES))
    # Exact types: Python's True is an int, and a result has no booleans.
    types = {kind for name in ([names] if isinstance(names, str) else names) for kind in _TYPES[name]}
    if not checks:
        return lambda value: type(value) in types
    if len(checks) == 1:
        (check,) = checks
        return lambda value: type(value) in types and check(value)
    return lambda value: type(value) in types and all(check(value) for check in checks)


def _enumerations(schema: Mapping[str, Any]) -> list[Check]:
    allowed = [schema["const"]] if "const" in schema else schema.get("enum")
    return [] if allowed is None else [lambda value: value in allowed]


def _numbers(schema: Mapping[str, Any]) -> list[Check]:
    types = schema.get("type", ())
    if not {"number", "integer"} & ({types} if isinstance(types, str) else set(types)):
        return []
    # The default bounds also keep out NaN and infinities, to which JSON gives a way in: 1e999.
    low = schema.get("minimum", -sys.float_info.max)
    high = schema.get("maximum", sys.float_info.max)
    return [lambda value: value is None or low <= value <= high]


def _strings(schema: Mapping[str, Any]) -> list[Check]:
    if "pattern" not in schema:
        return []
    search = re.compile(schema["pattern"]).search
    return [lambda value: type(value) is not str or search(value) is not None]


def _object(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> Check:
    properties = {name: compile_schema(inner, defs) for name, inner in schema.get("properties", {}).items()}
    required = frozenset(schema.get("required", ()))
    others = schema.get("additionalProperties", {})
    other: Check = (lambda value: False) if others is False else compile_schema(others, defs)

    def check(value: Any) -> bool:
        if value is None:
            return True
        for name, item in value.items():
            if not properties.get(name, other)(item):
                return False
        return required <= value.keys()

    return check


def _items(item: Check) -> Check:
    return lambda value: value is None or all(map(item, value))
