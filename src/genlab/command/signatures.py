"""The arguments that a class or a function takes by name, as a config can give them."""

from __future__ import annotations

import dataclasses
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import (
    Any,
    ForwardRef,
    NamedTuple,
    NotRequired,
    Required,
    Unpack,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

__all__ = ["Parameter", "Signature", "read_signature"]


class Parameter(NamedTuple):
    """One argument.

    Attributes:
        annotation: Its annotation, looked up, with the metadata of ``Annotated``; ``Any`` where nothing is known.
        required: Whether it has to be given.
    """

    annotation: Any
    required: bool


class Signature(NamedTuple):
    """What can be called with keywords.

    Attributes:
        parameters: The arguments that can be named.
        open_ended: Whether any others are taken.
    """

    parameters: dict[str, Parameter]
    open_ended: bool


def read_signature(target: Callable[..., Any]) -> Signature:
    """Return the arguments that a target takes by name.

    Keywords that are gathered as ``**options: Unpack[SomeTypedDict]`` (PEP 692) are arguments like the others; those
    of the typed dictionaries that it inherits too.

    Args:
        target: A class, whose ``__init__`` is read, or a function.
    """
    function = target.__init__ if isinstance(target, type) else target
    found = list(_signature(function).parameters.values())[isinstance(target, type) :]
    scope = getattr(inspect.unwrap(function), "__globals__", {})
    fields = _scopes_of_fields(target)
    parameters, open_ended = {}, False
    for p in found:
        annotation = _look_up(p.annotation, fields.get(p.name, scope))
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY):
            parameters[p.name] = Parameter(annotation, p.default is p.empty)
        elif p.kind is p.VAR_KEYWORD:
            keys = get_args(annotation)[0] if get_origin(annotation) is Unpack else None
            open_ended = not is_typeddict(keys)
            parameters |= {} if open_ended else dict(_keys_of(keys))
    return Signature(parameters, open_ended)


def _scopes_of_fields(target: Any) -> Mapping[str, dict[str, Any]]:
    """Return where the annotations of a dataclass's fields are to be looked up.

    Its ``__init__`` has those of inherited fields too, which were written in the modules of their own classes.
    """
    if not (isinstance(target, type) and dataclasses.is_dataclass(target)):
        return {}
    return {name: vars(sys.modules[cls.__module__]) for cls in reversed(target.__mro__) for name in _annotations(cls)}


def _keys_of(keys: Any) -> Iterator[tuple[str, Parameter]]:
    for name, annotation in _annotations(keys).items():
        # Each knows the module of the typed dictionary that it was written in, inherited or not.
        found, required = _look_up(annotation, vars(sys.modules[keys.__module__])), name in keys.__required_keys__
        while get_origin(found) in (Required, NotRequired):
            # Where annotations are text, __required_keys__ does not know of these.
            required, found = get_origin(found) is Required, get_args(found)[0]
        yield name, Parameter(found, required)


def _look_up(annotation: str | ForwardRef | Any, scope: Mapping[str, Any]) -> Any:
    if annotation is inspect.Parameter.empty:
        return Any
    if isinstance(annotation, ForwardRef) and annotation.__forward_module__ is not None:
        scope = vars(sys.modules[annotation.__forward_module__])
    holder = type("Holder", (), {"__annotations__": {"it": annotation}})
    names: dict[str, Any] = {}
    while True:
        try:
            return get_type_hints(holder, globalns=dict(scope), localns={**scope, **names}, include_extras=True)["it"]
        except NameError as unknown:
            # A name that its module imports for type checkers only means anything, and the rest still counts.
            if unknown.name is None or unknown.name in names:
                return Any
            names[unknown.name] = Any
        except (AttributeError, TypeError):  # of such a name: what it has, or is subscripted with
            return Any


if sys.version_info >= (3, 14):
    # Annotations are evaluated when they are asked for (PEP 649), and by default a name that is not there is an error.
    from annotationlib import Format

    def _signature(function: Callable[..., Any]) -> inspect.Signature:
        return inspect.signature(function, annotation_format=Format.FORWARDREF)

    def _annotations(cls: type) -> dict[str, Any]:
        return inspect.get_annotations(cls, format=Format.FORWARDREF)
else:
    _signature = inspect.signature
    _annotations = inspect.get_annotations
