"""Which family for which data: what was measured, by kind of data."""

from __future__ import annotations

from typing import Any

from genlab.modalities import all_modalities
from making.measured import RESULTS, Comparison, comparisons, likelihood, quality, row_likelihood, single_runs
from making.text import table

NAMES = {"image": "Pictures", "waveform": "Sound", "vector": "Points and vectors"}


def part() -> str:
    """Return a section for each kind of data, with the rows that `results/` has of it."""
    sections = []
    for modality in [modality.name for modality in all_modalities()]:
        tables = [_comparison(found) for found in comparisons() if found.modality == modality]
        tables = tables or ["No comparison of this kind of data is kept in `results/` yet.\n"]
        runs = [(file, result) for file, result in single_runs() if result["data"]["modality"] == modality]
        if runs:
            tables.append(_runs(runs))
        sections.append("\n".join([f"### {NAMES.get(modality, modality.capitalize())}\n", *tables]))
    return "\n".join(sections)


def _comparison(comparison: Comparison) -> str:
    """The first three by the likelihood, by the main figure of samples beside its floor, and by the time to sample."""
    floor = next((row for row in comparison.rows if row["reference"] == "floor"), None)
    models = [row for row in comparison.rows if row is not floor]
    comparable = [row for row in models if row["likelihood"] and "ode" not in row["likelihood_kind"]]
    by_likelihood = sorted(comparable, key=lambda row: float(row["likelihood"]))
    lines = [
        ("likelihood, exact or a bound", "", *[f"{row['model']} {row_likelihood(row)}" for row in by_likelihood[:3]])
    ]
    for column, label, number in comparison.qualities[:1]:
        known = [row for row in models if row[column]]
        best = sorted(known, key=lambda row: float(row[column]), reverse=label.endswith("↑"))
        real = number.write(float(floor[column])) if floor and floor[column] else ""
        lines.append((label, real, *[f"{row['model']} {number.write(float(row[column]))}" for row in best[:3]]))
    fast = sorted((row for row in models if row["ms_per_sample"]), key=lambda row: float(row["ms_per_sample"]))
    lines.append(("ms per sample ↓", "", *[f"{row['model']} {float(row['ms_per_sample']):.3g}" for row in fast[:3]]))
    rows = [(*line, *[""] * (5 - len(line))) for line in lines]
    minutes = max(float(row["train_minutes"]) for row in models if row["train_minutes"])
    most = f"at most {minutes:.0f} minute{'s' if round(minutes) != 1 else ''} each"
    head = f"[{comparison.title}]({comparison.page}): {len(models)} models, {most}.\n\n"
    return head + table(("by", "floor", "first", "second", "third"), rows)


def _device(result: dict[str, Any]) -> str:
    return result["training"]["device"].replace(", 1 threads", ", 1 thread")  # as results had it before


def _runs(runs: list[tuple[Any, dict[str, Any]]]) -> str:
    rows = [
        (result["data"]["name"], result["model"]["name"], likelihood(result), quality(result),
         f"{result['training']['wall_seconds'] / 60:.1f}", _device(result), f"`{file.relative_to(RESULTS)}`",
         result["code_version"])
        for file, result in runs
    ]  # fmt: skip
    head = ("data", "model", "likelihood", "samples", "minutes", "device", "file in `results/`", "code")
    return "[Single runs](/made/results.md), in settings of their own:\n\n" + table(head, sorted(rows))
