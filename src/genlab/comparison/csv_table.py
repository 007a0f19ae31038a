"""The comparison as CSV: one line per row of all groups, numbers as they are."""

from __future__ import annotations

import csv
import io
import re

from genlab.comparison.columns import Column, columns
from genlab.comparison.published import published_text
from genlab.comparison.ranking import Comparison, Group, Row

__all__ = ["table_rows", "to_csv"]

_FORMULA = re.compile(r"[\t\r]|\s*[=+@-](?!\d+( -?\d+)*$)")
"""How a text begins that a spreadsheet would compute or act on; seeds below zero are none."""


def to_csv(comparison: Comparison) -> str:
    """Return a header and one line for each row, every column in every file, unknown figures empty.

    Beside each figure stand its standard deviation over seeds (``_sd``), of one seed its own standard error (``_se``)
    where there is one, and the number of seeds that have it. Published figures of the same family stand in a column of
    their own, with their sources. Text that a spreadsheet would take for a formula has an apostrophe before it, as
    OWASP advises; numbers never.
    """
    buffer = io.StringIO(newline="")
    lines = [line for group in comparison.groups for line in table_rows(group)]
    writer = csv.DictWriter(buffer, _header(), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _no_formula(value) for key, value in line.items()} for line in lines)
    return buffer.getvalue()


def _no_formula(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def table_rows(group: Group) -> list[dict[str, object]]:
    """Return a group's rows with every column by its name, numbers as they are, unknown figures None."""
    return [{**dict.fromkeys(_header()), **_line(group, row)} for row in group.rows]


def _header() -> list[str]:
    return [
        "data", "split", "protocol", "protocol_hash", "model", "family", "variant", "note", "reference", "checkpoint",
        "seeds", "likelihood_unit", "likelihood_kind", "likelihood_of", "likelihood_examples", "one_draw_kind",
        *(f"{column.key}{part}" for column in columns() for part in _parts(column)),
        "extractor", "n_real", "n_fake", "device", "sampling_device", "config_hash", "run_ids", "code_version",
        "published", "command", "missing",
    ]  # fmt: skip


def _parts(column: Column) -> tuple[str, ...]:
    return ("", "_sd", "_se", "_count") if column.error else ("", "_sd", "_count")


def _line(group: Group, row: Row) -> dict[str, object]:
    first = row.first
    line: dict[str, object] = {
        "data": group.data.name, "split": group.data.split, "protocol": group.protocol[0],
        "protocol_hash": group.protocol[1], "model": first.model, "family": first.family, "variant": first.variant,
        "note": row.note, "reference": row.reference, "checkpoint": first.checkpoint,
        "seeds": " ".join(map(str, row.seeds)), "likelihood_unit": group.data.unit,
        "likelihood_kind": first.kind, "likelihood_of": first.of, "one_draw_kind": first.one_draw_kind,
        "likelihood_examples": first.likelihood_examples,
        "device": row.device, "sampling_device": row.sampling_device,
        "config_hash": first.config_hash, "run_ids": " ".join(run.run_id for run in row.runs),
        "code_version": "; ".join(dict.fromkeys(run.code_version for run in row.runs)), "command": first.command,
        "published": published_text(group, row),
        "missing": "; ".join(dict.fromkeys(f"{what}: {why}" for run in row.runs for what, why in run.missing)),
    }  # fmt: skip
    if first.features is not None:
        line["extractor"], _, line["n_real"], line["n_fake"], _ = first.features
    for key, figure in row.figures.items():
        line |= {key: figure.mean, f"{key}_sd": figure.sd, f"{key}_count": figure.count}
        if figure.se is not None:
            line[f"{key}_se"] = figure.se
    return line
