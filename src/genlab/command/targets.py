"""Which code a config may name, and the one way from its nodes to objects."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import hydra.utils
from hydra.errors import InstantiationException
from omegaconf import OmegaConf

from genlab.core.errors import GenlabError, nearest
from genlab.core.plugins import find_plugins

__all__ = [
    "CLASSES",
    "FUNCTIONS",
    "Node",
    "allowed_targets",
    "children",
    "find_targets",
    "instantiate",
    "is_reference",
    "leaves",
    "locate",
]

CLASSES = (
    "genlab.models.*",
    "genlab.networks.*",
    "genlab.data.*",
    "genlab.core.schedules.*",
    "genlab.measure.protocol.EvaluationProtocol",
    "genlab.loggers.tensorboard_logger.TensorBoardDashboard",
    "genlab.loggers.wandb_logger.WandbDashboard",
    "genlab.training.sharding.ShardedStrategy",
    "torch.optim.*",
    "pytorch_lightning.Trainer",
    "pytorch_lightning.loggers.*",
    "pytorch_lightning.profilers.*",
    "pytorch_lightning.strategies.*",
)
"""Classes that a config may name as ``_target_``, beside those of plug-ins. Of genlab those that a config is made of:
elsewhere are classes that start processes or open databases when they are made."""

FUNCTIONS = ("genlab.loggers.dashboards.no_dashboard",)
"""Functions that a config may name. A function acts when it is called, a class only makes an object; so these are few:
among all of genlab's functions are some that write files."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """What a config describes by ``_target_``: checked, and not yet made.

    A subclass says by further fields which settings of the node the program itself reads; see `check_config`.

    Attributes:
        target: The class or function that it names.
        plain: The node as plain containers.
    """

    makes: ClassVar[str | None] = None
    """Dotted path of what the target has to be a subclass of; None: anything."""
    for_the_program: ClassVar[frozenset[str]] = frozenset()
    """Keys of the node that are no arguments of the target."""

    target: Callable[..., Any]
    plain: Mapping[str, Any] = field(repr=False)

    def make(self, **supplied: Any) -> Any:
        """Call the target with the node's settings and over them what the program supplies; see `instantiate`."""
        plain = {key: value for key, value in self.plain.items() if key not in self.for_the_program}
        return instantiate(plain, **supplied)


def _allowed_classes() -> tuple[str, ...]:
    return (*CLASSES, *(f"{plugin.module}.*" for plugin in find_plugins()))


def allowed_targets() -> tuple[str, ...]:
    """Return the patterns of all that a config may name: our own, and the modules of plug-ins."""
    return (*_allowed_classes(), *FUNCTIONS)


def locate(name: Any, key: str = "") -> Callable[..., Any]:
    """Return the class or function that a config names as ``_target_``.

    What may not be named is not imported either. The object is judged by where it is defined, so that nothing foreign
    is reached through a module of genlab that happens to import it.

    Args:
        name: Dotted path, in `CLASSES`, below the module of a plug-in, or in `FUNCTIONS`.
        key: Key of the node, for the message.

    Raises:
        GenlabError: If it is not allowed, does not exist, or belongs to a plug-in that cannot be imported.
    """
    where = f"{key}._target_" if key else "_target_"
    if not isinstance(name, str) or not _matches(name, allowed_targets()):
        raise _refused(name, where)
    found = _import_of_plugin(name, where) or _import(name, where)
    patterns = _allowed_classes() if isinstance(found, type) else FUNCTIONS if inspect.isfunction(found) else ()
    home = f"{getattr(found, '__module__', '')}.{getattr(found, '__qualname__', '')}"
    # An entry without a wildcard names a re-exported class on purpose.
    if name not in patterns and not _matches(home, patterns):
        raise _refused(name, where)
    return found


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(name == p or (p.endswith(".*") and name.startswith(p[:-1])) for p in patterns)


def _refused(name: Any, where: str) -> GenlabError:
    return GenlabError(
        f"{where} is {name!r}, which a config may not call. Expected a class in "
        f"{', '.join(pattern for pattern in _allowed_classes() if pattern.endswith('.*'))}, or what a file of conf/ "
        "names. Code of your own: a plug-in, see docs/extending.md."
    )


def _import_of_plugin(name: str, where: str) -> Any:
    plugin = next((plugin for plugin in find_plugins() if name.startswith(f"{plugin.module}.")), None)
    if plugin is None:
        return None
    try:
        plugin.load()
    except GenlabError as error:
        raise GenlabError(f"{where} is '{name}'. {error}") from error
    try:
        return _import(name, where)
    except GenlabError:
        raise
    except Exception as error:  # in a module below the plug-in's
        raise GenlabError(f"{where} is '{name}'. {plugin.broken(error)}") from error


def _import(name: str, where: str) -> Any:
    parts = name.split(".")
    found: Any = importlib.import_module(parts[0])
    for depth, part in enumerate(parts[1:], start=1):
        if hasattr(found, part):
            found = getattr(found, part)
            continue
        path = ".".join(parts[: depth + 1])
        try:
            found = importlib.import_module(path)
        except ModuleNotFoundError as error:
            # It is there, but something that it needs is not.
            if not f"{path}.".startswith(f"{error.name}."):
                raise
            shown = ".".join(parts[:depth])
            choices = getattr(found, "__all__", dir(found))
            raise GenlabError(f"{where} is '{name}', but {shown} has no '{part}'.{nearest(part, choices)}") from None
    return found


def instantiate(config: Mapping[str, Any], /, *args: Any, **kwargs: Any) -> Any:
    """Make the object that a node describes; the only way in which genlab instantiates.

    Args:
        config: A node with ``_target_``, as a config or as plain containers; nested nodes are made first.
        args: Positional arguments for the target.
        kwargs: Arguments for the target, over those of the node; passed on as they are, whatever they hold.

    Returns:
        What the target returns, or a partial of it for ``_partial_: true``.

    Raises:
        GenlabError: If any node names a target that `locate` refuses, or a value is a reference (``${...}``) that was
            not resolved; nothing is called then.
    """
    plain = OmegaConf.to_container(config, resolve=True) if OmegaConf.is_config(config) else config
    for key, name in find_targets(plain):
        locate(name, key)
    for key, value in leaves(plain):
        if is_reference(value):
            raise GenlabError(f"{key} is {value!r}, expected the value itself: references are resolved before this.")
    try:
        # Only what the config holds goes through Hydra, which would take apart the containers among our arguments.
        make = hydra.utils.instantiate(config, _partial_=True, _execution_whitelist_=allowed_targets())
    except InstantiationException as error:
        raise GenlabError(str(error).splitlines()[0]) from error
    return functools.partial(make, *args, **kwargs) if plain.get("_partial_", False) else make(*args, **kwargs)


def is_reference(value: Any) -> bool:
    """Whether a value is one that Hydra would resolve when it makes a node.

    ``${oc.create:...}`` makes a node that nobody has checked, ``${oc.env:...}`` reads a secret: whatever is still a
    reference after a config was resolved, or stands in the file of a run, is refused.
    """
    return isinstance(value, str) and "${" in value


def leaves(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the key and the value of everything within a node, outer ones first."""
    for name, value in children(node, key):
        yield name, value
        yield from leaves(value, name)


def children(node: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Yield the key and the value of what a mapping or a list holds, and nothing for other values."""
    if isinstance(node, Mapping):
        yield from ((f"{key}.{name}" if key else str(name), value) for name, value in node.items())
    elif isinstance(node, list | tuple):
        yield from ((f"{key}[{index}]", value) for index, value in enumerate(node))


def find_targets(node: Any, key: str = "") -> list[tuple[str, Any]]:
    """Return the key and the ``_target_`` of a node and of all nodes within it, outer ones first."""
    return [(name, value["_target_"]) for name, value in [(key, node), *leaves(node, key)] if _is_node(value)]


def _is_node(value: Any) -> bool:
    return isinstance(value, Mapping) and "_target_" in value
