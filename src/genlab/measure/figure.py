"""One figure of a result: what it is called, how it is written, which way is better, how sure it is."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

__all__ = [
    "FRACTION",
    "Basis",
    "Better",
    "Figure",
    "Kind",
    "Number",
    "Section",
    "decimal_places",
    "quality_figure",
    "short_count",
]

Section = Literal["likelihood", "quality", "sampling", "model", "training"]
Better = Literal["lower", "higher"]
Basis = Literal["likelihood", "features", "hardware"]
Kind = Literal["number", "whole", "sha256", "list"]


def decimal_places(value: float, digits: int, most: int = 6) -> int:
    """Return how many decimal places show so many significant digits of a value, from 0 to ``most``."""
    if value == 0 or not math.isfinite(value):
        return 0
    return min(most, max(0, digits - 1 - math.floor(math.log10(abs(value)))))


def short_count(value: float) -> str:
    """Write a number of things in at most five characters, e.g. ``"950"``, ``"4.32M"``."""
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        # 999,999 would otherwise become 1000k.
        if value >= size * 0.9995:
            return f"{value / size:.{decimal_places(max(value / size, 1.0), 3)}f}{unit}"
    return f"{value:.0f}" if value >= 100 else _whole(value)  # as a mean or a deviation of counts


def _whole(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


LARGEST_IN_FULL = 1e9
"""From here on a figure is written with a power of ten: nobody reads the forty digits of a model that has diverged."""


@dataclass(frozen=True)
class Number:
    """How a figure is written.

    Attributes:
        style: ``fixed`` decimal places, ``significant`` digits, ``whole`` numbers, or ``count`` with k, M and G.
        digits: Places of ``fixed``, digits of ``significant``.
    """

    style: Literal["fixed", "significant", "whole", "count"] = "fixed"
    digits: int = 3

    def write(self, value: float, places: int | None = None) -> str:
        """Return a value as text, with so many decimal places if they are given and the style has any."""
        if self.style == "count":
            return short_count(value)
        if self.style == "whole":
            return _whole(value)
        if math.isfinite(value) and abs(value) >= LARGEST_IN_FULL:
            return f"{value:.2e}"
        usual = self.digits if self.style == "fixed" else decimal_places(value, self.digits)
        return f"{value:,.{usual if places is None else places}f}"


@dataclass(frozen=True)
class Figure:
    """One figure of a result.

    Attributes:
        key: Its name in a result's section and in CSV files; with ``val/`` before it that of the same figure of
            validation.
        section: The section of a result that has it.
        label: What tables and reports call it.
        short: The same for narrow tables; a line break is kept. The label by default.
        unit: What stands behind the value in a sentence, which then goes without the label: ``"1.07 bits/dim"``.
        singular: The unit where the value is 1, if that is another word.
        column: Its name in CSV files, where that is not its key.
        number: How it is written.
        better: Which values are better, or None where neither is: then nothing is marked.
        ideal: Value beyond which none is better: what lies there is chance, and ranks as the ideal does. None: no such
            value.
        basis: What two runs must share for the figure to compare; None: it always compares.
        priority: The higher, the longer its column stays where a terminal is too narrow for all; 0: it has no column.
        minimum: Least value that it can have; None: no bound.
        maximum: Greatest value that it can have; None: no bound.
        spread: Key, in the same section, of how far it varies by chance: a standard error, or what ``subsets`` says.
        subsets: Number and largest size of the random subsets over which ``spread`` is the deviation, each of at most
            half of the examples; None: it is a standard error. See :meth:`standard_error`.
        divisor: What the stored value is divided by in tables, as seconds that are shown in minutes.
        cost: What it costs, of a figure that quality is plotted against, e.g. ``"sampling cost"``; empty: it is none.
        cost_unit: Unit of that cost, as it is shown.
        warning: What a value above zero says of a model, with ``{value}`` and ``{classes}``, the number of classes of
            the data; tables and terminal show it beside the run. Empty: no value is a sign of trouble.
        headline: Whether it is among the few that a dashboard or a line about a run has room for.
        validated: Whether validation during training can measure it as ``val/<key>``.
        measured_by: ``module:name`` of what gives it, see :func:`genlab.measure.measurements.find_measurement`; figures
            of one measurement are computed together. None: another part of the protocol gives it.
        needs: What must be at hand to measure it, see :meth:`genlab.measure.case.Case.lacks`. Where it is not, an
            optional figure is left out, any other is null with the reason.
        kind: Type of the stored value: a number, a whole number, the hex digits of a SHA-256, or a list of numbers.
        first: Number of the first place of a list: 0 where places are labels.
        of_columns: Whether the places of a list are the columns of the data, whose names a result may give.
        optional: Whether results without it are complete: it does not apply to all data, or is measured on demand.
        about: What it says, in a sentence.
    """

    key: str
    section: Section
    label: str
    short: str = ""
    unit: str = ""
    singular: str = ""
    column: str = ""
    number: Number = Number()
    better: Better | None = None
    ideal: float | None = None
    basis: Basis | None = None
    priority: int = 0
    minimum: float | None = None
    maximum: float | None = None
    spread: str | None = None
    subsets: tuple[int, int] | None = None
    divisor: float = 1.0
    cost: str = ""
    cost_unit: str = ""
    warning: str = ""
    headline: bool = False
    validated: bool = False
    measured_by: str | None = None
    needs: tuple[str, ...] = ("features",)
    kind: Kind = "number"
    first: int = 0
    of_columns: bool = False
    optional: bool = False
    about: str = ""

    @property
    def is_number(self) -> bool:
        """Whether its value is one number."""
        return self.kind in ("number", "whole")

    def write(self, value: float, places: int | None = None) -> str:
        """Return a value as text; see :meth:`Number.write`."""
        return self.number.write(value, places)

    def standard_error(self, get: Callable[[str], Any]) -> float | None:
        """Return the figure's own standard error over examples; None where nothing is known of it.

        The mean over subsets of m of n examples varies less than one subset does. Subsets share examples, so their
        deviation is that of m examples times the root of 1 - m/n, and n examples deviate by the root of m/n of those:
        the deviation is taken times the root of m / (n - m), and the chance of which subsets were drawn is added. That
        is exact to first order in 1/n, with real and generated examples of equal number; else, and for equal
        distributions, whose deviation falls with 1/n, it is too large rather than too small.

        Args:
            get: Gives a value of the figure's section by its key.
        """
        deviation = None if self.spread is None else get(self.spread)
        if deviation is None or self.subsets is None:
            return deviation
        (number, largest), examples = self.subsets, min(get("n_real") or 0, get("n_fake") or 0)
        size = min(largest, examples // 2)
        return deviation * math.sqrt(size / (examples - size) + 1 / number) if size else None

    def phrase(self, value: float) -> str:
        """Return a value in four digits with its name or unit, e.g. ``"1.073 bits/dim"``, ``"FID 12.5"``."""
        unit = self.singular if self.singular and value == 1 else self.unit
        return f"{value:.4g} {unit}" if unit else f"{self.label} {value:.4g}"


FRACTION: dict[str, Any] = {"minimum": 0.0, "maximum": 1.0}
"""The bounds of a figure that is a share of something."""


def quality_figure(key: str, label: str, measurement: str, **about: Any) -> Figure:
    """Return a figure of sample quality; of its measurement the module may go without saying."""
    name = measurement if ":" in measurement else f"genlab.measure.measurements:{measurement}"
    return Figure(key, "quality", label, basis="features", measured_by=name, **about)
