"""What a command line that Hydra cannot compose is told: one or two lines, with the nearest right name."""

from __future__ import annotations

import errno
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
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

from genlab.core.errors import GenlabError, nearest, shown, two_lines

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
    if _lacks_memory(error):
        asked = re.search(r"tried to allocate ([\d.]+ ?\w+)", str(error), re.IGNORECASE)
        return (
            f"There is not enough memory{f' for another {asked[1]}' if asked else ''}. Lower data.batch_size, "
            "evaluation.batch_size or the sizes of the model."
        )
    if isinstance(error, OSError) and error.errno is not None:
        return _explain_files(error)
    return None


def _lacks_memory(error: Exception) -> bool:
    # torch, which need not be imported here, raises a RuntimeError on a CPU and one of its own on a GPU.
    text = str(error)
    of_torch = isinstance(error, RuntimeError) and ("can't allocate" in text or "size calculation overflowed" in text)
    return of_torch or isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"


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
    if isinstance(error, TypeError | RuntimeError) and (message := _about_hydras_own(str(error))):
        return message
    # Hydra refuses some combinations of flags and some overrides of groups by a ValueError.
    if isinstance(error, ConfigCompositionException | ValueError) and (message := _look_closer(line)):
        return message
    for raised in (error, error.__cause__):
        if isinstance(raised, OmegaConfBaseException):
            return _first_line_of(raised)
    return explain_job(error) or (_first_lines(str(error)) if isinstance(error, HydraException | ValueError) else None)


def _about_hydras_own(message: str) -> str | None:
    """Say what Hydra says of its launcher and its sweeper, if it says something of them."""
    if found := re.fullmatch(r"Hydra (launcher|sweeper) is not configured", message):
        return f"hydra.{found[1]} is null, which no sweep can do without. Leave it out, or choose hydra/{found[1]}=..."
    if found := re.search(r"^full_key: (hydra\.[\w.]+)$", message, re.MULTILINE):
        unknown = re.search(r"unexpected keyword argument '(\w+)'", message)
        return f"Unknown key '{found[1]}.{unknown[1]}'." if unknown else f"{found[1]}: {message.splitlines()[0]}"
    return None


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
    try:
        overrides = OverridesParser.create().parse_overrides(list(line.overrides))
    except OverrideParseException as error:
        return _cannot_read(error.override)
    sweeps = [override for override in overrides if override.is_sweep_override()]
    if sweeps and not line.multirun:
        return (
            f"'{sweeps[0].input_line}' gives several values: add -m to train one run for each, "
            "or write a list as key=[a,b]."
        )
    searched = _searched(line)
    with initialize_config_dir(config_dir=str(line.conf), job_name="explain"):
        loader = GlobalHydra.instance().config_loader()
        list_options = partial(loader.get_group_options, overrides=searched)
        groups = [group for group in list_options("", ObjectType.GROUP) if group != "hydra"]
        chosen = [o for o in overrides if o.key_or_group in groups and not o.is_delete()]
        for override in chosen:
            override.config_loader = loader  # for glob()
            if not isinstance(override.value(), str | list | dict) and not sweeps:
                group = override.key_or_group
                choices = [*list_options(group), *([f"~{group} to go without"] if override.value() is None else [])]
                return f"'{override.input_line}' names no option of {group}. Choices: {', '.join(choices)}."
        known = {}
        for choices in itertools.islice(itertools.product(*map(_choices, chosen)), _MOST_LOOKS):
            try:
                config = compose(line.config_name, [*searched, *choices])
            except (HydraException, OmegaConfBaseException, ValueError):
                return None
            known[choices] = [*groups, *_keys(OmegaConf.to_container(config, resolve=False))]
    changed = [o.key_or_group for o in overrides if not (o.is_add() or o.is_force_add() or o.is_hydra_override())]
    return _unknown_keys(list(dict.fromkeys(changed)), known)


_MOST_LOOKS = 100
"""Combinations of a sweep that are composed to find the one which lacks a key."""


def _choices(override: Override) -> list[str]:
    if not override.is_sweep_override():
        return [str(override.input_line)]
    return [f"{override.get_key_element()}={choice}" for choice in override.sweep_string_iterator()]


def _unknown_keys(changed: Sequence[str], known: Mapping[tuple[str, ...], Sequence[str]]) -> str | None:
    """Name the keys that are unknown, of a sweep those that some of its combinations of groups do not have."""
    lacking = {key: [choices for choices, keys in known.items() if key not in keys] for key in changed}
    problems = []
    for key, without in lacking.items():
        if len(without) == len(known):
            hint = _nearest_key(key, next(iter(known.values()))) or " --cfg job shows all keys."
            problems.append(f"Unknown key '{key}'.{hint}")
        elif without:
            # Only what differs between those with and those without can be the reason.
            have = next(choices for choices in known if choices not in without)
            differ = [(one, other) for one, other in zip(without[0], have, strict=True) if one != other]
            lacks, has = (" ".join(part) for part in zip(*differ, strict=True))
            problems.append(f"{lacks} has no key '{key}', which {has} has: sweep over them by a command each.")
    return two_lines(problems) if problems else None


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
