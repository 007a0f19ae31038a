"""Who may import whom: the layers look down only, and what must start at once imports nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "genlab"

FORBIDDEN = {
    "spec.py": ["genlab", "torch", "pytorch_lightning", "hydra", "omegaconf"],
    "errors.py": ["genlab", "torch", "pytorch_lightning", "hydra", "omegaconf"],
    "interrupts.py": ["torch", "pytorch_lightning", "hydra", "omegaconf"],
    "likelihood.py": ["genlab", "pytorch_lightning", "hydra", "omegaconf"],
    "schedules.py": ["genlab", "torch", "pytorch_lightning", "hydra", "omegaconf"],
    "networks": [
        "genlab.models", "genlab.data", "genlab.metrics", "genlab.evaluation", "genlab.callbacks", "genlab.tasks",
        "genlab.runs", "pytorch_lightning", "hydra", "omegaconf",
    ],
    "models": [
        "genlab.callbacks", "genlab.tasks", "genlab.evaluation", "genlab.runs", "genlab.loggers", "hydra", "omegaconf",
    ],
    "data": [
        "genlab.models", "genlab.networks", "genlab.likelihood", "genlab.metrics", "genlab.evaluation",
        "genlab.callbacks", "genlab.tasks", "genlab.runs", "hydra", "omegaconf",
    ],
    "metrics": ["genlab.models", "genlab.data", "genlab.networks", "genlab.tasks", "pytorch_lightning", "hydra"],
    "evaluation.py": ["genlab.models", "genlab.callbacks", "genlab.tasks", "pytorch_lightning", "hydra", "omegaconf"],
    "callbacks": ["genlab.tasks", "genlab.evaluation", "hydra", "omegaconf"],
    "loggers": ["genlab.models", "genlab.tasks", "genlab.evaluation", "hydra", "omegaconf"],
    "comparison": [
        "genlab.models", "genlab.data", "genlab.networks", "genlab.metrics", "genlab.evaluation", "genlab.callbacks",
        "genlab.loggers", "genlab.tasks", "torch", "numpy", "pytorch_lightning", "hydra", "omegaconf",
    ],
    "sweeps": [
        "genlab.models", "genlab.data", "genlab.networks", "genlab.metrics", "genlab.evaluation", "genlab.callbacks",
        "genlab.tasks", "torch", "numpy", "pytorch_lightning", "hydra", "omegaconf",
    ],
    "ranks.py": ["genlab", "torch", "pytorch_lightning", "hydra", "omegaconf"],
    "protocol.py": ["genlab.models", "genlab.tasks", "torch", "pytorch_lightning", "hydra", "omegaconf"],
    "runs.py": ["genlab.models", "genlab.tasks", "torch", "pytorch_lightning", "hydra", "omegaconf"],
    "results.py": ["genlab.models", "genlab.tasks", "torch", "pytorch_lightning", "hydra", "omegaconf"],
}  # fmt: skip


def files(place: str) -> list[Path]:
    path = SOURCE / place
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


def imported(file: Path) -> set[str]:
    """Modules that a file imports anywhere; under TYPE_CHECKING too, since a layer that names another knows it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


@pytest.mark.parametrize("place", FORBIDDEN)
def test_a_layer_imports_only_what_lies_below(place: str) -> None:
    assert files(place)
    allowed = {"genlab.errors", "genlab.errors.GenlabError"} if place in ("likelihood.py",) else set()
    for file in files(place):
        bad = {
            name
            for name in imported(file) - allowed
            for layer in FORBIDDEN[place]
            if name == layer or name.startswith(f"{layer}.")
        }
        assert not bad, f"{file.relative_to(SOURCE)} imports {sorted(bad)}"


def test_only_tasks_and_the_package_itself_import_tasks() -> None:
    for file in SOURCE.rglob("*.py"):
        if file.parent.name == "tasks" or file.name in ("cli.py",) or file == SOURCE / "__init__.py":
            continue
        assert not any(name.startswith("genlab.tasks") for name in imported(file)), file


def test_no_code_asks_for_a_family_by_name() -> None:
    for file in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Compare):
                assert "family" not in ast.dump(node.left), f"{file}:{node.lineno}"


@pytest.mark.parametrize(
    "module",
    [
        "genlab",
        "genlab.runs",
        "genlab.results",
        "genlab.comparison.report",
        "genlab.cli",
        "hydra_plugins.genlab_process_launcher.launcher",
        "hydra_plugins.genlab_optuna_sweeper",
        "genlab.sweeps.processes",
    ],
)
def test_what_starts_at_once_imports_no_torch(module: str) -> None:
    code = f"import {module}, sys; print(*{{'torch', 'pytorch_lightning', 'wandb'}} & set(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == []
