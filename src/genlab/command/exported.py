"""What is used of the config in an export, which may be anybody's: it opens no file that its user did not put there."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

from genlab.command.schemas import DataNode, ModelNode, TrainedConfig
from genlab.command.signatures import read_signature
from genlab.command.targets import find_targets, locate
from genlab.core.errors import GenlabError, shown
from genlab.core.plugins import find_plugins

__all__ = ["check_parts", "without_folders"]

_PARTS = ("genlab.models.", "genlab.networks.", "genlab.core.schedules.", "torch.optim.")
"""Where classes are from that may stand within a model; those of plug-ins, and settings of any, may too."""


def without_folders(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config of an export, whose paths are of another machine: of one's own data the file's name is left.

    A stranger's config is to open no file that its user did not put where it is run, and to write none elsewhere.
    """
    config, data = dict(plain), plain.get("data")
    if not isinstance(data, Mapping) or "_target_" not in data:
        return config
    parameters = read_signature(locate(data["_target_"], "data")).parameters
    paths = [name for name in data if name in parameters and _takes_path(parameters[name].annotation)]
    config["data"] = {**data, **{name: _last_name(data[name]) for name in paths}}
    if "cache" in paths:
        del config["data"]["cache"]
    if "root" in parameters:
        config["data"]["root"] = os.environ.get("GENLAB_DATA") or "data"
    return config


def _takes_path(annotation: Any) -> bool:
    return annotation is Path or any(_takes_path(part) for part in get_args(annotation))


def _last_name(path: Any) -> str | None:
    """Return the name at the end of a path; None for what means another folder: the working one, its parent, a home."""
    name = re.split(r"[/\\]", path.rstrip("/\\"))[-1] if isinstance(path, str) else ""
    return None if name in ("", ".", "..") or name.startswith("~") else name


def check_parts(config: TrainedConfig, where: Path) -> None:
    """See that a model of an export is what its weights fill in, and that nothing within it opens a file.

    Args:
        config: Of the export, checked.
        where: Its file.

    Raises:
        GenlabError: If its model comes trained, from files that no export holds, or data, loggers or other models stand
            within its model or its data.
    """
    if config.model.target.comes_trained:
        raise GenlabError(
            f"{shown(where)} names a model that comes trained, {config.model.name}, whose files no export holds. "
            "Get the original, and evaluate it by model.path=<its folder>."
        )
    for key, name in [*find_targets(config.model.plain, "model"), *find_targets(config.data.plain, "data")]:
        if key not in ("model", "data") and not _is_part(locate(name, key)):
            raise GenlabError(f"{shown(where)}: {shown(key)}._target_ is '{shown(name)}', which is no part of a model.")


def _is_part(target: Callable[..., Any]) -> bool:
    if isinstance(target, type) and issubclass(target, (locate(ModelNode.makes), locate(DataNode.makes))):
        return False
    homes = (*_PARTS, *(f"{plugin.module}." for plugin in find_plugins()))
    return dataclasses.is_dataclass(target) or f"{target.__module__}.".startswith(homes)
