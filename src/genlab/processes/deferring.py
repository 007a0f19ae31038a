"""Imports that wait until something is asked of what they bring."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

__all__ = ["SELDOM_USED", "deferred"]

SELDOM_USED = ("transformers", "scipy.signal")
"""What torchmetrics imports for figures of texts and sounds: a third of the time in which a command starts."""


class _StandIn(ModuleType):
    """Is found where a package is looked for, until somebody needs the package."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"module {self.__name__!r} is imported later and has no {name!r} yet")
        return _Part(self.__name__, name)


class _Folders:
    """The folders of a package, which are gone through when a module of the package is looked for."""

    def __init__(self, package: str) -> None:
        self._package = package

    def __iter__(self) -> Iterator[str]:
        return iter(_package(self._package).__path__)


class _Part:
    """A part of a package, which is imported when something is asked of the part."""

    def __init__(self, package: str, name: str) -> None:
        self._package = package
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(getattr(_package(self._package), self._name), name)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return getattr(_package(self._package), self._name)(*arguments, **options)


def _package(name: str) -> ModuleType:
    if isinstance(sys.modules.get(name), _StandIn):
        del sys.modules[name]
    return import_module(name)


@contextmanager
def deferred(*packages: str) -> Iterator[None]:
    """Within it ``from package import part`` imports nothing: the package is imported when a part is first used.

    For libraries that import a large package for something that is not used here. Parts are good for calls and
    attributes, not as base classes. Who imports a module of the package gets it, and the package with it; a module that
    the package imports, too, is then run twice. A package that is imported already, or not installed, stays as it is.
    """
    for package in packages:
        if package not in sys.modules and (spec := _spec(package)) is not None:
            sys.modules[package] = stand_in = _StandIn(package)
            stand_in.__spec__, stand_in.__path__ = spec, _Folders(package)  # type: ignore[assignment]
    try:
        yield
    finally:
        for package in packages:
            if isinstance(sys.modules.get(package), _StandIn):
                del sys.modules[package]


def _spec(package: str) -> Any:
    try:
        return find_spec(package)
    except ModuleNotFoundError:  # what it would be a part of is not installed
        return None
