"""The columns of a comparison: where each figure stands in a result, which way is better, how it is written."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["COLUMNS", "LIKELIHOODS", "Column", "decimal_places", "likelihood_unit", "short_count"]

LIKELIHOODS = ("likelihood", "one_draw")
"""Keys of the columns whose cells say which kind of likelihood they hold."""

Better = Literal["lower", "higher"]


@dataclass(frozen=True)
class Column:
    """One column of figures.

    Attributes:
        key: Name in CSV files and in `figures` of a run.
        heading: Name above the column, with its unit.
        short: The same for narrow tables; a line break is kept.
        read: Takes the figure from a result; None where it is not known.
        write: Takes a value and returns its text and, for the spread beside it, the number of decimal places.
        better: Which values are better, or None where neither is: then nothing is marked.
        basis: What two runs must share for the figure to compare: ``likelihood``, ``features``, ``hardware``.
        priority: The higher, the longer the column stays where a terminal is too narrow for all.
    """

    key: str
    heading: str
    short: str
    read: Callable[[Mapping[str, Any]], float | None]
    write: Callable[[float, int | None], str]
    better: Better | None = None
    basis: Literal["likelihood", "features", "hardware"] | None = None
    priority: int = 0


def _likelihood(result: Mapping[str, Any]) -> float | None:
    return _nll(result["likelihood"])


def _one_draw(result: Mapping[str, Any]) -> float | None:
    return _nll((result["likelihood"] or {}).get("one_draw"))


def _nll(figures: Mapping[str, Any] | None) -> float | None:
    if figures is None:
        return None
    return figures["nats"] if figures["bits_per_dim"] is None else figures["bits_per_dim"]


def _at(section: str, name: str, divisor: float = 1) -> Callable[[Mapping[str, Any]], float | None]:
    def read(result: Mapping[str, Any]) -> float | None:
        value = (result[section] or {}).get(name)
        return value if value is None or divisor == 1 else value / divisor

    return read


def likelihood_unit(levels: int | None) -> str:
    """Return the unit of a likelihood: ``bits/dim`` for discrete data, ``nats`` for continuous data."""
    return "nats" if levels is None else "bits/dim"


def decimal_places(value: float, digits: int, most: int = 6) -> int:
    """Return how many decimal places show so many significant digits of a value, from 0 to ``most``."""
    if value == 0 or not math.isfinite(value):
        return 0
    return min(most, max(0, digits - 1 - math.floor(math.log10(abs(value)))))


def _fixed(places: int) -> Callable[[float, int | None], str]:
    return lambda value, forced=None: f"{value:,.{places if forced is None else forced}f}"


def _significant(digits: int) -> Callable[[float, int | None], str]:
    def write(value: float, forced: int | None = None) -> str:
        return f"{value:,.{decimal_places(value, digits) if forced is None else forced}f}"

    return write


def _whole(value: float, forced: int | None = None) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def short_count(value: float, forced: int | None = None) -> str:
    """Write a number of things in at most five characters, e.g. ``"950"``, ``"4.32M"``."""
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        # 999,999 would otherwise become 1000k.
        if value >= size * 0.9995:
            return f"{value / size:.{decimal_places(max(value / size, 1.0), 3)}f}{unit}"
    return _whole(value)


COLUMNS: tuple[Column, ...] = (
    Column("likelihood", "NLL", "NLL", _likelihood, _fixed(4), "lower", "likelihood", 20),
    Column("one_draw", "NLL of one draw", "one\ndraw", _one_draw, _fixed(4), "lower", "likelihood", 1),
    Column("fid", "FID", "FID", _at("quality", "fid"), _fixed(2), "lower", "features", 19),
    Column("mifid", "MIFID", "MIFID", _at("quality", "mifid"), _fixed(2), "lower", "features", 2),
    Column("kid", "KID", "KID", _at("quality", "kid"), _fixed(4), "lower", "features", 17),
    Column("inception_score", "IS", "IS", _at("quality", "inception_score"), _fixed(2), "higher", "features", 3),
    Column("precision", "precision", "preci-\nsion", _at("quality", "precision"), _fixed(3), "higher", "features", 16),
    Column("recall", "recall", "recall", _at("quality", "recall"), _fixed(3), "higher", "features", 15),
    Column("density", "density", "den-\nsity", _at("quality", "density"), _fixed(3), "higher", "features", 13),
    Column("coverage", "coverage", "cover-\nage", _at("quality", "coverage"), _fixed(3), "higher", "features", 14),
    Column(
        "sliced_wasserstein", "sliced Wasserstein", "sliced\nW", _at("quality", "sliced_wasserstein"),
        _significant(3), "lower", "features", 7,
    ),
    Column("mmd", "MMD", "MMD", _at("quality", "mmd"), _significant(3), "lower", "features", 6),
    Column(
        "class_total_variation", "class TV", "class\nTV", _at("quality", "class_total_variation"), _fixed(3), "lower",
        "features", 5,
    ),
    Column(
        "inception_fid", "Inception FID", "Incep.\nFID", _at("quality", "inception_fid"), _fixed(2), "lower",
        "features", 18,
    ),
    Column(
        "inception_kid", "Inception KID", "Incep.\nKID", _at("quality", "inception_kid"), _fixed(4), "lower",
        "features", 3,
    ),
    Column(
        "classification_accuracy", "accuracy score", "accu-\nracy", _at("quality", "classification_accuracy"),
        _fixed(3), "higher", "features", 5,
    ),
    # Neither way is better: far below 1 says that training examples are repeated.
    Column(
        "neighbour_ratio", "neighbour ratio", "neigh-\nbours", _at("quality", "neighbour_ratio"), _fixed(3), None,
        "features", 4,
    ),
    Column("nfe", "NFE", "NFE", _at("sampling", "nfe"), _whole, "lower", None, 11),
    Column(
        "ms_per_sample", "ms per sample", "ms per\nsample", _at("sampling", "ms_per_sample"), _significant(3), "lower",
        "hardware", 12,
    ),
    Column("parameters", "parameters", "para-\nmeters", _at("model", "parameters"), short_count, None, None, 10),
    Column(
        "examples_seen", "examples seen", "exam-\nples", _at("training", "examples_seen"), short_count, None, None, 8,
    ),
    Column(
        "train_minutes", "train minutes", "train\nmin", _at("training", "wall_seconds", 60), _fixed(1), None, None, 9,
    ),
)  # fmt: skip
"""All columns of figures, in the order in which tables show them."""
