"""CSV files as tests write them, and what is found in them."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import torch

from genlab.core.spec import Field
from genlab.data.columns import ColumnsConfig
from genlab.data.own import CsvTable
from genlab.data.tables import TableData

ROWS = 40


def written(folder: Path, columns: dict[str, list[str]], name: str = "table.csv", separator: str = ",") -> Path:
    content = io.StringIO()
    csv.writer(content, delimiter=separator).writerows(
        zip(*([key, *values] for key, values in columns.items()), strict=True)
    )
    (folder / name).write_text(content.getvalue(), newline="")
    return folder / name


def table(**others: list[str]) -> dict[str, list[str]]:
    """A column of lengths with one decimal, and others beside it."""
    return {"length": [f"{10 + 0.3 * row:.1f}" for row in range(ROWS)], **others}


def cycled(*texts: str) -> list[str]:
    return [texts[row % len(texts)] for row in range(ROWS)]


def field_of(folder: Path, texts: list[str], **settings: object) -> Field:
    data = CsvTable(path=written(folder, table(other=texts)), columns=ColumnsConfig(**settings))
    return data.spec.fields[1]


def all_rows(data: TableData) -> torch.Tensor:
    return torch.cat([data.tensors(split).x for split in ("train", "validation", "test")])
