"""The arguments of a command, read as Hydra reads them, and refused in a line where Hydra takes a page."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from hydra.main import get_args_parser

import genlab
from genlab.command.explain import CommandLine
from genlab.core.errors import GenlabError, nearest

__all__ = ["read_arguments"]


def read_arguments(arguments: Sequence[str], config_name: str, conf: Path) -> CommandLine:
    """Return what a command line asks Hydra to compose.

    Args:
        arguments: What stands after the command.
        config_name: Name of the primary config.
        conf: Folder of the configs.

    Raises:
        GenlabError: If a flag is unknown, or not for genlab.
    """
    parser = get_args_parser()
    for action in parser._actions:
        if "--version" in action.option_strings:
            action.version = f"genlab {genlab.__version__} ({action.version})"  # type: ignore[attr-defined]
    flags = [flag for action in parser._actions for flag in action.option_strings]

    def refuse(message: str) -> NoReturn:
        unknown = next((a for a in arguments if a.startswith("-") and a.partition("=")[0] not in flags), None)
        if unknown is None:
            raise GenlabError(f"{message[0].upper()}{message[1:]}.")
        flag = "" if "=" in unknown else nearest(unknown, flags)
        hint = flag or " Settings are given without dashes: key=value."
        raise GenlabError(f"Unknown flag '{unknown}'.{hint}")

    # Hydra parses the arguments again; this only comes first, to refuse in a line what argparse refuses in a page.
    parser.error = refuse  # type: ignore[method-assign]
    parsed = parser.parse_intermixed_args(list(arguments))
    if parsed.experimental_rerun is not None:
        raise GenlabError("--experimental-rerun is not for genlab: the same command goes on with the same run.")
    if parsed.config_path is not None and not os.path.isabs(parsed.config_path):
        raise GenlabError(f"--config-path is '{parsed.config_path}', expected a whole path, from the root on.")
    if ".." in Path(parsed.config_name or "").parts:  # which Hydra would follow to any file
        raise GenlabError(f"--config-name is '{parsed.config_name}', expected a name. Give its folder by --config-dir.")
    extra = os.path.abspath(parsed.config_dir) if parsed.config_dir else None
    given = {"--config-path": parsed.config_path, "--config-name": parsed.config_name, "--config-dir": extra}
    flags = tuple(f"{flag}={value}" for flag, value in given.items() if value)
    name = parsed.config_name or config_name
    overrides = tuple(parsed.overrides)
    return CommandLine(conf, name, overrides, parsed.multirun, extra, parsed.config_path, flags, tuple(arguments))
