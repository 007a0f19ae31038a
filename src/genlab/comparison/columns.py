"""The columns of a comparison: those of likelihoods, and one for each figure of the registry that has a place there."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from genlab.measure.figure import Basis, Better, Figure, Number
from genlab.measure.figures import FIGURES, headlines

if TYPE_CHECKING:
    from genlab.measure.result import Result
    from genlab.measure.result_sections import OneDraw

__all__ = ["LIKELIHOOD", "ONE_DRAW", "Column", "columns", "leading_columns"]


@dataclass(frozen=True)
class Column:
    """One column of figures.

    Attributes:
        key: Name in CSV files and in `figures` of a run.
        heading: Name above the column, with its unit.
        short: The same for narrow tables; a line break is kept.
        read: Takes the figure, as it is shown, from a result; None where it is not known.
        number: How it is written.
        error: Takes the figure's own standard error from a result; None where no result has one.
        better: Which values are better, or None where neither is: then nothing is marked.
        basis: What two runs must share for the figure to compare: ``likelihood``, ``features``, ``hardware``.
        priority: The higher, the longer the column stays where a terminal is too narrow for all.
        source: Dotted key of the figure in a result, such as ``"quality.fid"``; empty where it is none alone.
        ideal: Value beyond which none is better, see :class:`genlab.measure.figure.Figure`; None: no such value.
    """

    key: str
    heading: str
    short: str
    read: Callable[[Result], float | None]
    number: Number
    error: Callable[[Result], float | None] | None = None
    better: Better | None = None
    basis: Basis | None = None
    priority: int = 0
    source: str = ""
    ideal: float | None = None

    @classmethod
    def of(cls, figure: Figure) -> Column:
        """Return the column of a figure."""

        section, key, divisor = figure.section, figure.key, figure.divisor

        # What `Result.value` does, at a third of the time: a table of 10,000 results asks for 200,000 figures.
        def read(result: Result) -> float | None:
            values = getattr(result, section)
            value = None if values is None else values.__dict__.get(key)
            return value if value is None or divisor == 1 else value / divisor

        return cls(
            figure.column or figure.key,
            figure.label,
            figure.short or figure.label,
            read,
            figure.number,
            _error_of(figure) if figure.spread else None,
            figure.better,
            figure.basis,
            figure.priority,
            f"{section}.{key}",
            figure.ideal,
        )

    def write(self, value: float, places: int | None = None) -> str:
        """Return a value as text; see :meth:`genlab.measure.figures.Number.write`."""
        return self.number.write(value, places)


def _error_of(figure: Figure) -> Callable[[Result], float | None]:
    def error(result: Result) -> float | None:
        values = getattr(result, figure.section)
        found = None if values is None else figure.standard_error(values.get)
        return None if found is None else found / figure.divisor

    return error


def _likelihood(result: Result) -> float | None:
    return _nll(result.likelihood)


def _one_draw(result: Result) -> float | None:
    return None if result.likelihood is None else _nll(result.likelihood.one_draw)


def _likelihood_error(result: Result) -> float | None:
    return _nll(result.likelihood, "_se")


def _one_draw_error(result: Result) -> float | None:
    return None if result.likelihood is None else _nll(result.likelihood.one_draw, "_se")


def _nll(figures: OneDraw | None, ending: str = "") -> float | None:
    """Bits/dim and nats share a column: all rows of a table are of the same data."""
    if figures is None:
        return None
    return figures.get(("nats" if figures.bits_per_dim is None else "bits_per_dim") + ending)


_FOUR = Number("fixed", 4)
LIKELIHOOD = Column(
    "likelihood", "NLL", "NLL", _likelihood, _FOUR, _likelihood_error, "lower", "likelihood", 20
)  # fmt: skip
ONE_DRAW = Column(
    "one_draw", "NLL of one draw", "one\ndraw", _one_draw, _FOUR, _one_draw_error, "lower", "likelihood", 1
)  # fmt: skip


def columns() -> tuple[Column, ...]:
    """Return all columns, in the order in which tables show them."""
    return _columns(tuple(FIGURES))


@functools.lru_cache(maxsize=4)
def _columns(keys: tuple[str, ...]) -> tuple[Column, ...]:
    figures = (FIGURES[key] for key in keys)
    return LIKELIHOOD, ONE_DRAW, *(Column.of(figure) for figure in figures if figure.priority)


def leading_columns() -> tuple[Column, ...]:
    """Return the columns by which rows are ordered: the first headline of samples, then the likelihood."""
    leading = next(figure for figure in headlines() if figure.basis == "features")
    return next(column for column in columns() if column.key == leading.key), LIKELIHOOD
