"""What a command line with a search means: what all trials share, and the space of each parameter."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, RangeSweep
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from genlab.core.errors import GenlabError, nearest
from genlab.loggers.protocols import flatten

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

__all__ = ["SearchCommand", "check_space", "distribution_of", "plain_config", "read_command"]

_GROUP = "search"


class SearchCommand:
    """What a command line means for a search.

    Attributes:
        base: What all trials are composed of, without the keys of Hydra.
        launcher_config: The same for a launcher, with Hydra's keys, which name no database.
        fixed: The overrides of `base`.
        space: The distribution of each parameter by its key.
        overrides: The override that each parameter was read from.
        own: What else on the command line says where configs are found.
    """

    def __init__(
        self,
        compose: Callable[[Iterable[str]], DictConfig],
        fixed: tuple[str, ...],
        overrides: Mapping[str, Override],
        own: tuple[str, ...] = (),
    ) -> None:
        self.compose = compose
        self.fixed = fixed
        self.overrides = dict(overrides)
        self.own = own
        self.launcher_config = compose(fixed)
        self.base = _without_hydra(self.launcher_config)
        self.space: dict[str, BaseDistribution] = {key: distribution_of(o) for key, o in self.overrides.items()}

    @property
    def choices(self) -> dict[str, str | None]:
        """The option chosen of each group."""
        choices = OmegaConf.to_container(self.launcher_config.hydra.runtime.choices)
        return {group: option for group, option in choices.items() if not group.startswith("hydra/")}


def read_command(
    config: DictConfig, context: HydraContext, params: Mapping[str, Any], arguments: Sequence[str]
) -> SearchCommand:
    """Divide a command line and the space of ``hydra.sweeper.params`` into what is fixed and what is searched.

    What the command line gives wins: a value fixes a key, a sweep is its space.

    Raises:
        GenlabError: If the search's own config sets more than a space and choices of groups, or does so wrongly.
    """
    loader = context.config_loader
    parser = OverridesParser.create(config_loader=loader)
    given = [o for o in parser.parse_overrides(list(arguments)) if o.key_or_group != _GROUP]
    written = parser.parse_overrides([f"{key}={value}" for key, value in params.items()])
    for override in written:
        if not override.is_sweep_override():
            raise GenlabError(
                f"hydra.sweeper.params has {override.input_line}, which is one value: write interval(), range(), "
                "choice() or tag(log, interval())."
            )
    named = {_key(o) for o in given}
    searched = [o for o in written if _key(o) not in named] + [o for o in given if o.is_sweep_override()]
    fixed = [str(o.input_line) for o in given if not o.is_sweep_override()]
    of_hydra = [
        o
        for o in OmegaConf.to_container(config.hydra.overrides.hydra)
        if not o.lstrip("+~").startswith(("hydra.sweeper", "hydra/sweeper"))
    ]

    def compose(overrides: Iterable[str]) -> DictConfig:
        every = [*of_hydra, "hydra/sweeper=optuna", *overrides]
        composed = loader.load_configuration(config.hydra.job.config_name, every, RunMode.MULTIRUN)
        OmegaConf.copy_cache(config, composed)  # e.g. the time in the name of the sweep's folder
        return composed

    # Values may be of keys that only the search's own choices bring.
    groups = config.hydra.runtime.choices
    plain = compose(str(o.input_line) for o in given if o.key_or_group in groups and not o.is_sweep_override())
    pinned = _pinned(config, plain, [o.key_or_group for o in [*given, *searched]])
    command = SearchCommand(compose, (*pinned, *fixed), {_key(o): o for o in searched}, _own(config, of_hydra))
    _check_jobs_see_all(config, command)
    return command


def _own(config: DictConfig, of_hydra: Sequence[str]) -> tuple[str, ...]:
    folders = [s.path for s in config.hydra.runtime.config_sources if s.provider == "command-line"]
    paths = [o for o in of_hydra if o.lstrip("+").startswith("hydra.searchpath=")]
    return (*(f"--config-dir={folder}" for folder in folders), *paths)


def _key(override: Override) -> str:
    return str(override.get_key_element()).lstrip("+")


def _pinned(config: DictConfig, plain: DictConfig, named: Sequence[str]) -> tuple[str, ...]:
    """Return the choices that the search made, which its trials, plain runs, must be told."""
    with_search, without = (c.hydra.runtime.choices for c in (config, plain))
    groups = [group for group in with_search if not group.startswith("hydra/") and group not in (_GROUP, *named)]
    # The family is what a command is read for.
    return tuple(f"{g}={with_search[g]}" for g in groups if g == "model" or with_search[g] != without.get(g))


def _check_jobs_see_all(config: DictConfig, command: SearchCommand) -> None:
    ours, theirs = (flatten(plain_config(c, resolve=False)) for c in (_without_hydra(config), command.base))
    swept = set(command.space)
    changed = [key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key) and key not in swept]
    groups = [key for key in swept if key in command.choices]
    if changed and not groups:
        raise GenlabError(
            f"search={command_search(config)} sets {changed[0]}, which its trials, plain runs, would not see.\n"
            "A search sets hydra.sweeper and overrides groups; give the rest on the command line or in an experiment."
        )


def command_search(config: DictConfig) -> str | None:
    """Return the option of ``search`` that was chosen, None if there was none."""
    choice = OmegaConf.select(config, "hydra.runtime.choices").get(_GROUP)
    return None if choice is None else str(choice)


def distribution_of(override: Override) -> BaseDistribution:
    """Return Optuna's distribution for a sweep in Hydra's grammar.

    A choice is a category by its text, so that lists and quoted strings reach the job as they were written.

    Raises:
        GenlabError: If Hydra's grammar takes it and no distribution can be made of it.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    value = override.value()
    try:
        if override.is_interval_sweep():
            whole = isinstance(value.start, int) and isinstance(value.end, int)
            made = IntDistribution if whole else FloatDistribution
            return made(value.start, value.end, log="log" in value.tags)
        if isinstance(value, RangeSweep) and isinstance(steps := value.range(), range) and not value.transformers:
            low, high = sorted((steps[0], steps[-1]))
            return IntDistribution(low, high, step=abs(steps.step))
        return CategoricalDistribution(list(override.sweep_string_iterator()))
    except (ValueError, TypeError, IndexError) as error:
        raise GenlabError(f"The space {override.input_line} cannot be searched: {error}") from error


def check_space(command: SearchCommand) -> None:
    """Check the config at the ends of every parameter, at each alone and at all together.

    Raises:
        GenlabError: If the space names a key that is not there, or a value does not fit.
    """
    from genlab.command.config import check_config

    ends = {key: _ends(distribution) for key, distribution in command.space.items()}
    for key, override in command.overrides.items():
        if not override.is_add() and key not in command.choices and OmegaConf.select(command.base, key) is None:
            known = [*flatten(plain_config(command.base, resolve=False)), *command.choices]
            if key not in known:
                raise GenlabError(f"The search has a space for '{key}', which is no key.{nearest(key, known)}")
    points = [{key: text} for key, texts in ends.items() for text in texts]
    points += [{key: texts[place] for key, texts in ends.items()} for place in (0, -1)]
    for point in points:
        try:
            check_config(_at(command, point))
        except GenlabError as error:
            where = " ".join(f"{key}={text}" for key, text in point.items())
            hint = " int(interval(1, 9)) is one of whole numbers." if "whole number" in str(error) else ""
            raise GenlabError(f"The space of the search does not fit, at {where}: {error}{hint}") from error


def _ends(distribution: Any) -> list[str]:
    if hasattr(distribution, "choices"):
        return list(distribution.choices)
    return [repr(distribution.low), repr(distribution.high)]


def _at(command: SearchCommand, point: Mapping[str, str]) -> DictConfig:
    texts = [command.overrides[key].get_key_element() + f"={text}" for key, text in point.items()]
    if any(key in command.choices for key in point):
        return _without_hydra(command.compose([*command.fixed, *texts]))
    config = copy.deepcopy(command.base)
    try:
        for key, override in zip(point, OverridesParser.create().parse_overrides(texts), strict=True):
            OmegaConf.update(config, key, override.value(), force_add=override.is_add())
    except OmegaConfBaseException as error:
        raise GenlabError(str(error.msg).splitlines()[0]) from error
    return config


def _without_hydra(config: DictConfig) -> DictConfig:
    config = copy.deepcopy(config)
    with open_dict(config):
        config.pop("hydra", None)
    return config


def plain_config(config: DictConfig, resolve: bool = True) -> dict[str, Any]:
    """Return a config as plain containers."""
    return OmegaConf.to_container(config, resolve=resolve)
