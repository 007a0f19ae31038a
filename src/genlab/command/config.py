"""The config, checked before anything heavy starts: every node against the signature of what it configures."""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, TypeVar, get_origin

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from genlab.command.exported import check_parts, without_folders
from genlab.command.schemas import Config, ExportedConfig, ModelNode, TrainConfig, TrainedConfig
from genlab.command.signatures import Parameter, read_signature
from genlab.command.targets import Node, children, is_reference, leaves, locate
from genlab.command.values import describe, fits, fits_target, hint
from genlab.core.errors import GenlabError, nearest, two_lines
from genlab.runs.folder import RunDir, read_config

__all__ = ["SUPPLIED", "check_config", "read_trained", "with_model_settings"]

C = TypeVar("C", bound=Config)
T = TypeVar("T", bound=TrainedConfig)

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
        "gradient_clip_algorithm": "model.grad_clip",
        "gradient_clip_val": "model.grad_clip",
        "log_every_n_steps": "log_every",
        "logger": "the logger group",
        "max_epochs": "budget.examples",
        "max_steps": "budget.examples",
        "max_time": "budget.minutes",
        "min_epochs": "budget.examples",
        "min_steps": "budget.examples",
        "num_sanity_val_steps": "the program",
        "plugins": "the program",
        "use_distributed_sampler": "the program",
        "val_check_interval": "budget.validations",
    },
}
"""Arguments that the program gives when it calls a node's target, and where it takes them from, by the node's key."""

_ALSO: dict[str, tuple[Any, ...]] = {"trainer.precision": ("auto",)}
# Values that the program replaces before the target sees them.

_SPECIAL: dict[str, Any] = {
    "_target_": str,
    "_partial_": bool,
    "_convert_": Literal["none", "partial", "object", "all"],
    "_recursive_": bool,
}
# Keys of a node that are Hydra's, and what fits them.
_REFERENCE = re.compile(r"\$\{([\w.]+)\}")


class _Problem(NamedTuple):
    key: str
    text: str


def check_config(config: DictConfig, schema: type[C] = TrainConfig) -> C:
    """Check a composed config and return it typed; nothing that it describes is made.

    Each ``_target_`` node is bound to the signature of its target, partials too, and the other keys to the fields of a
    dataclass: unknown and missing keys, wrong types and values outside the range that ``annotated_types`` in the
    annotations set are problems. A node for a field that is annotated by a subclass of `Node` also needs the settings
    that are the subclass's own fields, and a target that makes what the subclass says.

    Args:
        config: The composed config.
        schema: Dataclass whose fields are the config's keys.

    Raises:
        GenlabError: With one line for each of the first two problems, and how many more there are.
    """
    try:
        plain = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise GenlabError(f"{error.full_key}: {str(error.msg).splitlines()[0]}") from error
    check = _Check()
    typed = check.group(schema, plain, "")
    written = dict(leaves(OmegaConf.to_container(config, resolve=False)))
    named = {problem.key for problem in check.problems}
    # A value that merely repeats another key's is the other key's problem.
    repeats = {key: m[1] for key, value in written.items() if (m := _REFERENCE.fullmatch(str(value)))}
    if lines := [problem.text for problem in check.problems if repeats.get(problem.key) not in named]:
        raise GenlabError(two_lines(lines))
    return typed


def read_trained(run: RunDir) -> TrainedConfig:
    """Read the config with which a run was trained, typed as far as its model, its data and its seed.

    What else the file says held for the training alone.

    Raises:
        GenlabError: If the file is damaged, this version of the code cannot build what it describes, or it is of an
            export and would open files that are not the export's.
    """
    plain, check = read_config(run), _Check()
    if run.spec is not None:
        plain = without_folders(plain)
    keys = [field.name for field in dataclasses.fields(TrainedConfig)]
    typed = check.group(TrainedConfig, {key: value for key, value in plain.items() if key in keys}, "")
    if check.problems:
        more = f" (and {len(check.problems) - 1} more)" if len(check.problems) > 1 else ""
        raise GenlabError(f"{run.config} describes what this version cannot build:\n{check.problems[0].text}{more}")
    if run.spec is not None:
        check_parts(typed, run.config)
        return ExportedConfig(model=typed.model, data=typed.data, seed=typed.seed, plain=plain, spec=run.spec)
    return dataclasses.replace(typed, plain=plain)


def with_model_settings(config: T, changes: Mapping[str, Any]) -> T:
    """Return the config of a run with other settings of its model.

    Args:
        config: Checked.
        changes: Values by dotted key below ``model``.

    Raises:
        GenlabError: If one is no value of such a setting.
    """
    model = copy.deepcopy(dict(config.plain["model"]))
    for key, value in changes.items():
        *groups, name = key.split(".")
        node: Any = model
        for group in groups:
            node = node.get(group) if isinstance(node, dict) else None
        if not isinstance(node, dict):
            raise GenlabError(f"The run's config has no model.{'.'.join(groups)}, in which {name} would stand.")
        node[name] = value
    check = _Check()
    typed = check.value(model, ModelNode, "model")
    if check.problems:
        raise GenlabError(two_lines([problem.text for problem in check.problems]))
    return dataclasses.replace(config, model=typed, plain={**config.plain, "model": model})


def _join(key: str, name: Any) -> str:
    return f"{key}.{name}" if key else str(name)


class _Check:
    """One pass over a config, which returns it typed and collects what does not fit.

    Where there is a problem the typed value is of no use, and None for the most part.
    """

    def __init__(self) -> None:
        self.problems: list[_Problem] = []

    def value(self, value: Any, annotation: Any, key: str) -> Any:
        if value == "???":
            self._add(key, f"{key} is missing, expected {describe(annotation)}: give {key}=...")
        elif is_reference(value):
            self._add(key, f"{key} is {_show(value)}, a reference that is not resolved. Write the value itself.")
        elif isinstance(value, Mapping) and "_target_" in value:
            return self.node(value, annotation, key)
        elif dataclasses.is_dataclass(annotation) and isinstance(value, Mapping) and not _node_type(annotation):
            return self.group(annotation, value, key)
        elif not fits(value, annotation) and value not in _ALSO.get(key, ()):
            self._add(key, f"{key} is {_show(value)}, expected {describe(annotation)}.{hint(value, annotation)}")
        else:
            for name, child in children(value, key):
                self.value(child, Any, name)
        return value

    def node(self, node: Mapping[str, Any], annotation: Any, key: str) -> Node | None:
        """Check a node and return it as what the annotation names, a subclass of `Node` or `Node` itself."""
        kind = _node_type(annotation)
        try:
            target = locate(node["_target_"], key)
            wanted = annotation if kind is None else locate(kind.makes) if kind.makes else Any
        except GenlabError as error:
            return self._add(_join(key, "_target_"), str(error))
        if wrong := [name for name in _SPECIAL if name in node and not fits(node[name], _SPECIAL[name])]:
            where = _join(key, wrong[0])
            return self._add(where, f"{where} is {_show(node[wrong[0]])}, expected {describe(_SPECIAL[wrong[0]])}.")
        partial = node.get("_partial_", False)
        if partial and kind is not None:
            return self._add(_join(key, "_partial_"), f"{_join(key, '_partial_')} is true: leave it out here.")
        if not fits(node, wanted) or (not partial and not fits_target(target, wanted)):
            return self._add(key, f"{key} makes {target.__name__}, expected {describe(wanted)}.")
        known = len(self.problems)
        own = read_signature(kind or Node).parameters
        self.arguments(target, node, key, {name: own[name] for name in (kind or Node).for_the_program})
        settings = self._settings(kind or Node, node, key)
        if len(self.problems) > known:
            return None
        try:
            return (kind or Node)(target=target, plain=node, **settings)
        except ValueError as error:
            return self._add(key, str(error))

    def _settings(self, kind: type[Node], node: Mapping[str, Any], key: str) -> dict[str, Any]:
        """Return the settings of a node that the program itself reads."""
        settings, named = {}, {problem.key for problem in self.problems}
        for name, parameter in read_signature(kind).parameters.items():
            where = _join(key, name)
            if name in Node.__dataclass_fields__ or where in named:
                continue
            if name in node:
                settings[name] = self.value(node[name], parameter.annotation, where)
            elif parameter.required:
                self._add(where, f"{where} is missing, expected {describe(parameter.annotation)}.")
        return settings

    def group(self, schema: type, node: Mapping[str, Any], key: str) -> Any:
        """Check keys that are the fields of a dataclass, and return it."""
        known = len(self.problems)
        typed = self.arguments(schema, node, key)
        if len(self.problems) > known:
            return None
        try:
            return schema(**typed, **({"plain": node} if issubclass(schema, Config) else {}))
        except ValueError as error:
            return self._add(key, str(error))

    def arguments(
        self, target: Callable[..., Any], node: Mapping[str, Any], key: str, more: Mapping[str, Parameter] | None = None
    ) -> dict[str, Any]:
        """Check keys that are the arguments of what is called with them, or more, and return the typed values."""
        parameters, open_ended = read_signature(target)
        parameters = {**parameters, **(more or {})}
        if isinstance(target, type) and issubclass(target, Config):
            parameters = {name: parameter for name, parameter in parameters.items() if name != "plain"}
        supplied = SUPPLIED.get(key, {})
        special = _SPECIAL if "_target_" in node else ()
        for name in _bare(node, parameters):
            where = _join(key, name)
            self._add(where, f"{where} has no _target_, expected {describe(parameters[name].annotation)}.")
        typed = {
            name: self._argument(name, value, _join(key, name), parameters, open_ended, supplied)
            for name, value in node.items()
            if name not in special
        }
        if not node.get("_partial_", False):
            for name, parameter in parameters.items():
                if parameter.required and name not in {*node, *supplied}:
                    where = _join(key, name)
                    self._add(where, f"{where} is missing, expected {describe(parameter.annotation)}.")
        return typed

    def _argument(
        self,
        name: str,
        value: Any,
        key: str,
        parameters: Mapping[str, Parameter],
        open_ended: bool,
        supplied: Mapping[str, str],
    ) -> Any:
        if name in supplied:
            return self._add(key, f"{key} is set from {supplied[name]}; remove it.")
        if name in parameters:
            return self.value(value, parameters[name].annotation, key)
        if open_ended:
            return self.value(value, Any, key)
        folder = key.removesuffix(name)
        usable = [folder + other for other in parameters if other not in supplied]
        return self._add(key, f"Unknown key '{key}'.{nearest(key, usable)}")

    def _add(self, key: str, text: str) -> None:
        self.problems.append(_Problem(key, text))


def _bare(node: Mapping[str, Any], parameters: Mapping[str, Parameter]) -> list[str]:
    """Return which arguments of a node are plain mappings where its target expects an object of a dataclass."""
    if "_target_" not in node:
        return []
    made = [name for name, parameter in parameters.items() if dataclasses.is_dataclass(parameter.annotation)]
    return [name for name in made if isinstance(node.get(name), Mapping) and "_target_" not in node[name]]


def _node_type(annotation: Any) -> type[Node] | None:
    kind = get_origin(annotation) or annotation
    return kind if isinstance(kind, type) and issubclass(kind, Node) else None


def _show(value: Any) -> str:
    text = {None: "null", True: "true", False: "false"}.get(value) if isinstance(value, bool | None) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
