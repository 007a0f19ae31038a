"""Classes that moved: runs that name them where they lay are found, and are the same runs."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
from omegaconf import OmegaConf

from genlab.runs.identity import config_hash
from genlab.runs.moved import MOVED, at_home
from tests.tiny import composed


@pytest.mark.parametrize("name", MOVED.values())
def test_a_class_lies_where_it_is_said_to_lie(name: str) -> None:
    module, _, own = name.rpartition(".")
    assert getattr(importlib.import_module(module), own).__module__ == module


def with_sizes_in(module: str, node: Any) -> Any:
    """A config from when the sizes of a family's networks lay beside the family."""
    if isinstance(node, dict):
        return {key: with_sizes_in(module, value) for key, value in node.items()}
    return node.replace(f"{module}_networks.", f"{module}.") if isinstance(node, str) else node


@pytest.mark.parametrize("model", ["flow", "gan"])
def test_a_run_from_before_is_the_same_run(model: str) -> None:
    now = OmegaConf.to_container(composed([f"model={model}"]), resolve=True)
    before = with_sizes_in(f"genlab.models.{model}", now)
    assert before != now
    assert at_home(before) == now
    assert config_hash(before) == config_hash(now)
