"""What a command line can set, frozen in ``surface.txt``: options come, go and change their defaults on purpose.

Families and data sets, with recipes and searches of them, are additions that stand in no such list: their keys are the
arguments of their classes; see test_conf.py.

After such a change: ``python tests/command/test_surface.py``, and commit the file with the change.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from genlab.command.entry import config_folder

ADDITIONS = ("model", "data", "experiment", "search")
SURFACE = Path(__file__).with_name("surface.txt")
COMMANDS = {
    "train": "config",
    "evaluate": "evaluate",
    "evaluate samples=...": "evaluate_samples",
    "sample": "sample",
    "reconstruct": "reconstruct",
    "interpolate": "interpolate",
    "traverse": "traverse",
    "detect": "detect",
    "anomalies": "anomalies",
    "inpaint": "inpaint",
    "augment": "augment",
    "export": "export",
    "compare": "compare",
    "dashboard": "dashboard",
    "explore": "explore",
}


def leaves(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(node, dict) or not node:
        yield key, node
        return
    for name, value in node.items():
        yield from leaves(value, f"{key}.{name}" if key else str(name))


def settings(config_name: str, *overrides: str) -> dict[str, str]:
    with initialize_config_dir(str(config_folder(config_name))):
        config = OmegaConf.to_container(compose(config_name, list(overrides)), resolve=False)
    platform = [
        (key, value) for key, value in leaves(config) if key.partition(".")[0] not in ADDITIONS or "." not in key
    ]
    return {key: f"{key} = {'null' if value is None else value}" for key, value in platform}


def groups(config_name: str) -> dict[str, str | None]:
    """The groups of a command and the option that each takes by default."""
    with initialize_config_dir(str(config_folder(config_name))):
        choices = compose(config_name, return_hydra_config=True).hydra.runtime.choices
    return {group: choice for group, choice in sorted(choices.items()) if not group.startswith("hydra/")}


def describe() -> str:
    """Every command with its keys and defaults, then what each option of a group changes of them."""
    lines: list[str] = []
    for command, config_name in COMMANDS.items():
        usual = settings(config_name)
        lines += [f"# {command}", *usual.values(), ""]
        for group, default in groups(config_name).items():
            if group in ADDITIONS:
                lines += [f"# {command} {group}={default or 'null'} (the default)", ""]
                continue
            for file in sorted((config_folder() / group).glob("*.yaml")):
                title = f"# {command} {group}={file.stem}"
                if file.stem == default:
                    lines += [f"{title} (the default)", ""]
                    continue
                now = settings(config_name, f"{group}={file.stem}")
                gone = [f"- {key}" for key in usual if key not in now]
                lines += [title, *gone, *(f"+ {line}" for key, line in now.items() if usual.get(key) != line), ""]
    sweeper = yaml.safe_load((config_folder() / "hydra" / "sweeper" / "optuna.yaml").read_text())
    lines += ["# train hydra/sweeper=optuna"]
    lines += [f"hydra.sweeper.{key} = {'null' if value is None else value}" for key, value in sweeper.items()]
    return "\n".join([*lines, ""])


def test_the_surface_is_the_one_that_was_agreed() -> None:
    assert describe() == SURFACE.read_text(), (
        "The command line's surface changed. If that was meant: python tests/command/test_surface.py"
    )


if __name__ == "__main__":
    SURFACE.write_text(describe())
