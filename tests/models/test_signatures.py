"""Constructors of the families: few arguments, each by name, declared once, and bound by the configs."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, NotRequired, Unpack, get_args, get_origin, get_type_hints

import pytest

import genlab.models
from genlab.command.config import check_config
from genlab.core.errors import GenlabError
from genlab.models.base import GenerativeModel
from genlab.models.options import ConditionalOptions, TrainingOptions
from tests.tiny import ROOT, composed

MOST_ARGUMENTS = 12
MODELS = sorted(path.stem for path in (ROOT / "conf" / "model").glob("*.yaml"))


def _below(cls: type) -> Iterator[type]:
    for child in cls.__subclasses__():
        if child.__module__.startswith("genlab.models."):
            yield child
        yield from _below(child)


for _module in iter_modules(genlab.models.__path__):
    import_module(f"genlab.models.{_module.name}")
FAMILIES = sorted({*_below(GenerativeModel)}, key=lambda cls: cls.__name__)
"""Every family and what several of them share."""


def _own(cls: type) -> list[inspect.Parameter]:
    """The arguments that a constructor names itself, but for ``self``."""
    found = list(inspect.signature(cls.__init__).parameters.values())[1:]
    return [p for p in found if p.kind is not p.VAR_KEYWORD]


def _group(cls: type) -> type | None:
    """The typed dictionary that a constructor passes on."""
    rest = inspect.getfullargspec(cls.__init__).varkw
    if rest is None:
        return None
    annotation = get_type_hints(cls.__init__, include_extras=True)[rest]
    # PEP 692: what is not unpacked would say that each option is a whole group.
    assert get_origin(annotation) is Unpack
    (group,) = get_args(annotation)
    return group


def _options(cls: type) -> dict[str, Any]:
    """All arguments but the spec, with their types: those that a constructor names and those of its group."""
    hints = get_type_hints(cls.__init__, include_extras=True)
    group = _group(cls)
    own = {p.name: hints[p.name] for p in _own(cls) if p.name != "spec"}
    return own | (_declared(group) if group else {})


def _declared(group: type) -> dict[str, Any]:
    """The options of a typed dictionary; whether one may be missing is not a part of its type."""
    hints = get_type_hints(group, include_extras=True)
    return {name: get_args(hint)[0] if get_origin(hint) is NotRequired else hint for name, hint in hints.items()}


def test_there_are_families() -> None:
    assert {"Diffusion", "Flow", "GMM", "Gan", "HVae", "Made", "Vae"} <= {cls.__name__ for cls in FAMILIES}


@pytest.mark.parametrize("cls", [GenerativeModel, *FAMILIES])
def test_all_arguments_but_the_spec_are_given_by_name(cls: type) -> None:
    spec, *others = _own(cls)
    assert spec.name == "spec"
    assert len(others) <= MOST_ARGUMENTS
    assert [p.name for p in others if p.kind is not p.KEYWORD_ONLY] == []


@pytest.mark.parametrize("cls", FAMILIES)
def test_an_option_is_declared_once(cls: type) -> None:
    """What a family passes on it does not name as well, and its parent takes all of it with the same types."""
    group = _group(cls)
    assert group is not None
    shared = _declared(group)
    assert not {p.name for p in _own(cls)} & set(shared)
    parent = next(base for base in cls.__mro__[1:] if "__init__" in vars(base))
    assert shared.items() <= _options(parent).items()


def test_the_base_takes_the_options_of_every_family() -> None:
    assert _options(GenerativeModel) == get_type_hints(ConditionalOptions, include_extras=True)
    # A family that takes the smaller group is unconditional.
    assert inspect.signature(GenerativeModel).parameters["conditional"].default is False
    assert "conditional" not in get_type_hints(TrainingOptions)


@pytest.mark.parametrize("model", MODELS)
def test_a_config_names_every_argument_and_nothing_else(model: str) -> None:
    config = composed([f"model={model}"])
    check_config(config)
    module, _, name = config.model._target_.rpartition(".")
    options = _options(getattr(import_module(module), name))
    assert {key for key in config.model if not key.startswith("_")} == set(options)
    with pytest.raises(GenlabError, match=r"Unknown key 'model\.learning_rate'"):
        check_config(composed([f"model={model}", "+model.learning_rate=1"]))
