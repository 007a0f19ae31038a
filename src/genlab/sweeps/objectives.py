"""What a search makes as low or as high as it can, read from a finished job."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genlab.core.errors import GenlabError, nearest
from genlab.runs.folder import RunDir
from genlab.runs.metrics_csv import MetricsCsv

__all__ = ["COSTS", "VALIDATION", "Objective", "parse_objectives", "validation_curve", "values_of"]

VALIDATION: dict[str, bool] = {
    "val/bits_per_dim": False,
    "val/nats": False,
    "val/loss": False,
    "val/fid": False,
    "val/sliced_wasserstein": False,
    "val/class_total_variation": False,
    "val/recall": True,
}
"""Validation metrics, and whether higher is better. The test split chooses nothing."""

COSTS = ("sampling.ms_per_sample", "sampling.nfe")
"""Figures of a result that a second objective may be; lower is better."""


@dataclass(frozen=True)
class Objective:
    """A figure that a search optimizes.

    Attributes:
        name: A validation metric, or the dotted key of a cost in the result.
        maximize: Whether higher is better.
    """

    name: str
    maximize: bool = False

    @property
    def direction(self) -> str:
        """Optuna's word for it."""
        return "maximize" if self.maximize else "minimize"


def parse_objectives(names: Sequence[str] | str | None, monitor: str) -> tuple[Objective, ...]:
    """Return one or two objectives by their names.

    Args:
        names: A validation metric, and as a second another or a cost; None for what chooses the checkpoint.
        monitor: The metric that chooses the checkpoint.

    Raises:
        GenlabError: If there are more than two, or one that is not known.
    """
    wanted = [monitor] if names is None else [names] if isinstance(names, str) else list(names)
    if not 1 <= len(wanted) <= 2 or len(set(wanted)) < len(wanted):
        raise GenlabError(f"hydra.sweeper.objective is {wanted}, expected one objective or two different ones.")
    for place, name in enumerate(wanted):
        known = [*VALIDATION, *(COSTS if place else ())]
        if name not in known:
            hint = nearest(str(name), known) if name not in COSTS else " A cost may be the second objective."
            raise GenlabError(f"hydra.sweeper.objective has '{name}', expected {', '.join(known)}.{hint}")
    return tuple(Objective(name, VALIDATION.get(name, False)) for name in wanted)


def validation_curve(run: RunDir, metric: str) -> list[tuple[int, float]]:
    """Return the examples seen and a validation metric at each validation that measured it."""
    rows = MetricsCsv(run.metrics).rows()
    return [(int(row[MetricsCsv.POSITION]), float(row[metric])) for row in rows if row.get(metric)]


def values_of(result: Mapping[str, Any], objectives: Sequence[Objective], monitor: str) -> list[float]:
    """Return the objectives of a finished run, those of validation at the checkpoint that validation chose.

    Args:
        result: The content of its result file and, as ``run_dir``, the run's folder.
        objectives: What is asked for.
        monitor: The metric that chose the checkpoint; lower is better.

    Raises:
        GenlabError: If one was not measured or is not finite.
    """
    run = RunDir(Path(result["run_dir"]))
    values = [
        _at_best(run, objective.name, monitor) if objective.name in VALIDATION else _cost(result, objective.name)
        for objective in objectives
    ]
    for objective, value in zip(objectives, values, strict=True):
        if not math.isfinite(value):
            raise GenlabError(f"{objective.name} is {value}.")
    return values


def _at_best(run: RunDir, metric: str, monitor: str) -> float:
    rows = [row for row in MetricsCsv(run.metrics).rows() if row.get(metric)]
    if not rows:
        hint = " Give validation_samples=<number>." if metric not in ("val/nats", "val/bits_per_dim") else ""
        raise GenlabError(f"No validation of the run has {metric}, see {run.metrics}.{hint}")
    chosen = [row for row in rows if row.get(monitor) and not math.isnan(float(row[monitor]))]
    # The first of equals, as checkpoints are chosen; without the metric that chooses it is the last.
    return float((min(chosen, key=lambda row: float(row[monitor])) if chosen else rows[-1])[metric])


def _cost(result: Mapping[str, Any], key: str) -> float:
    section, _, name = key.partition(".")
    value = result.get(section, {}).get(name)
    if value is None:
        reason = result.get("missing", {}).get(key, "the result does not have it")
        raise GenlabError(f"{key} is not known: {reason}.")
    return float(value)
