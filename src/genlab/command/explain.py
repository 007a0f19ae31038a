"""What a command line that Hydra cannot compose is told: one or two lines, with the nearest right name."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import InterpolationResolutionError, MissingMandatoryValue, OmegaConfBaseException

from genlab.core.errors import GenlabError, nearest, shown

__all__ = ["CommandLine", "explain", "explain_job"]


@dataclass(frozen=True)
class CommandLine:
    """What Hydra was asked to compose.

    Attributes:
        conf: Folder of the configs.
        config_name: Name of the primary config.
        overrides: ``key=value`` and ``group=option``, as typed.
        multirun: Whether ``-m`` was given.
        extra: The folder of ``--config-dir``, or None.
        primary: The folder of ``--config-path``, which takes the place of ``conf``, or None.
        flags: The flags that decide what is composed, as given.
        arguments: All that stands after the command, as typed.
    """

    conf: Path
    config_name: str
    overrides: tuple[str, ...] = ()
    multirun: bool = False
    extra: str | None = None
    primary: str | None = None
    flags: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()


_MACHINES_TROUBLE = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EMFILE,
    errno.ENFILE, errno.ENOMEM, errno.ESTALE,
}  # fmt: skip
"""What is wrong with a disk or a machine whichever file it is."""


def explain_job(error: Exception) -> str | None:
    """Say what the user can mend about an error that a job raised; None for a bug."""
    if isinstance(error, GenlabError):
        return str(error)
    if isinstance(error, InterpolationResolutionError | MissingMandatoryValue):
        return _first_line_of(error)
    if isinstance(error, OSError) and error.errno is not None:
        return _explain_files(error)
    return None


def _explain_files(error: OSError) -> str | None:
    """Say of an error of the operating system which file it is about; None where it names none and could be a bug."""
    path = error.filename if error.filename2 is None else error.filename2
    if path is None and error.errno not in _MACHINES_TROUBLE:
        return None
    where = "" if path is None else f"{shown(path)}: "
    return f"{where}{error.strerror}. Mend that and give the same command again; what was saved before is unharmed."


def explain(error: Exception, line: CommandLine) -> str | None:
    """Say what the user can mend about an error that came up before any job began; None for a bug.

    Args:
        error: What Hydra raised.
        line: The command line.

    Returns:
        One or two lines.
    """
    if isinstance(error, OverrideParseException):
        return _cannot_read(error.override)
    if isinstance(error, MissingConfigException):
        if not error.options or not error.missing_cfg_file:
            return str(error).splitlines()[0]
        group, _, option = error.missing_cfg_file.rpartition("/")
        if group == "search" and option in _options(line, "model"):
            return (
                f"model={option} has no search space of its own. Give it one: -m hydra/sweeper=optuna model={option} "
                "'model.lr=tag(log, interval(1e-4, 1e-2))' and so on."
            )
        choices = ", ".join(error.options)
        return f"{group} has no option '{option}'.{nearest(option, error.options)} Choices: {choices}."
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"Cannot read the config {mark.name}, line {mark.line + 1}: {error.problem or error.context}."
    # Hydra refuses some combinations of flags and some overrides of groups by a ValueError.
    if isinstance(error, ConfigCompositionException | ValueError) and (message := _look_closer(line)):
        return message
    for raised in (error, error.__cause__):
        if isinstance(raised, OmegaConfBaseException):
            return _first_line_of(raised)
    return explain_job(error) or (_first_lines(str(error)) if isinstance(error, HydraException | ValueError) else None)


def _options(line: CommandLine, group: str) -> list[str]:
    with initialize_config_dir(config_dir=str(line.conf), job_name="explain"):
        return GlobalHydra.instance().config_loader().get_group_options(group, overrides=_searched(line))


def _searched(line: CommandLine) -> list[str]:
    return [f"hydra.searchpath=[{line.extra}]"] if line.extra else []


def _first_line_of(error: OmegaConfBaseException) -> str:
    message = str(error.msg or error).splitlines()[0]
    return f"{error.full_key}: {message}" if error.full_key else message


def _first_lines(message: str) -> str:
    return "\n".join([line.strip() for line in message.splitlines() if line.strip()][:2])


def _cannot_read(override: str) -> str:
    if "=" not in override and not override.startswith("~"):
        return f"'{override}' is no setting: write key=value or group=option, e.g. model.lr=1e-3 or data=mnist."
    return (
        f"Cannot read the setting '{override}'.\n"
        "Put quotes within quotes around a value with special characters: 'key=\"a, b\"'."
    )


def _look_closer(line: CommandLine) -> str | None:
    """Compose without what is in doubt, and see which settings find no place."""
    overrides = OverridesParser.create().parse_overrides(list(line.overrides))
    sweeps = [override for override in overrides if override.is_sweep_override()]
    if sweeps and not line.multirun:
        return (
            f"'{sweeps[0].input_line}' gives several values: add -m to train one run for each, "
            "or write a list as key=[a,b]."
        )
    searched = _searched(line)
    with initialize_config_dir(config_dir=str(line.conf), job_name="explain"):
        list_options = partial(GlobalHydra.instance().config_loader().get_group_options, overrides=searched)
        groups = [group for group in list_options("", ObjectType.GROUP) if group != "hydra"]
        chosen = [o for o in overrides if o.key_or_group in groups and not o.is_delete()]
        for override in chosen:
            if not isinstance(override.value(), str | list | dict) and not sweeps:
                group = override.key_or_group
                choices = [*list_options(group), *([f"~{group} to go without"] if override.value() is None else [])]
                return f"'{override.input_line}' names no option of {group}. Choices: {', '.join(choices)}."
        try:
            config = compose(line.config_name, [*searched, *map(_one_choice, chosen)])
        except (HydraException, OmegaConfBaseException, ValueError):
            return None
    return _unknown_keys(overrides, [*groups, *_keys(OmegaConf.to_container(config, resolve=False))])


def _unknown_keys(overrides: Sequence[Override], known: Sequence[str]) -> str | None:
    changed = [o.key_or_group for o in overrides if not (o.is_add() or o.is_force_add() or o.is_hydra_override())]
    unknown = [key for key in dict.fromkeys(changed) if key not in known]
    hints = [_nearest_key(key, known) or " --cfg job shows all keys." for key in unknown]
    return "\n".join(f"Unknown key '{key}'.{hint}" for key, hint in zip(unknown, hints, strict=True)) or None


def _one_choice(override: Override) -> str:
    if not override.is_sweep_override():
        return str(override.input_line)
    return f"{override.get_key_element()}={next(iter(override.sweep_string_iterator()))}"


def _keys(node: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(node, dict):
        for name, value in node.items():
            yield f"{prefix}{name}"
            yield from _keys(value, f"{prefix}{name}.")


def _nearest_key(key: str, known: Sequence[str]) -> str:
    # Whoever left out the group, lr for model.lr, means the key with that last part.
    leaf = key.rpartition(".")[2]
    same = [name for name in known if name.rpartition(".")[2] == leaf]
    return nearest(key, same) or (f" Did you mean '{same[0]}'?" if same else nearest(key, known))
