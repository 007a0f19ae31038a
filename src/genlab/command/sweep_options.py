"""What a sweep is asked for, checked before its first job: options of launchers and sweepers, groups, how many runs."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, MinLen
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, RangeSweep
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from genlab.command.explain import CommandLine
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


def of_jobs_alone(line: CommandLine) -> tuple[str, ...]:
    """Return the arguments of a sweep, in which what is set within a swept group is a choice of one value.

    Hydra also composes a config of the sweep itself, of all that is not swept: there the group has its default option,
    which may have no such key. Of ``model=diffusion,flow_matching model.tails=none`` it would say that flow has none.
    A search is left as it is: to it a choice is a dimension.
    """
    if not line.multirun:
        return line.arguments
    parser = OverridesParser.create()
    try:
        overrides = parser.parse_overrides(list(line.overrides))
    except (HydraException, ValueError):  # which Hydra will say itself
        return line.arguments
    swept = {o.key_or_group for o in overrides if o.is_sweep_override() and _is_group(line, o.key_or_group)}
    if not swept or any(o.key_or_group in _SEARCHES for o in overrides):
        return line.arguments
    written = {}
    for override in overrides:
        group, _, key = override.key_or_group.partition(".")
        belongs = group in swept or (_RECIPES in swept and group != _OF_ALL_JOBS and _is_group(line, group))
        if not (key and belongs) or override.is_delete() or override.is_sweep_override():
            continue
        name, _, value = str(override.input_line).partition("=")
        choice = f"{name}=choice({value})"
        with contextlib.suppress(HydraException, ValueError):  # such as that of an empty value
            parser.parse_override(choice)
            written[override.input_line] = choice
    return tuple(written.get(argument, argument) for argument in line.arguments)


def _is_group(line: CommandLine, name: str) -> bool:
    folders = (line.primary or line.conf, *([line.extra] if line.extra else []))
    return any((Path(folder) / name).is_dir() for folder in folders)


def _check_runs(line: CommandLine) -> None:
    try:
        overrides = OverridesParser.create().parse_overrides(list(line.overrides))
    except (HydraException, ValueError):  # which Hydra will say itself
        return
    counts = {str(o.input_line): count for o in overrides if (count := _count(o)) is not None}
    if empty := [text for text, count in counts.items() if count == 0]:
        raise GenlabError(f"'{empty[0]}' gives no value: there is nothing to run.")
    runs = math.prod(counts.values())
    if runs > MOST_RUNS:
        most = max(counts, key=counts.__getitem__)
        raise GenlabError(
            f"This sweep has {runs:,.15g} runs, expected at most {MOST_RUNS:,}: '{most}' has {counts[most]:,.15g} "
            "values.\nA search takes the promising ones alone: -m search=<family>."
        )


def _count(override: Override) -> float | None:
    """Return how many values a sweep has, without making them; None for what is none or is not known yet."""
    value = override.value() if override.is_sweep_override() else None
    if isinstance(value, ChoiceSweep):
        return len(value.list)
    if not isinstance(value, RangeSweep) or not value.step:
        return None
    return max(0, math.ceil((float(value.stop) - float(value.start)) / float(value.step)))
