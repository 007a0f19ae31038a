"""What uses of a trained model are worth and cost, as far as `results/` has it: parts of the pages of these uses."""

from __future__ import annotations

import json
from typing import Any

from genlab.comparison.anomalies import read_reports, tables_of, to_text
from genlab.core.words import counted
from making.measured import RESULTS
from making.text import table

_NOTHING = "Not measured yet.\n"


def parts() -> dict[str, str]:
    """Return each part by its name; what is not measured says so."""
    made = {"inpainting": ("inpainting_digits", inpainting), "generating": ("generate", generating)}
    found = {"detecting": detecting()}
    for name, (stem, make) in made.items():
        file = RESULTS / f"{stem}.json"
        found[name] = make(json.loads(file.read_text())) if file.is_file() else _NOTHING
    return found


def inpainting(found: dict[str, Any]) -> str:
    """Return the table of `benchmarks/inpainting.py`, the nearest to the exact completions first, and its picture."""
    lines = {"two draws of the exact one, by chance": "chance", "halves of training pictures at random": "at_random"}
    rows = [(f"*{name}*", *_close(found[key]), "", "", "") for name, key in lines.items()]
    for row in sorted(found["rows"], key=lambda row: row["energy_distance"]):
        how = f"{'exact' if row['is_exact'] else 'approximate'}: {row['method']}"
        changed = f"{row['given_values_changed']} of {row['given_values']:,}"
        rows.append((row["model"], *_close(row), f"{1000 * row['seconds_per_completion']:.3g}", changed, how))
    head = ("model", "energy distance ↓", "energy score ↓", "ms each", "given values changed", "how")
    exact, name = found["exact"], f"inpainting_{found['data']}.png"
    said = (
        f"{found['examples']} pictures of {found['data']}, {found['split']}, {found['each']} completions each, "
        f"{counted(found['threads'], 'thread')}. The exact completions are those of {exact['model']} "
        f"({exact['variant']}), {exact['bits_per_dim']:.3f} bits/dim. `{found['command']}`\n\n"
    )
    about = ":alt: what each model fills in\n\nThe same pictures, filled in once by each."
    picture = f"\n```{{figure}} /../results/{name}\n{about}\n```\n" if (RESULTS / name).is_file() else ""
    return said + table(head, rows) + picture


def _close(row: dict[str, float]) -> tuple[str, str]:
    distance, score = (f"{row[name]:.4f} ± {row[f'{name}_se']:.4f}" for name in ("energy_distance", "energy_score"))
    return distance, score


def generating(found: dict[str, Any]) -> str:
    """Return the table of `benchmarks/generate.py`."""
    head = ("model", "data", "samples", "seconds", "of all cores", "peak MB")
    rows = [
        (row["model"], row["data"], f"{row['samples']:,}", f"{row['seconds']:.1f}", f"{row['cpu_seconds']:.1f}",
         f"{row['peak_bytes'] / 1e6:,.0f}")
        for row in found["rows"]
    ]  # fmt: skip
    said = f"From the start of the command to its files, on the CPU, {counted(found['threads'], 'thread')}."
    return f"{said} `{found['command']}`\n\n{table(head, rows)}"


def detecting() -> str:
    """Return the tables of what `detect` found, of the JSON files in `results/detect`."""
    reports, _ = read_reports([RESULTS / "detect"])
    return to_text(tables_of(reports)).replace("## ", "### ") if reports else _NOTHING
