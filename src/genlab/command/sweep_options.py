"""What a sweep is asked for, checked before its first job: options of launchers and sweepers, groups, how many runs."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, MinLen
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, RangeSweep, ValueType
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from genlab.command.explain import CommandLine
from genlab.command.hydra_node import loader_of
from genlab.command.values import describe, fits, hint
from genlab.core.errors import GenlabError, two_lines

__all__ = ["LAUNCHER", "MOST_RUNS", "SWEEPER", "check_line", "check_options", "of_jobs_alone"]

MOST_RUNS = 10_000
"""Runs of one sweep: Hydra composes the config of each before the first begins."""

_Text = Annotated[str, MinLen(1)]
_Count = Annotated[int, Ge(1), Le(1_000_000)]
_Number = Annotated[int, Ge(0), Le(1_000_000)]

LAUNCHER: dict[str, Any] = {
    "jobs": Annotated[int, Ge(1), Le(1_000)] | None,
    "gpus_per_job": Annotated[int, Ge(1), Le(1_000)],
    "only": list[_Number] | None,
    "n_jobs": Annotated[int, Ge(-1_000), Le(1_000)],
    "backend": _Text,
    "threads": Annotated[int, Ge(1), Le(1_000)] | None,
    "address": _Text | None,
    "num_cpus": Annotated[float, Gt(0)],
    "num_gpus": Annotated[float, Ge(0)],
    "cluster": Literal["slurm", "local"],
    "nodes": _Count,
    "tasks_per_node": _Count,
    "gpus_per_node": _Number | None,
    "cpus_per_task": _Count | None,
    "mem_gb": Annotated[float, Gt(0)] | None,
    "timeout_min": _Count,
    "signal_delay_s": _Number,
    "max_num_timeout": _Number,
    "array_parallelism": _Count,
    "setup": list[str] | None,
    "srun_args": list[str] | None,
    "additional_parameters": Mapping[str, Any] | None,
    "python": _Text | None,
}
"""What fits the options below ``hydra.launcher``; those that are not here are for the launcher to judge."""

SWEEPER: dict[str, Any] = {
    "trials": _Count,
    "storage": _Text | None,
    "study": _Text | int | None,
    "objective": _Text | Annotated[list[_Text], MinLen(1)] | None,
    "sampler": _Text,
    "pruner": _Text | None,
    "seed": Annotated[int, Ge(0)],
    "batch": _Count,
    "params": Mapping[str, Any] | None,
    "max_batch_size": _Count | None,
}
"""What fits the options below ``hydra.sweeper``."""

_RECIPES = "experiment"
"""The group of which an option may choose those of all other groups."""
_SEVERAL = (_RECIPES,)
"""Groups of which several options may be chosen at once: recipes, each of which sets what it is about."""
_SEARCHES = ("search", "hydra/sweeper")
_OF_ALL_JOBS = "hydra"
"""The group that is Hydra's own configuration, of the whole sweep: it may not be swept over."""
_LONGEST_KEY = 200
_LIST = re.compile(r"\+{0,2}([\w/]+)(@[\w.:/@]*)?=\s*\[")


def check_options(node: str, options: Any, known: Mapping[str, Any]) -> None:
    """Check the options of Hydra's launcher or sweeper.

    Args:
        node: Its key, such as ``"hydra.launcher"``.
        options: The node, as Hydra composed it.
        known: What fits each.

    Raises:
        GenlabError: Names what does not fit.
    """
    try:
        plain = OmegaConf.to_container(options, resolve=True)
    except OmegaConfBaseException as error:
        raise GenlabError(f"{error.full_key or node}: {str(error.msg).splitlines()[0]}") from error
    problems = [
        f"{node}.{key} is {value!r}, expected {describe(known[key])}.{hint(value, known[key])}"
        for key, value in plain.items()
        if key in known and not fits(value, known[key])
    ]
    if problems:
        raise GenlabError(two_lines(problems))


def check_line(line: CommandLine) -> None:
    """Refuse what Hydra would compose although nobody can mean it, and what it would trip over.

    Several options of a group overlap, and what comes out is none of them; a sweep of a million runs is composed for
    hours before the first begins.

    Raises:
        GenlabError: Says what to write instead.
    """
    for override in line.overrides:
        key = override.partition("=")[0]
        if not key.strip():
            raise GenlabError(f"'{override}' is no setting: write key=value, e.g. model.lr=1e-3 or data=mnist.")
        if len(key) > _LONGEST_KEY:  # Hydra would look for a folder of this name
            raise GenlabError(f"Unknown key '{key[:40]}...', of {len(key):,} letters. --cfg job shows all keys.")
        found = _LIST.match(override)
        if found and found[1] not in _SEVERAL and _is_group(line, found[1]):
            options = override.partition("=")[2].strip("[] ")
            raise GenlabError(
                f"'{override}' chooses several options of {found[1]}, and a run has one.\n"
                f"To train one run with each: -m {found[1]}={options}"
            )
    if line.multirun:
        _check_runs(line)


def of_jobs_alone(line: CommandLine) -> CommandLine:
    """Return a sweep's line in which what the sweep itself cannot be set to within a swept group is of its jobs alone.

    Hydra also composes a config of the sweep itself, of all that is not swept: there the group has its default option,
    which may have no such key. Of ``model=diffusion,flow_matching model.tails=none`` it would say that flow has none.
    As a choice of one value a setting is not in that config. What the default option has stays there: launchers read
    it. A search is left as it is: to it a choice is a dimension.
    """
    if not line.multirun:
        return line
    try:
        written = _written(line, OverridesParser.create())
    except (HydraException, ValueError):  # which Hydra will say itself
        return line
    return replace(
        line,
        overrides=tuple(written.get(override, override) for override in line.overrides),
        arguments=tuple(written.get(argument, argument) for argument in line.arguments),
    )


def _written(line: CommandLine, parser: OverridesParser) -> dict[str, str]:
    """Return the settings that are written otherwise, and how."""
    overrides = parser.parse_overrides(list(line.overrides))
    swept = {o.key_or_group for o in overrides if o.is_sweep_override() and _is_group(line, o.key_or_group)}
    within = [o for o in overrides if _is_within(line, o, swept)]
    if not within or _is_search(overrides):
        return {}
    rest = [o for o in overrides if o not in within]
    of_sweep = _compose(line, [str(o.input_line) for o in rest], RunMode.MULTIRUN)
    lacking = [o for o in within if not _takes(of_sweep, o)]
    written = {str(o.input_line): choice for o in lacking if (choice := _as_choice(parser, o))}
    if others := [o for o in lacking if str(o.input_line) not in written]:
        # Any config takes what is forced upon it: not what the jobs do not have either.
        of_first_job = _compose(line, [_first(o) for o in rest], RunMode.RUN)
        for override in others:
            if _takes(of_first_job, override):
                written[str(override.input_line)] = f"++{str(override.input_line).lstrip('+')}"
    return written


def _compose(line: CommandLine, overrides: list[str], mode: RunMode) -> Any:
    config = loader_of(line).load_configuration(line.config_name, overrides, mode, from_shell=False)
    return OmegaConf.to_container(config, resolve=False)


def _first(override: Override) -> str:
    if not override.is_sweep_override():
        return str(override.input_line)
    return f"{override.get_key_element()}={next(override.sweep_string_iterator())}"


def _is_within(line: CommandLine, override: Override, swept: set[str]) -> bool:
    group, _, key = override.key_or_group.partition(".")
    of_recipes = _RECIPES in swept and group != _OF_ALL_JOBS and _is_group(line, group)
    one_value = not (override.is_sweep_override() or override.is_delete() or override.is_list_extend())
    return bool(key) and one_value and (group in swept or of_recipes)


def _takes(config: Any, override: Override) -> bool:
    """Whether a config takes a setting as it is: it has such a key, or none yet where one is added."""
    node = config
    for part in override.key_or_group.split("."):
        if not isinstance(node, dict) or part not in node:
            return override.is_add() or override.is_force_add()
        node = node[part]
    return not override.is_add() or node is None or isinstance(override.value(), dict | list)


def _as_choice(parser: OverridesParser, override: Override) -> str | None:
    """Write a setting as a choice of one value; None where that would be another value.

    A choice has no null, and forgets quotes: of ``'5'`` it makes a number, and of ``"it's"`` what cannot be read.
    """
    name, _, value = str(override.input_line).partition("=")
    choice = f"{name}=choice({value})"
    with contextlib.suppress(HydraException, ValueError):
        (again,) = parser.parse_override(choice).sweep_string_iterator()
        if repr(parser.parse_override(f"{name}={again}").value()) == repr(override.value()):
            return choice
    return None


def _is_search(overrides: Sequence[Override]) -> bool:
    chosen = [o for o in overrides if o.key_or_group in _SEARCHES and not o.is_delete()]
    return any(o.value() not in (None, "basic") for o in chosen)


def _is_group(line: CommandLine, name: str) -> bool:
    folders = (line.primary or line.conf, *([line.extra] if line.extra else []))
    return any((Path(folder) / name).is_dir() for folder in folders)


def _check_runs(line: CommandLine) -> None:
    try:
        overrides = OverridesParser.create().parse_overrides(list(line.overrides))
    except (HydraException, ValueError):  # which Hydra will say itself
        return
    for override in overrides:
        if override.value_type is ValueType.GLOB_CHOICE_SWEEP:
            override.config_loader = loader_of(line)
    counts = {str(o.input_line): count for o in overrides if (count := _count(o)) is not None}
    if empty := [text for text, count in counts.items() if count == 0]:
        raise GenlabError(f"'{empty[0]}' gives no value: there is nothing to run.")
    most = max(counts, key=counts.__getitem__, default="")
    if _is_search(overrides):  # whose trials are no product
        if counts.get(most, 0) > MOST_RUNS:
            raise GenlabError(
                f"'{most}' has {counts[most]:,.15g} values, expected at most {MOST_RUNS:,} in a search: write "
                "interval(), or int(interval())."
            )
        return
    runs = math.prod(counts.values())
    if runs > MOST_RUNS:
        raise GenlabError(
            f"This sweep has {runs:,.15g} runs, expected at most {MOST_RUNS:,}: '{most}' has {counts[most]:,.15g} "
            "values.\nA search takes the promising ones alone: -m search=<family>."
        )


def _count(override: Override) -> float | None:
    """Return how many values a sweep has, without making them; None for what is none or is not known yet."""
    if override.value_type is ValueType.GLOB_CHOICE_SWEEP:
        return sum(1 for _ in override.sweep_iterator())
    value = override.value() if override.is_sweep_override() else None
    if isinstance(value, ChoiceSweep):
        return len(value.list)
    if not isinstance(value, RangeSweep) or not value.step:
        return None
    try:
        return max(0, math.ceil((float(value.stop) - float(value.start)) / float(value.step)))
    except (OverflowError, ValueError):  # of infinity, and of what is no number
        return math.inf
