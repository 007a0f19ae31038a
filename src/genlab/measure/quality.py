"""How samples compare with data: one pure function, for validation, evaluation, the floor and anybody's samples."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from genlab.core.batch import Batch
from genlab.core.timetable import Timetable
from genlab.measure.case import MOST_REAL, MOST_TRAINED, Case, Instruments, Reference
from genlab.measure.figures import Figure, of_section
from genlab.measure.measurements import find_measurement
from genlab.measure.metrics.rows import MetricError

__all__ = ["MIN_SAMPLES", "Quality", "count_pairs", "measure_quality"]

MIN_SAMPLES = 100
"""Fewest samples whose quality is measured: with fewer the figures are mostly chance."""


@dataclass(frozen=True)
class Quality:
    """Figures of samples, and why others are not known.

    Attributes:
        figures: The ``quality`` section of a result, or None.
        reasons: Reason for each figure that is None, by its key within the section; by ``""`` for the whole section.
        pairs: ``[2, P]``, int64: places of the samples nearest to a training example, nearest first, and below them
            those of their training examples; None where they were not looked for.
    """

    figures: dict[str, Any] | None
    reasons: dict[str, str]
    pairs: Tensor | None = None

    def missing(self, section: str = "quality") -> dict[str, str]:
        """Return the reasons by the keys of a result that has the figures in a section of this name."""
        return {f"{section}.{name}".rstrip("."): reason for name, reason in self.reasons.items()}


def measure_quality(
    samples: Batch,
    reference: Reference,
    instruments: Instruments,
    only: Collection[str] | None = None,
    rows: Tensor | None = None,
    timetable: Timetable | None = None,
) -> Quality:
    """Measure all figures of the registry's section ``quality`` that apply to samples.

    Args:
        samples: ``x`` ``[N, *spec.shape]`` in the data's own values, on the CPU; ``y`` the classes that they were drawn
            for, or None where the model was given none.
        reference: What they are compared with.
        instruments: What they are judged with.
        only: Keys of the figures that are wanted; all by default.
        rows: ``[N]``, int64: where the samples are training examples, their places among these. They are then judged
            as if a model that was trained on the others had drawn them, which no model can be expected to beat.
        timetable: Is told how far it is.
    """
    drawn = len(samples.x)
    if drawn < MIN_SAMPLES:
        return Quality(None, {"": f"sample quality needs {MIN_SAMPLES} samples, and this protocol draws {drawn}"})
    timetable = timetable or Timetable()
    case = Case(samples, reference, instruments, rows, timetable)
    wanted = [figure for figure in of_section("quality") if only is None or figure.key in only]
    figures: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    pairs = None
    with timetable.phase("figures", count_pairs(drawn, reference)):
        for name, group in itertools.groupby(sorted(wanted, key=_measurement), key=_measurement):
            found, why = _measure(case, name, list(group))
            pairs = found.pop("pairs", pairs)
            figures |= found
            reasons |= why
    if all(value is None for value in figures.values()):
        return Quality(None, {"": next(iter(reasons.values()), "nothing measures samples of this kind")})
    about = _about(case)
    if about["extractor"] is None:
        reasons["extractor"] = case.lacks("features") or ""
    if about["extractor_sha256"] is None:
        reasons["extractor_sha256"] = reasons.get("extractor", "the features are the values themselves")
    in_order = {figure.key: figures[figure.key] for figure in wanted if figure.key in figures}
    return Quality(in_order | about, reasons, pairs)


def count_pairs(samples: int, reference: Reference) -> int:
    """Return the number of pairs with a sample that are compared, by which the time grows that figures take."""
    trained = 0 if reference.training is None else min(len(reference.training.x), MOST_TRAINED)
    return samples * (min(len(reference.examples.x), MOST_REAL) + trained)


def _measurement(figure: Figure) -> str:
    return figure.measured_by or ""


def _measure(case: Case, name: str, group: Sequence[Figure]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the figures of one measurement, and why some of them are not known."""
    lacking = {figure.key: _lacks(case, figure) for figure in group}
    keys = [key for key, reason in lacking.items() if reason is None]
    # What does not apply is left out; what every result has, or what was asked for, says why it is not there.
    told = [f for f in group if lacking[f.key] and (not f.optional or any(map(case.asks_for, f.needs)))]
    found: dict[str, Any] = {figure.key: None for figure in told}
    reasons = {figure.key: lacking[figure.key] or "" for figure in told}
    if not keys:
        return found, reasons
    try:
        measured = dict(find_measurement(name, keys)(case))
    except MetricError as error:  # e.g. a sample that is not finite: the run still has its other figures
        reason = " ".join(str(error).split())
        return found | dict.fromkeys(keys), reasons | dict.fromkeys(keys, reason)
    if (pairs := measured.get("pairs")) is not None:
        found["pairs"] = pairs
    for key in keys:
        if isinstance(value := measured[key], float) and not math.isfinite(value):
            value, reasons[key] = None, "the figure is not defined for these samples"
        found[key] = value
    return found, reasons


def _lacks(case: Case, figure: Figure) -> str | None:
    return next((reason for need in figure.needs if (reason := case.lacks(need))), None)


def _about(case: Case) -> dict[str, Any]:
    extractor = case.instruments.extractor
    return {
        "extractor": None if extractor is None else extractor.name,
        "extractor_sha256": None if extractor is None else extractor.sha256,
        "n_real": len(case.reference.examples.x) if case.real_rows is None else len(case.real_rows),
        "n_fake": len(case.samples.x),
        "reference_split": case.reference.split,
    }
