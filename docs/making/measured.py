"""What `results/` holds: comparisons, one table each, and single runs."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from genlab.measure.figures import FIGURES, Number, of_section, short_count
from genlab.modalities import all_modalities
from making.text import ROOT

RESULTS = ROOT / "results"


@dataclass(frozen=True)
class Comparison:
    """A folder of `results/` with a `comparison.csv`, in the order of its rows, which is that of the ranking."""

    folder: Path

    @cached_property
    def rows(self) -> list[dict[str, str]]:
        """The lines of the table, the floor and the baseline among them."""
        with (self.folder / "comparison.csv").open(newline="") as file:
            return list(csv.DictReader(file))

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    @property
    def title(self) -> str:
        """The folder's name as a title."""
        words = self.name.removeprefix("comparison_").replace("_", " ").replace("mnist", "MNIST")
        return words[0].upper() + words[1:]

    @property
    def page(self) -> str:
        """Where its page is on the site."""
        return f"/made/gallery/{self.name}.md"

    @property
    def modality(self) -> str:
        """The kind of data, as its results say."""
        return next(read["data"]["modality"] for _, read in self.results())

    def results(self) -> list[tuple[Path, dict[str, Any]]]:
        """All result files of the folder."""
        return [(path, json.loads(path.read_text())) for path in sorted(self.folder.glob("*/*.json"))]

    def run(self, row: dict[str, str]) -> Path:
        """The folder of the row's first seed: its samples and curves."""
        seed = row["seeds"].split()[0].strip(",;") if row["seeds"] else "0"
        own = self.folder / f"{row['model']}-s{seed}"
        return own if own.is_dir() else self.folder / row["model"]

    def value(self, row: dict[str, str]) -> str:
        """The likelihood of a row, with its kind and its chance."""
        if not row["likelihood"]:
            return ""
        of = max((int(other["likelihood_examples"] or 0) for other in self.rows), default=0)
        few = int(row["likelihood_examples"] or of)
        remark = f", {few:,} examples" if few < of else ""  # which compares with the same examples alone
        return f"{row_likelihood(row)} {row['likelihood_unit']}, {row['likelihood_kind']}{remark}"

    def quality(self, row: dict[str, str]) -> str:
        """The first figure of samples, as ``"FID 1.48"``."""
        for column, label, number in self.qualities[:1]:
            if row[column]:
                return f"{label.rstrip(' ↓↑')} {number.write(float(row[column]))}"
        return ""

    @cached_property
    def qualities(self) -> list[tuple[str, str, Number]]:
        """Column, label and format of the first two figures of samples that have a floor, or any values at all."""
        found = []
        for figure in of_section("quality"):
            column = figure.column or figure.key
            if figure.priority and any(row.get(column) for row in self.rows):
                better = {"lower": " ↓", "higher": " ↑", None: ""}[figure.better]
                found.append((column, figure.label + better, figure.number))
        return found[:2]


def row_likelihood(row: dict[str, str]) -> str:
    """The likelihood of a row and how far it varies: over seeds, or by its own standard error."""
    error = row["likelihood_sd"] or row["likelihood_se"]
    return f"{float(row['likelihood']):.3f}" + (f" ± {float(error):.3f}" if error else "")


@cache
def comparisons() -> list[Comparison]:
    """All comparisons that are kept, the largest first."""
    found = [Comparison(path.parent) for path in RESULTS.glob("*/comparison.csv")]
    return sorted(found, key=lambda comparison: (-len(comparison.rows), comparison.name))


@cache
def single_runs() -> list[tuple[Path, dict[str, Any]]]:
    """The result files of runs that stand alone, each with what it says."""
    read = [(path, json.loads(path.read_text())) for path in sorted(RESULTS.glob("*/*.json"))]
    return [(path, result) for path, result in read if "likelihood" in result and "model" in result]


def likelihood(result: dict[str, Any]) -> str:
    """The likelihood of a result file as a line: in the unit of its data, with its error and its kind."""
    found = result["likelihood"] or {}
    for unit, label in (("bits_per_dim", "bits/dim"), ("nats", "nats")):
        if found.get(unit) is not None and (unit == "nats" or not _binary(result)):
            label = {"text": "bits/char", "waveform": "bits/sample"}.get(result["data"]["modality"], label)
            label = "nats" if unit == "nats" else label
            of = "" if found["of"] == "p(x)" else f" of {found['of'].replace('|', ' given ')}"
            return f"{found[unit]:.3f} ± {found[f'{unit}_se']:.3f} {label}, {found['kind']}{of}"
    return ""


def quality(result: dict[str, Any]) -> str:
    """The main figure of samples of a result file, as ``"FID 1.48"``; of its kind of data, else the first known."""
    found = result["quality"] or {}
    of_data = next(modality for modality in all_modalities() if modality.name == result["data"]["modality"])
    main = of_data.sample_figure
    figures = [*([FIGURES[main]] if main else []), *(figure for figure in of_section("quality") if figure.priority)]
    figure = next((figure for figure in figures if found.get(figure.key) is not None), None)
    if figure is None:
        return ""
    error = figure.standard_error(found.get)
    return f"{figure.label} {figure.write(found[figure.key])}" + (f" ± {figure.write(error)}" if error else "")


def _binary(result: dict[str, Any]) -> bool:
    return result["data"]["levels"] == 2  # of which papers give nats


def count(text: str) -> str:
    """A whole number in few characters, or nothing."""
    return short_count(float(text)) if text else ""
