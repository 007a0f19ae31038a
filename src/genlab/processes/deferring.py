"""Imports that wait until something is asked of what they bring."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from typing import Any

__all__ = ["deferred"]


class _Part:
    """A part of a package, which is imported when something is asked of the part."""

    def __init__(self, package: str, name: str) -> None:
        self._package = package
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(getattr(import_module(self._package), self._name), name)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return getattr(import_module(self._package), self._name)(*arguments, **options)


@contextmanager
def deferred(package: str) -> Iterator[None]:
    """Within it ``from package import part`` imports nothing: the package is imported when a part is first used.

    For libraries that import a large package for something that is not used here. Parts are good for calls and
    attributes, not as base classes. A package that is imported already, or is not installed, stays as it is.
    """
    spec = None if package in sys.modules else find_spec(package)
    if spec is None:
        yield
        return
    stand_in = module_from_spec(spec)
    del stand_in.__path__  # its modules cannot be imported without it

    def part(name: str) -> _Part:
        if name.startswith("__"):
            raise AttributeError(f"module {package!r} is imported later and has no {name!r} yet")
        return _Part(package, name)

    stand_in.__getattr__ = part  # type: ignore[method-assign]
    sys.modules[package] = stand_in
    try:
        yield
    finally:
        if sys.modules.get(package) is stand_in:
            del sys.modules[package]
