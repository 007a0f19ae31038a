"""Lets Hydra find the configs of installed plug-ins; Hydra scans this module at every start."""

from __future__ import annotations

from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin

from genlab.core.plugins import find_plugins

__all__ = ["PluginSearchPath"]


class PluginSearchPath(SearchPathPlugin):
    """Adds the folder ``conf`` of each plug-in behind genlab's own, which wins where both have a file."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for plugin in find_plugins() if _composes_our_groups(search_path) else ():
            if (folder := plugin.find_conf()) is not None:
                search_path.append(f"plug-in {plugin.name}", f"file://{folder}")


def _composes_our_groups(search_path: ConfigSearchPath) -> bool:
    # To our commands without groups, and to other programs with Hydra, these folders mean nothing.
    from genlab.command.entry import config_folder

    main = [Path(element.path) for element in search_path.get_path() if element.provider == "main"]
    return any(folder.is_dir() and folder.samefile(config_folder()) for folder in main)
