"""The search for W&B's own agents: what they would start is a command that genlab takes."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import yaml

from genlab.command.config import check_config
from tests.tiny import ROOT, composed

SWEEP: dict[str, Any] = yaml.safe_load((ROOT / "conf" / "wandb_sweep.yaml").read_text())


def choices(parameter: dict[str, Any]) -> list[Any]:
    return parameter.get("values") or [parameter["min"], parameter["max"]]


def commands() -> list[list[str]]:
    """The commands of all corners of the search, expanded as an agent does."""
    # Takes seconds, of each process that collects tests.
    from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

    names = list(SWEEP["parameters"])
    expanded = []
    for corner in product(*map(choices, SWEEP["parameters"].values())):
        arguments = {name: {"value": value} for name, value in zip(names, corner, strict=True)}
        known = create_sweep_command_args({"args": arguments})
        known |= {"env": ["/usr/bin/env"], "interpreter": ["python"], "program": [SWEEP["program"]]}
        parts = create_sweep_command(list(SWEEP["command"]))
        expanded.append([word for part in parts for word in (known[part[2:-1]] if part.startswith("${") else [part])])
    return expanded


def test_an_agent_starts_train_with_settings_that_fit() -> None:
    expanded = commands()
    for command in (expanded[0], expanded[len(expanded) // 2], expanded[-1]):
        assert command[:3] == ["/usr/bin/env", "python", "train.py"]
        config = composed(command[3:])
        assert check_config(config).evaluation.make().split == "validation", "many runs are chosen from"
        assert config.logger._target_.endswith("WandbDashboard")


@pytest.mark.parametrize("name", SWEEP["parameters"])
def test_every_parameter_changes_the_config(name: str) -> None:
    default, *_ = commands()
    (mine,) = [argument for argument in default if argument.startswith(f"{name}=")]
    others = {command[command.index(a)] for command in commands() for a in command if a.startswith(f"{name}=")}
    assert others - {mine}


def test_runs_are_ended_early_by_validations_that_there_are() -> None:
    validations = composed([]).budget.validations
    assert SWEEP["early_terminate"]["min_iter"] < validations
    assert SWEEP["metric"]["name"] == "val/bits_per_dim"
