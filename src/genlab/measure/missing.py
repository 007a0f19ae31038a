"""The rule about unknown figures: each is null, and ``missing`` says why; a reason is given for nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import BaseModel

__all__ = ["null_problems"]

_NOT_FIGURES = {"data.levels", "data.num_classes"}
"""Null says something by itself here: continuous data, no labels."""

_PLAIN = {str, int, float, tuple, dict}
"""All that is no section; tables ask this of each value of 10,000 results, and ``isinstance`` takes its time."""


def null_problems(result: BaseModel, reasons: Mapping[str, str]) -> list[str]:
    """Return a line for each null of a result without a reason, and for each reason without a null.

    Args:
        result: All of it.
        reasons: By dotted key of a figure, or by the name of a whole section.
    """
    nulls = set(_nulls(result, "")) - _NOT_FIGURES
    unexplained = sorted(key for key in nulls if key not in reasons and key.partition(".")[0] not in reasons)
    explained = {part for key in nulls for part in _prefixes(key)}
    return [
        *(f"{key} is null without a reason in missing" for key in unexplained),
        *(f"missing gives a reason for {key}, which is not null" for key in sorted(reasons) if key not in explained),
    ]


def _prefixes(key: str) -> Iterator[str]:
    parts = key.split(".")
    return (".".join(parts[:count]) for count in range(1, len(parts) + 1))


def _nulls(section: BaseModel, prefix: str) -> Iterator[str]:
    values = vars(section)
    for name in section.model_fields_set:  # without what may be left out, and is
        value = values[name]
        if value is None:
            yield f"{prefix}{name}"
        elif type(value) not in _PLAIN:
            yield from _nulls(value, f"{prefix}{name}.")
