"""The house: every room imports only what lies below it, and what must start at once imports nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "genlab"

ROOMS = [
    "core", "processes", "runs", "modalities", "data", "networks", "models", "measure", "loggers", "training",
    "sweeps", "comparison", "uses", "command",
]  # fmt: skip
"""All rooms, from the ground up: a room may import itself and those before it."""

STRANGERS = {"sweeps": {"loggers", "training", "models", "networks", "data"}, "comparison": {"loggers", "sweeps"}}
"""Rooms below that a room has no business with: many runs, and results, are not one run's training."""

WITHOUT = {
    "core/spec.py": {"torch", "pytorch_lightning"},
    "core/errors.py": {"torch", "pytorch_lightning"},
    "core/pareto.py": {"torch", "numpy", "pytorch_lightning"},
    "core/schedules.py": {"torch", "pytorch_lightning"},
    "core/plugins.py": {"torch", "pytorch_lightning"},
    "networks": {"pytorch_lightning"},
    "processes": {"torch", "pytorch_lightning"},
    "sweeps": {"torch", "numpy", "pytorch_lightning"},
    "comparison": {"torch", "numpy", "pytorch_lightning"},
    "measure/metrics": {"pytorch_lightning"},
    "measure/protocol.py": {"torch", "pytorch_lightning"},
    "measure/results.py": {"torch", "pytorch_lightning"},
    "runs/folder.py": {"torch", "pytorch_lightning"},
    "training/settings.py": {"torch", "pytorch_lightning"},
}
"""Packages that files do without, so that they start at once or are of use elsewhere."""


def imported(file: Path) -> set[str]:
    """Modules that a file imports anywhere; under TYPE_CHECKING too, since a room that names another knows it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def test_every_folder_is_a_room_and_few_modules_lie_beside_them() -> None:
    folders = {path.name for path in SOURCE.iterdir() if path.is_dir() and list(path.glob("*.py"))}
    assert folders <= set(ROOMS)
    assert len(list(SOURCE.glob("*.py"))) <= 3


@pytest.mark.parametrize("room", ROOMS)
def test_arrows_point_down(room: str) -> None:
    forbidden = {*ROOMS[ROOMS.index(room) + 1 :], *STRANGERS.get(room, set())}
    for file in (SOURCE / room).rglob("*.py"):
        known = {name.split(".")[1] for name in imported(file) if name.startswith("genlab.")}
        assert not known & forbidden, f"{file.relative_to(SOURCE)} imports {sorted(known & forbidden)}"


@pytest.mark.parametrize("room", [room for room in ROOMS if room not in ("command", "uses")])
def test_hydra_has_one_door(room: str) -> None:
    for file in (SOURCE / room).rglob("*.py"):
        assert not {name.split(".")[0] for name in imported(file)} & {"hydra", "omegaconf"}, file


@pytest.mark.parametrize("place", WITHOUT)
def test_what_is_light_stays_light(place: str) -> None:
    path = SOURCE / place
    files = [path] if path.is_file() else list(path.rglob("*.py"))
    assert files
    for file in files:
        assert not {name.split(".")[0] for name in imported(file)} & WITHOUT[place], file


def test_no_code_asks_for_a_family_by_name() -> None:
    for file in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Compare):
                assert "family" not in ast.dump(node.left), f"{file}:{node.lineno}"


AT_ONCE = [
    "genlab",
    "genlab.runs.folder",
    "genlab.runs.finding",
    "genlab.measure.results",
    "genlab.comparison.report",
    "genlab.command.cli",
    "hydra_plugins.genlab_process_launcher.launcher",
    "hydra_plugins.genlab_optuna_sweeper",
    "genlab.sweeps.process_pool",
]


def test_what_starts_at_once_imports_no_torch() -> None:
    """In one process: who imports it first is named."""
    code = f"""
import importlib, sys
for module in {AT_ONCE}:
    importlib.import_module(module)
    print(module, *{{"torch", "pytorch_lightning", "wandb"}} & set(sys.modules))
"""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines() == AT_ONCE
