"""What a training left, and whether it is what another left."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import torch

from genlab.runs.checkpoints import load_checkpoint
from tests.tiny import run_folder


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def weights(logs: Path, name: str = "last.ckpt") -> dict[str, Any]:
    checkpoint = load_checkpoint(run_folder(logs) / "checkpoints" / name)
    return {key: checkpoint[key] for key in ("state_dict", "current_model_state", "optimizer_states")}


def logged(logs: Path) -> list[dict[str, str]]:
    """The rows of ``metrics.csv`` without what the clock says."""
    rows = list(csv.DictReader((run_folder(logs) / "metrics.csv").open()))
    return [{name: value for name, value in row.items() if name != "train/examples_per_second"} for row in rows]
