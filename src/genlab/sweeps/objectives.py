"""What a search makes as low or as high as it can, read from a finished job."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from genlab.core.errors import GenlabError, nearest
from genlab.measure.figures import Figure, known_figure, of_section, validated
from genlab.measure.finished_run import FinishedRun
from genlab.runs.folder import RunDir
from genlab.runs.metrics_csv import MetricsCsv

if TYPE_CHECKING:
    from genlab.measure.result import Result

__all__ = [
    "Objective",
    "costs",
    "objectives_text",
    "parse_objectives",
    "validation_curve",
    "validation_metrics",
    "values_of",
]

_LOSS = "val/loss"
"""What every family minimizes in training, each its own; no figure, but a family may be tuned by it."""


def validation_metrics() -> dict[str, bool]:
    """Return the metrics of validation, and whether higher is better. The test split chooses nothing."""
    return {**{f"val/{figure.key}": figure.better == "higher" for figure in validated()}, _LOSS: False}


def costs() -> dict[str, Figure]:
    """Return the figures of a result that a second objective may be, by dotted key; lower is better."""
    return {f"sampling.{figure.key}": figure for figure in of_section("sampling") if figure.better == "lower"}


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
    metrics = validation_metrics()
    for place, name in enumerate(wanted):
        known = [*metrics, *(costs() if place else ())]
        if name not in known:
            hint = nearest(str(name), known) if name not in costs() else " A cost may be the second objective."
            raise GenlabError(f"hydra.sweeper.objective has '{name}', expected {', '.join(known)}.{hint}")
    return tuple(Objective(name, metrics.get(name, False)) for name in wanted)


def validation_curve(run: RunDir, metric: str) -> list[tuple[int, float]]:
    """Return the examples seen and a validation metric at each validation that measured it."""
    rows = MetricsCsv(run.metrics).rows()
    return [(int(row[MetricsCsv.POSITION]), float(row[metric])) for row in rows if row.get(metric)]


def values_of(finished: FinishedRun, objectives: Sequence[Objective], monitor: str) -> list[float]:
    """Return the objectives of a finished run, those of validation at the checkpoint that validation chose.

    Args:
        finished: Its folder and its result.
        objectives: What is asked for.
        monitor: The metric that chose the checkpoint where the result does not say; lower is better.

    Raises:
        GenlabError: If one was not measured or is not finite.
    """
    known = costs()
    values = [
        _cost(finished.result, objective.name, known[objective.name])
        if objective.name in known
        else _at_best(finished.place, objective.name, finished.result.training.chosen_by or monitor)
        for objective in objectives
    ]
    for objective, value in zip(objectives, values, strict=True):
        if not math.isfinite(value):
            raise GenlabError(f"{objective.name} is {value}.")
    return values


def objectives_text(finished: FinishedRun, objectives: Sequence[Objective], monitor: str) -> str:
    """Return a finished trial's objectives in a line; empty where one is not known, for which the trial then fails.

    Of the test split, which is not to choose anything, a search says nothing.
    """
    try:
        values = values_of(finished, objectives, monitor)
    except (GenlabError, OSError, ValueError):
        return ""
    return ", ".join(_phrase(objective.name, value) for objective, value in zip(objectives, values, strict=True))


def _phrase(name: str, value: float) -> str:
    figure = costs().get(name)
    return f"{name} {value:.4g}" if figure is None else figure.phrase(value)


def _at_best(run: RunDir, metric: str, monitor: str) -> float:
    rows = [row for row in MetricsCsv(run.metrics).rows() if row.get(metric)]
    if not rows:
        measured = known_figure(metric)
        needs_samples = measured is not None and measured.basis == "features"
        hint = " Give validation_samples=<number>." if needs_samples else ""
        raise GenlabError(f"No validation of the run has {metric}, see {run.metrics}.{hint}")
    chosen = [row for row in rows if row.get(monitor) and not math.isnan(float(row[monitor]))]
    # The first of equals, as checkpoints are chosen; without the metric that chooses it is the last.
    return float((min(chosen, key=lambda row: float(row[monitor])) if chosen else rows[-1])[metric])


def _cost(result: Result, key: str, figure: Figure) -> float:
    value = result.value(figure)
    if value is None:
        raise GenlabError(f"{key} is not known: {result.reason(key)}.")
    return float(value)
