"""Installed packages that add families, data sets, figures and kinds of data to genlab.

A package becomes a plug-in by an entry point of the group ``genlab.plugins``, whose value is its module::

    [project.entry-points."genlab.plugins"]
    noise = "genlab_noise"

A config may then name the classes below that module, and the package's folder ``conf`` is searched as genlab's own is.
"""

from __future__ import annotations

import functools
import importlib
import logging
from dataclasses import dataclass
from importlib.metadata import Distribution, entry_points
from importlib.util import find_spec
from pathlib import Path

from genlab.core.errors import GenlabError

__all__ = ["Plugin", "find_plugins", "load_plugins"]

GROUP = "genlab.plugins"

_log = logging.getLogger("genlab")


@dataclass(frozen=True)
class Plugin:
    """One installed plug-in.

    Attributes:
        name: Name of its entry point.
        module: The module that it adds, with all below it.
        release: Name and version of the package that declares it, such as ``"genlab-noise 1.0"``; may be empty.
    """

    name: str
    module: str
    release: str = ""

    def find_conf(self) -> Path | None:
        """Return the folder ``conf`` in its package, None if there is none; nothing of the package is imported."""
        top, *below = self.module.split(".")
        spec = find_spec(top)
        for place in (spec.submodule_search_locations if spec else None) or ():
            if (folder := Path(place, *below, "conf")).is_dir():
                return folder
        return None

    def find_sources(self) -> list[Path]:
        """Return where the Python files of its package lie, folders or a file; nothing of the package is imported."""
        spec = find_spec(self.module.partition(".")[0])
        if spec is None:
            return []
        files = [spec.origin] if spec.origin is not None else []
        return [path for path in map(Path, spec.submodule_search_locations or files) if path.exists()]

    def load(self) -> None:
        """Import its module.

        Raises:
            GenlabError: If that fails, whatever the reason.
        """
        try:
            importlib.import_module(self.module)
        except (Exception, SystemExit) as error:  # it is not our code
            raise self.broken(error) from error

    def broken(self, error: BaseException) -> GenlabError:
        """Return the one line that tells the user of an error in the plug-in's code."""
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        return GenlabError(f"The plug-in '{self.name}' (module {self.module}) cannot be imported: {reason}")


@functools.cache
def find_plugins() -> tuple[Plugin, ...]:
    """Return the installed plug-ins by name. It reads what packages declare and imports none of them."""
    found = {Plugin(point.name, point.module, _release(point.dist)) for point in entry_points(group=GROUP)}
    return tuple(sorted(found, key=lambda plugin: (plugin.name, plugin.module)))


def _release(package: Distribution | None) -> str:
    return "" if package is None else f"{package.name} {package.version}"


@functools.cache
def load_plugins() -> None:
    """Import every plug-in, once in a process, so that the figures and kinds of data that they register are there.

    One that cannot be imported is named in a warning and left out.
    """
    for plugin in find_plugins():
        try:
            plugin.load()
        except GenlabError as error:
            _log.warning("%s", error)
