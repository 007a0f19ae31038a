"""Whether a value of a config fits the annotation of the argument that it is for, and words for what would."""

from __future__ import annotations

import collections.abc
import types
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types

from genlab.core.errors import nearest

__all__ = ["describe", "fits", "fits_target", "hint"]

_LISTS = (list, tuple, set, frozenset, *(getattr(collections.abc, n) for n in ("Sequence", "Iterable", "Collection")))
_MAPPINGS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)

_NUMBERS: dict[Any, tuple[type, ...]] = {int: (int,), float: (int, float)}
_NAMES: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "a path",
    type(None): "null",
}
_BOUNDS: dict[type, tuple[str, str, Callable[[Any, Any], bool]]] = {
    annotated_types.Gt: ("gt", ">", lambda value, bound: value > bound),
    annotated_types.Ge: ("ge", ">=", lambda value, bound: value >= bound),
    annotated_types.Lt: ("lt", "<", lambda value, bound: value < bound),
    annotated_types.Le: ("le", "<=", lambda value, bound: value <= bound),
    annotated_types.MinLen: ("min_length", "of length >=", lambda value, bound: len(value) >= bound),
}


def fits(value: Any, annotation: Any) -> bool:
    """Whether a value, as YAML gives it, can be passed for an argument that is annotated so.

    A whole number fits where a float is expected, a list where a tuple is, text where a path is, and a node with
    ``_target_`` where an object is. What the annotation does not say is not held against the value.

    Args:
        value: A plain container, number, text, boolean or None.
        annotation: Any annotation; ``annotated_types.Gt``, ``Ge``, ``Lt`` and ``Le`` set ranges.
    """
    if annotation is Any:
        return True
    if get_origin(annotation) is Annotated:
        return fits(value, annotation.__origin__) and _in_range(value, annotation.__metadata__)
    if _is_union(annotation):
        return any(fits(value, option) for option in get_args(annotation))
    if get_origin(annotation) is Literal:
        return any(type(value) is type(choice) and value == choice for choice in get_args(annotation))
    if annotation in _NUMBERS:
        return isinstance(value, _NUMBERS[annotation]) and not isinstance(value, bool)
    if annotation is None:
        return value is None
    if annotation is Path:
        return isinstance(value, str | Path)
    origin = get_origin(annotation) or annotation
    if origin in _LISTS:
        return isinstance(value, list | tuple) and _elements_fit(value, origin, get_args(annotation))
    if origin in _MAPPINGS:
        inner = (get_args(annotation) or (Any, Any))[1]
        return isinstance(value, Mapping) and all(fits(item, inner) for item in value.values())
    return _is_object(value, origin)


def _elements_fit(values: list[Any] | tuple[Any, ...], origin: Any, inner: tuple[Any, ...]) -> bool:
    if not inner:
        return True
    if origin is tuple and inner[-1] is not Ellipsis:
        return len(values) == len(inner) and all(map(fits, values, inner))
    return all(fits(value, inner[0]) for value in values)


def _is_object(value: Any, origin: Any) -> bool:
    if isinstance(value, Mapping) and "_target_" in value:
        return origin not in (bool, str, type(None))
    if origin is collections.abc.Callable:
        return callable(value)
    if not isinstance(origin, type):
        return True  # a type variable, a name that could not be looked up: nothing is known
    try:
        return isinstance(value, origin)
    except TypeError:  # a protocol that cannot be tested for
        return True


def _in_range(value: Any, metadata: Iterable[Any]) -> bool:
    if value is None or isinstance(value, Mapping):
        return True
    return all(
        _BOUNDS[type(bound)][2](value, getattr(bound, _BOUNDS[type(bound)][0]))
        for bound in _flatten(metadata)
        if type(bound) in _BOUNDS
    )


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
        return " ".join([describe(annotation.__origin__), " and ".join(bounds)]).strip()
    if _is_union(annotation):
        return _either([describe(option) for option in get_args(annotation)])
    if get_origin(annotation) is Literal:
        return _either([str(choice) for choice in get_args(annotation)])
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
    return f"a node that makes {getattr(origin, '__name__', origin)}"


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
