"""Whether a value of a config fits the annotation of the argument that it is for, and words for what would.

pydantic compares values with annotations; it is imported when the first value is checked.
"""

from __future__ import annotations

import collections.abc
import functools
import operator
import types
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types

from genlab.command.targets import Node
from genlab.core.errors import nearest

if TYPE_CHECKING:
    from pydantic import TypeAdapter

__all__ = ["describe", "fits", "fits_target", "hint"]

_LISTS = (list, tuple, set, frozenset, *(getattr(collections.abc, n) for n in ("Sequence", "Iterable", "Collection")))
_MAPPINGS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)

_NAMES: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "a path",
    type(None): "null",
}
_MOST_INT, _MOST_FLOAT = 2**63, 3.4e38

_BOUNDS: dict[type, tuple[str, str]] = {
    annotated_types.Gt: ("gt", ">"),
    annotated_types.Ge: ("ge", ">="),
    annotated_types.Lt: ("lt", "<"),
    annotated_types.Le: ("le", "<="),
    annotated_types.MultipleOf: ("multiple_of", "a multiple of"),
    annotated_types.MinLen: ("min_length", "of length >="),
    annotated_types.MaxLen: ("max_length", "of length <="),
}


def fits(value: Any, annotation: Any) -> bool:
    """Whether a value, as YAML gives it, can be passed for an argument that is annotated so.

    A whole number fits where a float is expected, a list where a tuple is, text where a path is, and a node with
    ``_target_`` where an object is. What is not a number, or larger than a tensor holds, fits nothing. Of all else,
    what the annotation does not say is not held against the value.

    Args:
        value: A plain container, number, text, boolean or None.
        annotation: Any annotation; ``annotated_types`` in it set ranges and lengths.
    """
    from pydantic import ValidationError

    if _is_beyond(value):
        return False
    try:
        adapter = _adapter(annotation)
    except TypeError:  # metadata that cannot be hashed
        adapter = _adapter.__wrapped__(annotation)
    try:
        adapter.validate_python(value)
    except (ValidationError, TypeError):  # the second where a value has no order or length
        return False
    return True


@functools.cache
def _adapter(annotation: Any) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(_as_yaml_says(annotation))


def _is_beyond(value: Any) -> bool:
    """Whether a value is a number that no tensor holds, of int64 or float32."""
    if isinstance(value, int):
        return abs(value) >= _MOST_INT
    return isinstance(value, float) and not abs(value) <= _MOST_FLOAT


def _within(value: float) -> float:
    if _is_beyond(value):
        raise ValueError("no tensor holds it")
    return value


def _as_yaml_says(annotation: Any) -> Any:
    """Return an annotation by which pydantic takes values as YAML gives them: see `fits`."""
    from pydantic import AfterValidator, PlainValidator, Strict

    origin, inner = get_origin(annotation) or annotation, get_args(annotation)
    if annotation is float:
        return Annotated[float, Strict(), AfterValidator(_within)]
    if annotation in (bool, int, str):
        return Annotated[annotation, Strict()]  # no numbers in quotes, and true is none
    if annotation in (Any, None, type(None), Path) or origin is Literal:
        return annotation
    if origin is Annotated:
        return Annotated[_as_yaml_says(annotation.__origin__), *annotation.__metadata__]
    if _is_union(annotation):
        return functools.reduce(operator.or_, map(_as_yaml_says, inner))
    if origin is tuple and inner:
        return tuple[tuple(item if item is Ellipsis else _as_yaml_says(item) for item in inner)]
    if origin in _LISTS:
        return list[_as_yaml_says(inner[0]) if inner else Any]
    if origin in _MAPPINGS:
        return dict[Any, _as_yaml_says(inner[1]) if inner else Any]
    return Annotated[Any, PlainValidator(functools.partial(_object, origin))]


def _object(kind: Any, value: Any) -> Any:
    try:
        # Of what is no class nothing is known: a type variable, a name that could not be looked up.
        made = not isinstance(kind, type) or isinstance(value, kind)
    except TypeError:  # a protocol that cannot be tested for
        made = True
    if not made and not (isinstance(value, Mapping) and "_target_" in value):
        raise ValueError("neither such an object nor a node that may make one")
    return value


def _flatten(metadata: Iterable[Any]) -> Iterable[Any]:
    for item in metadata:
        yield from item if isinstance(item, annotated_types.GroupedMetadata) else (item,)


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in (Union, types.UnionType)


def describe(annotation: Any) -> str:
    """Say what fits an annotation, e.g. ``"a number > 0 or null"``, to stand after "expected"."""
    if get_origin(annotation) is Annotated:
        bounds = [
            f"{_BOUNDS[type(bound)][1]} {getattr(bound, _BOUNDS[type(bound)][0])}"
            for bound in _flatten(annotation.__metadata__)
            if type(bound) in _BOUNDS
        ]
        what, comma, parts = describe(annotation.__origin__).partition(",")  # of a list its bounds, then its parts
        return " ".join([what, " and ".join(bounds)]).strip() + comma + parts
    if _is_union(annotation):
        # PyTorch's signatures name tensors too, which no config can write.
        return _either([describe(o) for o in get_args(annotation) if getattr(o, "__name__", "") != "Tensor"])
    if get_origin(annotation) is Literal:
        return _either([str(c).lower() if isinstance(c, bool) else str(c) for c in get_args(annotation)])
    if annotation is Any:
        return "a value"
    if annotation is None:
        return "null"
    if annotation in _NAMES:
        return _NAMES[annotation]
    origin, inner = get_origin(annotation) or annotation, get_args(annotation)
    if origin in _LISTS:
        if origin is tuple and inner and inner[-1] is not Ellipsis:
            return f"a list of {len(inner)}: {', '.join(map(describe, inner))}"
        return f"a list, each {describe(inner[0])}" if inner and inner[0] is not Any else "a list"
    if origin in _MAPPINGS:
        return "a mapping"
    if origin is collections.abc.Callable:
        return "a node that makes a function"
    name = (origin.makes or "an object") if _is_node(origin) else getattr(origin, "__name__", str(origin))
    return f"a node that makes {name.rpartition('.')[2]}"


def _is_node(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Node)


def _either(options: list[str]) -> str:
    options = list(dict.fromkeys(options))
    return options[0] if len(options) == 1 else f"{', '.join(options[:-1])} or {options[-1]}"


def hint(value: Any, annotation: Any) -> str:
    """Say what to write instead of a value that does not fit, as a sentence after a blank, or nothing."""
    if isinstance(value, str):
        number = _as_number(value)
        if number is not None and fits(number, annotation):
            return " It is quoted text: write the number without quotes."
        return nearest(value, _choices(annotation))
    if any(isinstance(part, float) and _is_beyond(part) for part in (value if isinstance(value, list) else [value])):
        return " Numbers are finite, at most 3.4e38."
    if isinstance(value, float) and value.is_integer() and fits(int(value), annotation):
        return f" Write {int(value)}."
    return ""


def _as_number(text: str) -> float | None:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return None


def _choices(annotation: Any) -> list[str]:
    if get_origin(annotation) is Literal:
        return [choice for choice in get_args(annotation) if isinstance(choice, str)]
    inner = (annotation.__origin__,) if get_origin(annotation) is Annotated else get_args(annotation)
    return [choice for option in inner for choice in _choices(option)]


def fits_target(target: Callable[..., Any], annotation: Any) -> bool:
    """Whether what a class makes can be passed for an argument that is annotated so.

    Args:
        target: What ``_target_`` names. Only a class says what it makes, so a function fits everywhere.
        annotation: Any annotation.
    """
    if annotation is Any or not isinstance(target, type):
        return True
    if get_origin(annotation) is Annotated:
        return fits_target(target, annotation.__origin__)
    if _is_union(annotation):
        return any(fits_target(target, option) for option in get_args(annotation))
    origin = get_origin(annotation) or annotation
    if origin is collections.abc.Callable:
        return hasattr(target, "__call__")  # noqa: B004 - asks of the class whether its objects are callable
    if not isinstance(origin, type):
        return origin is not Literal and origin is not None
    try:
        return issubclass(target, origin)
    except TypeError:  # a protocol that cannot be tested for
        return True
