"""What a folder of configs from elsewhere may say of Hydra's own node: options of launchers and sweepers, no more.

Hydra acts on its node ``hydra`` before any job begins: it makes callbacks and loggers, sets environment variables and
makes folders. A recipe that somebody sends could so run any program. What Hydra's and our own configs say, and what
the command line says, may be anything: the one is installed, the other the user's own word.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.override_parser.types import Override
from hydra.core.utils import setup_globals
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from genlab.command.explain import CommandLine
from genlab.core.errors import GenlabError

__all__ = ["LAUNCHER_OPTIONS", "SWEEPER_OPTIONS", "check_hydra_node", "loader_of"]

LAUNCHER_OPTIONS = frozenset(
    (
        "_target_", "jobs", "gpus_per_job", "only", "cluster", "partition", "account", "qos", "constraint",
        "exclude", "nodes", "tasks_per_node", "gpus_per_node", "cpus_per_task", "mem_gb", "timeout_min",
        "signal_delay_s", "max_num_timeout", "array_parallelism", "name", "n_jobs", "backend", "threads",
        "num_cpus", "num_gpus",
    )
)  # fmt: skip
"""Options below ``hydra.launcher`` that a folder of configs may set.

Not among them: what a shell reads (``setup``, ``python``, ``srun_args``, ``additional_parameters``), and the
``address`` of a cluster that code and data would go to.
"""

SWEEPER_OPTIONS = frozenset(
    (
        "_target_", "trials", "study", "objective", "sampler", "pruner", "seed", "batch", "params",
        "max_batch_size",
    )
)  # fmt: skip
"""Options below ``hydra.sweeper`` that a folder of configs may set; not ``storage``, which opens files and more."""

_BY_HYDRA = ("hydra.runtime.", "hydra.overrides.", "hydra.mode", "hydra.job.config_name", "hydra.job.override_dirname")
"""What Hydra itself writes while it composes; and ``mode``, by which a recipe says that it is a sweep."""

_CHOSEN = ("hydra/launcher", "hydra/sweeper")
_SWEPT_KEY = re.compile(r"[+~]{0,2}(?!hydra\b)[A-Za-z_][\w./@-]*")
_IN_THIS_PROCESS = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"


def check_hydra_node(line: CommandLine, config_name: str) -> None:
    """Refuse a command whose folders of configs reach beyond `LAUNCHER_OPTIONS` and `SWEEPER_OPTIONS`.

    It composes the config twice, with and without these folders. A command without any costs nothing.

    Args:
        line: The command line.
        config_name: Name of the command's own primary config.

    Raises:
        GenlabError: Names the key.
        HydraException: If the config cannot be composed, as Hydra itself would raise it.
    """
    overrides = list(line.overrides)
    if not _reads_elsewhere(line, overrides):
        return
    loader = loader_of(line)
    parsed = loader.parse_overrides(line.config_name, overrides)
    mode = RunMode.MULTIRUN if line.multirun else loader.get_mode(line.config_name, overrides, parsed) or RunMode.RUN
    compose = partial(loader.load_configuration, line.config_name, from_shell=False)
    config = compose(overrides=overrides, run_mode=mode)
    trusted = _Trusted(line, config_name, config.hydra.runtime.choices)
    trusted.check(config)
    # Other launchers start commands, each of which comes by here itself.
    if mode is RunMode.MULTIRUN and config.hydra.launcher.get("_target_") == _IN_THIS_PROCESS:
        own = [override for override in overrides if _is_hydras(override)]
        params = OmegaConf.to_container(config.hydra.sweeper.get("params") or OmegaConf.create(), resolve=False)
        task = [f"{key}={value}" for key, value in params.items()] + [o for o in overrides if o not in own]
        for job in _jobs(loader.parse_overrides(line.config_name, task)):
            trusted.check(compose(overrides=[*own, *job], run_mode=RunMode.RUN))


def loader_of(line: CommandLine) -> ConfigLoaderImpl:
    """Return what finds the configs of a command line, in the folders that it names too."""
    setup_globals()
    return _loader(line.primary or str(line.conf), line.extra)


def _reads_elsewhere(line: CommandLine, overrides: Sequence[str]) -> bool:
    if any(override.lstrip("+").startswith(("hydra.searchpath", "hydra=")) for override in overrides):
        return True
    return any(
        folder is not None and os.path.realpath(folder) != os.path.realpath(line.conf)
        for folder in (line.extra, line.primary)
    )


def _loader(primary: str | None, extra: str | None = None) -> ConfigLoaderImpl:
    path = create_config_search_path(primary)
    if extra is not None:
        path.prepend("command-line", f"file://{extra}", SearchPathQuery(provider="schema"))
    return ConfigLoaderImpl(path)


def _jobs(overrides: list[Override]) -> list[list[str]]:
    (jobs,) = BasicSweeper.split_arguments(overrides, None)
    return jobs


def _is_hydras(override: str) -> bool:
    return re.match(r"[+~]*hydra[./=@]", override) is not None


class _Trusted:
    """What the installed configs and the command line say of Hydra's node."""

    def __init__(self, line: CommandLine, config_name: str, choices: Mapping[str, str | None]) -> None:
        of_hydra = [override for override in line.overrides if _is_hydras(override)]
        self.given = {key for override in of_hydra if "." in (key := _key(override))}
        given = [override for override in of_hydra if _key(override) != "hydra.searchpath"]
        loader = _loader(str(line.conf))
        self.leaves = [_compose_first(_loader(None), None, [_without(given, *_CHOSEN), []])]
        for group in _CHOSEN:
            # Of a folder's own choice all may stand that one of the installed ones says.
            known = loader.get_group_options(group)
            for choice in [choices[group]] if choices.get(group) in known else known:
                rest, chosen = _without(given, *_CHOSEN), f"{group}={choice}"
                tries = [[*_without(given, group), chosen], [*rest, chosen], rest]
                self.leaves.append(_compose_first(loader, config_name, tries))

    def check(self, config: Any) -> None:
        """Refuse a composed config whose node ``hydra`` has anything from elsewhere that is not in the lists."""
        for key, value in _flat(OmegaConf.to_container(config.hydra, resolve=False), "hydra"):
            if key.startswith(_BY_HYDRA) or key in self.given:
                continue
            if any(key in leaves and leaves[key] == value for leaves in self.leaves):
                continue
            _check_option(key, value)


def _key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]


def _without(overrides: Sequence[str], *groups: str) -> list[str]:
    """Return the overrides but those of a group, chosen (``hydra/launcher``) or set (``hydra.launcher.jobs``)."""
    parts = [f"{group.replace('/', '.')}." for group in groups]
    return [o for o in overrides if not f"{_key(o).replace('/', '.')}.".startswith(tuple(parts))]


def _compose_first(loader: ConfigLoaderImpl, config_name: str | None, tries: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Compose with the first of these overrides that can be composed, and return the leaves of Hydra's node."""
    for number, overrides in enumerate(tries, start=1):
        try:
            config = loader.load_configuration(config_name, list(overrides), RunMode.MULTIRUN, from_shell=False)
            return dict(_flat(OmegaConf.to_container(config.hydra, resolve=False), "hydra"))
        except (HydraException, OmegaConfBaseException):
            if number == len(tries):
                raise
    raise AssertionError("there is nothing to try")


def _flat(node: Any, key: str) -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping) and node:
        for name, value in node.items():
            yield from _flat(value, f"{key}.{name}")
    else:
        yield key, node


def _check_option(key: str, value: Any) -> None:
    part, _, option = key.removeprefix("hydra.").partition(".")
    allowed = {"launcher": LAUNCHER_OPTIONS, "sweeper": SWEEPER_OPTIONS}.get(part, frozenset())
    name, _, swept = option.partition(".")
    if name not in allowed or (swept and name != "params"):
        raise GenlabError(
            f"{key} is set by a folder of configs. Of hydra it may set options of launchers and sweepers that run no "
            "commands.\nMeant so? Give it on the command line, or in the conf/ of a plug-in (docs/extending.md)."
        )
    if name == "params" and value and not _SWEPT_KEY.fullmatch(swept):
        raise GenlabError(f"{key} is no key to sweep over: expected one of the run's own, e.g. model.lr.")
    if not _is_plain(value):
        raise GenlabError(
            f"{key} is {value!r}, set by a folder of configs. Expected a number, or one line without a reference."
        )


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_plain, value))
    if isinstance(value, str):
        return value.isprintable() and "${" not in value
    return value is None or value == {} or isinstance(value, bool | int | float)
