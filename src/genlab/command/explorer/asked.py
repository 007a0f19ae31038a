"""What a page may ask for: the keys of each request, their types and bounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from annotated_types import Ge, Le, MaxLen, MinLen

from genlab.command.schemas import Index
from genlab.command.signatures import read_signature
from genlab.command.values import describe, fits
from genlab.core.errors import GenlabError, nearest, shown
from genlab.training.settings import Seed

__all__ = ["CurvesOf", "Decode", "Draw", "Examples", "Interpolate", "Latents", "Nothing", "Sample", "read"]

Name = Annotated[str, MinLen(1), MaxLen(1000)]
Label = Annotated[int, Ge(0), Le(1_000_000)]
Level = Annotated[int, Ge(0), Le(65_535)]
Value = Annotated[float, Ge(-1e6), Le(1e6)]

Asked = TypeVar("Asked")


@dataclass(frozen=True)
class Nothing:
    """A request that needs no more than its name."""


@dataclass(frozen=True)
class CurvesOf:
    """A figure of ``metrics.csv`` of some runs; None: the first that they have."""

    runs: Annotated[list[Name], MinLen(1), MaxLen(24)]
    figure: Name | None = None


@dataclass(frozen=True)
class Sample:
    """New examples."""

    run: Name
    n: Annotated[int, Ge(1), Le(1000)] = 16
    seed: Seed = 0
    label: Label | None = None


@dataclass(frozen=True)
class Examples:
    """Some of the test examples, one after the other."""

    run: Name
    start: Index = 0
    count: Annotated[int, Ge(1), Le(48)] = 12


@dataclass(frozen=True)
class Interpolate:
    """A way between two test examples."""

    run: Name
    a: Index = 0
    b: Index = 1
    steps: Annotated[int, Ge(2), Le(33)] = 9
    path: Literal["spherical", "linear"] = "spherical"


@dataclass(frozen=True)
class Latents:
    """The most important latents of a test example."""

    run: Name
    example: Index = 0


@dataclass(frozen=True)
class Decode:
    """A test example some of whose latents have other values."""

    run: Name
    example: Index
    latents: Annotated[list[Index], MaxLen(64)]
    values: Annotated[list[Value], MaxLen(64)]


@dataclass(frozen=True)
class Draw:
    """A drawing: levels of gray, row by row."""

    run: Name
    levels: Annotated[list[Level], MinLen(1), MaxLen(256 * 256)]
    label: Label | None = None


def read(schema: type[Asked], plain: Any) -> Asked:
    """Return a request, checked.

    Args:
        schema: One of the classes above.
        plain: What was sent, of JSON.

    Raises:
        GenlabError: If it is no mapping, or a key is unknown, missing or out of range.
    """
    if not isinstance(plain, Mapping):
        raise GenlabError("The request is no mapping of settings.")
    known = read_signature(schema).parameters
    for name, value in plain.items():
        if name not in known:
            raise GenlabError(f"Unknown key '{shown(name)}'.{nearest(str(name), known)}")
        if not fits(value, known[name].annotation):
            raise GenlabError(f"{name} is {_short(value)}, expected {describe(known[name].annotation)}.")
    for name, parameter in known.items():
        if parameter.required and name not in plain:
            raise GenlabError(f"{name} is missing, expected {describe(parameter.annotation)}.")
    return schema(**plain)


def _short(value: Any) -> str:
    if isinstance(value, list):
        return f"a list of {len(value):,}"
    text = shown(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
