"""The config, checked before anything heavy starts, and the one way from its nodes to objects."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Unpack, get_args, get_origin, get_type_hints, is_typeddict

import hydra.utils
from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from genlab.command.schemas import TrainConfig
from genlab.command.values import describe, fits, fits_target, hint
from genlab.core.errors import GenlabError, nearest

__all__ = [
    "CLASSES",
    "FUNCTIONS",
    "SUPPLIED",
    "check_config",
    "instantiate",
    "locate",
]

CLASSES = (
    "genlab.*",
    "torch.optim.*",
    "pytorch_lightning.Trainer",
    "pytorch_lightning.loggers.*",
    "pytorch_lightning.profilers.*",
    "pytorch_lightning.strategies.*",
)
"""Classes that a config may name as ``_target_``."""

FUNCTIONS = ("genlab.loggers.dashboards.no_dashboard",)
"""Functions that a config may name. A function acts when it is called, a class only makes an object; so these are few:
among all of genlab's functions are some that write files."""

SUPPLIED: dict[str, dict[str, str]] = {
    "logger": dict.fromkeys(("run_dir", "run_id", "config", "code_version"), "the run"),
    "model": {"spec": "the data"},
    "model.optimizer": {"params": "the model", "lr": "model.lr"},
    "trainer": {
        "accumulate_grad_batches": "data.batch_size",
        "callbacks": "the program",
        "check_val_every_n_epoch": "budget.validations",
        "default_root_dir": "paths.logs",
        "enable_checkpointing": "checkpoint_minutes",
        "enable_model_summary": "the program",
        "enable_progress_bar": "the program",
        "fast_dev_run": "trainer=debug",
        "limit_train_batches": "budget.examples",
        "limit_val_batches": "data.validation_examples",
        "overfit_batches": "budget.examples",
        "gradient_clip_val": "model.grad_clip",
        "log_every_n_steps": "log_every",
        "logger": "the logger group",
        "max_epochs": "budget.examples",
        "max_steps": "budget.examples",
        "max_time": "budget.minutes",
        "num_sanity_val_steps": "the program",
        "plugins": "the program",
        "use_distributed_sampler": "the program",
        "val_check_interval": "budget.validations",
    },
}
"""Arguments that the program gives when it calls a node's target, and where it takes them from, by the node's key."""

_ALSO: dict[str, tuple[Any, ...]] = {"trainer.precision": ("auto",)}
# Values that the program replaces before the target sees them.

_SPECIAL = {"_target_", "_partial_", "_convert_", "_recursive_"}
_REFERENCE = re.compile(r"\$\{([\w.]+)\}")


class _Problem(NamedTuple):
    key: str
    text: str


def check_config(config: DictConfig, schema: type = TrainConfig) -> None:
    """Bind every node of a config to what it configures, and name everything that does not fit.

    Each ``_target_`` node is bound to the signature of its target, partials too, and the other keys to a dataclass:
    unknown and missing keys, wrong types and values outside the range that ``annotated_types`` in the annotations set.

    Args:
        config: The composed config.
        schema: Dataclass whose fields are the config's keys.

    Raises:
        GenlabError: With one line for each problem.
    """
    try:
        plain = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise GenlabError(f"{error.full_key}: {str(error.msg).splitlines()[0]}") from error
    problems = list(_check_arguments(schema, plain, ""))
    written = dict(_leaves(OmegaConf.to_container(config, resolve=False)))
    named = {problem.key for problem in problems}
    # A value that merely repeats another key's is the other key's problem.
    lines = [p.text for p in problems if not (m := _REFERENCE.fullmatch(str(written.get(p.key)))) or m[1] not in named]
    if len(lines) > 1:
        lines.insert(0, f"{len(lines)} things in the config do not fit:")
    if lines:
        raise GenlabError("\n".join(lines))


def _leaves(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in _children(node, key):
        yield name, value
        yield from _leaves(value, name)


def _children(node: Any, key: str) -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping):
        yield from ((_join(key, name), value) for name, value in node.items())
    elif isinstance(node, list | tuple):
        yield from ((f"{key}[{index}]", value) for index, value in enumerate(node))


def _join(key: str, name: Any) -> str:
    return f"{key}.{name}" if key else str(name)


def _check_value(value: Any, annotation: Any, key: str) -> Iterator[_Problem]:
    if value == "???":
        yield _Problem(key, f"{key} is missing, expected {describe(annotation)}: give {key}=...")
    elif isinstance(value, Mapping) and "_target_" in value:
        yield from _check_node(value, annotation, key)
    elif dataclasses.is_dataclass(annotation) and isinstance(value, Mapping):
        yield from _check_arguments(annotation, value, key)
    elif not fits(value, annotation) and value not in _ALSO.get(key, ()):
        yield _Problem(key, f"{key} is {_show(value)}, expected {describe(annotation)}.{hint(value, annotation)}")
    else:
        for name, child in _children(value, key):
            yield from _check_value(child, Any, name)


def _show(value: Any) -> str:
    text = {None: "null", True: "true", False: "false"}.get(value) if isinstance(value, bool | None) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _check_node(node: Mapping[str, Any], annotation: Any, key: str) -> Iterator[_Problem]:
    try:
        target = locate(node["_target_"], key)
    except GenlabError as error:
        yield _Problem(_join(key, "_target_"), str(error))
        return
    partial = node.get("_partial_", False)
    if not fits(node, annotation) or (not partial and not fits_target(target, annotation)):
        yield _Problem(key, f"{key} makes {target.__name__}, expected {describe(annotation)}.")
        return
    yield from _check_arguments(target, node, key)


def _check_arguments(target: Callable[..., Any], node: Mapping[str, Any], key: str) -> Iterator[_Problem]:
    parameters, open_ended = _parameters(target)
    supplied = SUPPLIED.get(key, {})
    sound = True
    for name, value in node.items():
        if name in _SPECIAL and "_target_" in node:
            continue
        problems = list(_check_argument(name, value, _join(key, name), parameters, open_ended, supplied))
        sound = sound and not problems
        yield from problems
    missing = [name for name, p in parameters.items() if p.default is p.empty and name not in {*node, *supplied}]
    if not node.get("_partial_", False):
        for name in missing:
            expected = describe(parameters[name].annotation)
            yield _Problem(_join(key, name), f"{_join(key, name)} is missing, expected {expected}.")
    if sound and not missing and "_target_" not in node and dataclasses.is_dataclass(target):
        try:
            target(**node)
        except ValueError as error:
            yield _Problem(key, str(error))


def _check_argument(
    name: str,
    value: Any,
    key: str,
    parameters: Mapping[str, inspect.Parameter],
    open_ended: bool,
    supplied: Mapping[str, str],
) -> Iterator[_Problem]:
    if name in supplied:
        yield _Problem(key, f"{key} is set from {supplied[name]}; remove it.")
    elif name in parameters:
        yield from _check_value(value, parameters[name].annotation, key)
    elif open_ended:
        yield from _check_value(value, Any, key)
    else:
        folder = key.removesuffix(name)
        usable = [folder + other for other in parameters if other not in supplied]
        yield _Problem(key, f"Unknown key '{key}'.{nearest(key, usable)}")


def _parameters(target: Callable[..., Any]) -> tuple[dict[str, inspect.Parameter], bool]:
    """Return the arguments that can be named, with their annotations looked up, and whether any others are taken.

    A group of options, ``**shared: Unpack[Options]``, counts as its keys; PEP 692.
    """
    function = target.__init__ if isinstance(target, type) else target
    found = list(inspect.signature(function).parameters.values())[isinstance(target, type) :]
    scope = getattr(inspect.unwrap(function), "__globals__", {})
    named = [p for p in found if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    parameters = {p.name: p.replace(annotation=_look_up(p.annotation, scope)) for p in named}
    rest = next((p for p in found if p.kind is p.VAR_KEYWORD), None)
    group = _unpacked(rest, scope) if rest is not None else None
    if group is None:
        return parameters, rest is not None
    options = get_type_hints(group, include_extras=True).items()
    keys = {name: inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=kind) for name, kind in options}
    return parameters | keys, False


def _unpacked(rest: inspect.Parameter, scope: dict[str, Any]) -> type | None:
    """Return the typed dictionary whose keys ``**rest`` takes; None where it takes any."""
    annotation = _look_up(rest.annotation, scope)
    if get_origin(annotation) is not Unpack:
        return None
    (group,) = get_args(annotation)
    return group if is_typeddict(group) else None


def _look_up(annotation: Any, scope: dict[str, Any]) -> Any:
    if annotation is inspect.Parameter.empty:
        return Any
    holder = type("Holder", (), {"__annotations__": {"it": annotation}})
    try:
        return get_type_hints(holder, globalns=scope, include_extras=True)["it"]
    except NameError:  # imported for type checkers only: nothing can be said of the value
        return Any


def locate(name: Any, key: str = "") -> Callable[..., Any]:
    """Return the class or function that a config names as ``_target_``.

    What may not be named is not imported either. The object is judged by where it is defined, so that nothing foreign
    is reached through a module of genlab that happens to import it.

    Args:
        name: Dotted path, in `CLASSES` or `FUNCTIONS`.
        key: Key of the node, for the message.

    Raises:
        GenlabError: If it is not allowed, or does not exist.
    """
    where = _join(key, "_target_")
    if not isinstance(name, str) or not _matches(name, (*CLASSES, *FUNCTIONS)):
        raise _refused(name, where)
    found = _import(name, where)
    patterns = CLASSES if isinstance(found, type) else FUNCTIONS if inspect.isfunction(found) else ()
    home = f"{getattr(found, '__module__', '')}.{getattr(found, '__qualname__', '')}"
    # An entry without a wildcard names a re-exported class on purpose.
    if name not in patterns and not _matches(home, patterns):
        raise _refused(name, where)
    return found


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(name == p or (p.endswith(".*") and name.startswith(p[:-1])) for p in patterns)


def _refused(name: Any, where: str) -> GenlabError:
    return GenlabError(
        f"{where} is {name!r}, which a config may not call. Expected a class in {', '.join(CLASSES)}, "
        f"or a function in {', '.join(FUNCTIONS)}."
    )


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
            if error.name != path:  # it is there, but something that it needs is not
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
        GenlabError: If any node names a target outside `CLASSES` and `FUNCTIONS`; nothing is called then.
    """
    plain = OmegaConf.to_container(config, resolve=True) if OmegaConf.is_config(config) else config
    for key, value in [("", plain), *_leaves(plain)]:
        if isinstance(value, Mapping) and "_target_" in value:
            locate(value["_target_"], key)
    try:
        # Only what the config holds goes through Hydra, which would take apart the containers among our arguments.
        make = hydra.utils.instantiate(config, _partial_=True, _execution_whitelist_=(*CLASSES, *FUNCTIONS))
    except InstantiationException as error:
        raise GenlabError(str(error).splitlines()[0]) from error
    return functools.partial(make, *args, **kwargs) if plain.get("_partial_", False) else make(*args, **kwargs)
