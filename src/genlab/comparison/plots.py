"""Line and scatter plots of the HTML report, drawn by matplotlib. Importing this module takes a third of a second."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.textpath import text_to_path
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from genlab.comparison.svg import THEME, inline_svg
from genlab.core.labels import tell_apart
from genlab.core.pareto import pareto_front

__all__ = ["COLORS", "LEAST", "STYLES", "Level", "Point", "Series", "line_plot", "scatter_plot"]

WIDTH, HEIGHT = 460, 320
"""In points; the page scales the drawing to its column."""
LEFT, RIGHT, TOP, BOTTOM = 62, 12, 12, 46
"""Room around the axes, for their names and ticks."""

COLORS = 8
DASHES = ("-", (0, (6, 3)), (0, (2, 2.5)))
MARKERS = ("o", "s", "^")
STYLES = COLORS * len(DASHES)
"""So many curves, or marks, can be told apart by colour and by dashes, or by colour and by shape."""

LEAST = 1e-100
"""Figures from here up have logarithms with room beside them."""

WIDE = 8
"""Ratio of the highest to the lowest figure from which equal ratios are drawn alike."""

LABEL_SIZE, LABEL_HEIGHT = 10.5, 13
LONGEST_LABEL = 24
MOST_LABELS = 40
"""More find no room; measuring them takes time."""
_FONT = FontProperties(size=LABEL_SIZE)
Place = tuple[int, int, str]
"""To the right and up, in points, and the side of the label that is there."""
_PLACES: tuple[Place, ...] = (
    (9, 0, "left"), (-9, 0, "right"), (0, 13, "center"), (0, -13, "center"), (7, 11, "left"), (7, -11, "left"),
    (-7, 11, "right"), (-7, -11, "right"), (6, 13, "right"), (6, -13, "right"), (-6, 13, "left"), (-6, -13, "left"),
)  # fmt: skip
"""Where a label may stand beside its point, the first that has room."""
_ENDS = ((WIDTH - LEFT - RIGHT - 4, "right"), (4, "left"))
_ON_A_LINE: tuple[Place, ...] = tuple((right, up, side) for up in (8, -8) for right, side in _ENDS)
"""The same beside a line across, from its left end."""

Box = tuple[float, float, float, float]
"""Left, bottom, right, top."""


@dataclass(frozen=True)
class Series:
    """A curve: its name, the number of its style, its points by rising x."""

    name: str
    style: int
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Point:
    """A mark: its name, the number of its style, where it stands.

    Attributes:
        label: Short name, written beside it where there is room.
        rivals: Points with the same text compete for one Pareto front.
    """

    name: str
    label: str
    style: int
    x: float
    y: float
    rivals: str = ""


@dataclass(frozen=True)
class Level:
    """A height that a whole plot is read against: its name, the short one that is written on it, where it is."""

    name: str
    label: str
    y: float


def line_plot(series: Sequence[Series], x_label: str, y_label: str, title: str, ident: str) -> str:
    """Return curves as SVG. What is far above most of a curve, as its beginning can be, is cut off.

    Args:
        series: At least one, each with a point.
        x_label: Below the plot, with its unit.
        y_label: Beside the plot, with its unit.
        title: Read out in place of the plot.
        ident: Makes the ids in the drawing its own; used once in a page.
    """
    figure, axes = _axes(x_label, y_label)
    low = min(y for curve in series for _, y in curve.points)
    # A tenth of a curve is the fall from its first weights, against which the rest would look flat.
    settled = [y for curve in series for _, y in curve.points[len(curve.points) // 10 :]]
    _scale(axes.xaxis, [x for curve in series for x, _ in curve.points])
    _scale(axes.yaxis, [low, max(settled)])
    names: dict[str, list[str]] = {}
    for number, curve in enumerate(series):
        names[f"curve-{number}"] = [curve.name]
        line = Line2D(
            *zip(*curve.points, strict=True),
            color=_color(curve.style),
            linestyle=DASHES[curve.style // COLORS % len(DASHES)],
            linewidth=1.75,
            marker="o" if len(curve.points) == 1 else None,
            markersize=6,
            gid=f"curve-{number}",
        )
        axes.add_line(line)
    return inline_svg(figure, ident, title, names)


def scatter_plot(
    points: Sequence[Point], x_label: str, y_label: str, title: str, ident: str, levels: Sequence[Level] = ()
) -> str:
    """Return points over a logarithmic x axis as SVG, with the Pareto front of each set of rivals.

    Args:
        points: At least one; x above `LEAST`; lower is better on both axes.
        x_label: Below the plot, with its unit.
        y_label: Beside the plot, with its unit.
        title: Read out in place of the plot.
        ident: Makes the ids in the drawing its own; used once in a page.
        levels: Lines across; one at or below 0 is left out where the y axis is logarithmic.
    """
    figure, axes = _axes(x_label, y_label)
    heights = [point.y for point in points]
    log = min(heights) > LEAST and max(heights) > WIDE * min(heights)
    levels = [level for level in levels if level.y > LEAST or not log]
    _scale(axes.xaxis, [point.x for point in points], log=True)
    _scale(axes.yaxis, [*heights, *(level.y for level in levels)], log=log)
    names = _levels(axes, levels)
    fronts = _fronts(points)
    for number, front in enumerate(front for front in fronts if len(front) > 1):
        names[f"front-{number}"] = ["Pareto front"]
        corners = [(point.x, point.y) for point in front]
        axes.step(
            *zip(*corners, strict=True),
            where="post",
            color=THEME["strong-rule"],
            linestyle=(0, (4, 3)),
            linewidth=1,
            gid=f"front-{number}",
        )
    names |= _marks(axes, points)
    first = [point for front in fronts for point in front]
    # The front is named first: where labels find no room, the others go without.
    order = [*first, *(point for point in points if point not in first)]
    names |= _label(axes, points, order[:MOST_LABELS], fronts, levels)
    return inline_svg(figure, ident, title, names)


def _levels(axes: Axes, levels: Sequence[Level]) -> dict[str, list[str]]:
    for number, level in enumerate(levels):
        axes.axhline(level.y, color=THEME["muted"], linestyle=(0, (1, 2.5)), linewidth=1.25, gid=f"level-{number}")
    return {f"level-{number}": [level.name] for number, level in enumerate(levels)}


def _marks(axes: Axes, points: Sequence[Point]) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    # One artist for each style: one for each point would take ten times as long.
    for style in dict.fromkeys(point.style for point in points):
        alike = [point for point in points if point.style == style]
        names[f"points-{style}"] = [point.name for point in alike]
        marks = Line2D(
            [point.x for point in alike],
            [point.y for point in alike],
            linestyle="none",
            marker=MARKERS[style // COLORS % len(MARKERS)],
            markersize=9,
            color=_color(style),
            markeredgecolor=THEME["paper"],
            markeredgewidth=1.25,
            gid=f"points-{style}",
            zorder=3,
        )
        axes.add_line(marks)
    return names


def _fronts(points: Sequence[Point]) -> list[list[Point]]:
    sets: dict[str, list[Point]] = {}
    for point in points:
        sets.setdefault(point.rivals, []).append(point)
    return [[rivals[index] for index in pareto_front([(p.x, p.y) for p in rivals])] for rivals in sets.values()]


def _color(style: int) -> str:
    return THEME[f"c{style % COLORS}"]


def _axes(x_label: str, y_label: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH / 72, HEIGHT / 72), dpi=72, frameon=False)
    box = (
        LEFT / WIDTH,
        BOTTOM / HEIGHT,
        (WIDTH - LEFT - RIGHT) / WIDTH,
        (HEIGHT - BOTTOM - TOP) / HEIGHT,
    )
    axes = figure.add_axes(box, frameon=True)
    axes.patch.set_visible(False)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(THEME["strong-rule"])
    axes.set_axisbelow(True)
    axes.grid(axis="y", color=THEME["rule"], linewidth=1)
    axes.tick_params(axis="both", labelsize=11, labelcolor=THEME["muted"], color=THEME["strong-rule"], length=4)
    axes.tick_params(axis="y", length=0)
    for axis, text in ((axes.xaxis, x_label), (axes.yaxis, y_label)):
        axis.set_label_text(text, fontsize=12, color=THEME["ink"], parse_math=False)
    # Beside the ticks at a fixed place, however wide these are, and never beyond the drawing.
    axes.yaxis.set_label_coords((12 - LEFT) / (WIDTH - LEFT - RIGHT), 0.5)
    return figure, axes


def _scale(axis: Axis, values: Iterable[float], log: bool = False) -> None:
    """Set an axis to hold the values with a little room on both sides, with few round ticks."""
    low, high = limits(values, log)
    ticks = round_ticks(low, high, log)
    set_limits = axis.axes.set_xlim if axis.axis_name == "x" else axis.axes.set_ylim
    set_scale = axis.axes.set_xscale if axis.axis_name == "x" else axis.axes.set_yscale
    set_scale("log" if log else "linear")
    set_limits(low, high)
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_minor_locator(NullLocator())
    step = min((b - a for a, b in itertools.pairwise(ticks)), default=abs(low) or 1.0)
    axis.set_major_formatter(FuncFormatter(lambda value, _: tick_text(value, 0.0 if log else step)))


def limits(values: Iterable[float], log: bool = False) -> tuple[float, float]:
    """Return the ends of a scale that holds the values with a little room on both sides."""
    values = list(values)
    low, high = min(values), max(values)
    if log:
        room = max(high / low, 1.2) ** 0.08
        return low / room, high * room
    room = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    return low - room, high + room


def round_ticks(low: float, high: float, log: bool = False) -> list[float]:
    """Return two to eight round values from ``low`` to ``high``; on a logarithmic scale powers of ten if they do."""
    if log:
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for steps in ((1,), (1, 3), (1, 2, 5)):
            ticks = [step * 10.0**decade for decade in decades for step in steps]
            ticks = [tick for tick in ticks if low <= tick <= high]
            if len(ticks) >= 3:
                return ticks[:: math.ceil(len(ticks) / 7)]
        if len(ticks) >= 2:
            return ticks
    rough = (high - low) / 5
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough)
    return [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def tick_text(value: float, step: float) -> str:
    """Write a tick: thousands as ``k``, and as many decimals as the distance of ticks has, 0 for as few as do."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{unit}"
    if not step:
        return f"{value:g}"
    return f"{value + 0.0:.{max(0, -math.floor(math.log10(step) + 1e-9))}f}"


def _label(
    axes: Axes,
    points: Sequence[Point],
    labelled: Sequence[Point],
    fronts: Sequence[Sequence[Point]],
    levels: Sequence[Level],
) -> dict[str, list[str]]:
    """Write labels beside points in the axes where they fit: on no point or label, on a line only if need be."""
    at = {id(point): tuple(axes.transData.transform((point.x, point.y))) for point in points}
    taken = [(x - 6, y - 6, x + 6, y + 6) for x, y in at.values()]
    lines = []
    for front in fronts:
        for (x0, y0), (x1, y1) in itertools.pairwise(at[id(point)] for point in front):
            lines += [(x0, y0 - 1, x1, y0 + 1), (x1 - 1, y1, x1 + 1, y0)]
    names: dict[str, list[str]] = {}
    for number, level in enumerate(levels):
        y = axes.transData.transform((points[0].x, level.y))[1]
        lines.append((LEFT, y - 1, WIDTH - RIGHT, y + 1))
        if place := _write(axes, _printable(level.label), (LEFT, y), _ON_A_LINE, taken, lines, f"label-level-{number}"):
            taken.append(place)
            names[f"label-level-{number}"] = [level.name]
    texts = tell_apart([_printable(point.label) for point in labelled], LONGEST_LABEL)
    for number, (point, text) in enumerate(zip(labelled, texts, strict=True)):
        if place := _write(axes, text, at[id(point)], _PLACES, taken, lines, f"label-{number}"):
            taken.append(place)
            names[f"label-{number}"] = [point.name]
    return names


def _write(
    axes: Axes,
    text: str,
    at: tuple[float, float],
    places: Sequence[Place],
    taken: Sequence[Box],
    lines: Sequence[Box],
    gid: str,
) -> Box | None:
    """Write a label in the first place with room for it, on a line only if need be; return the box that it fills."""
    width = _width(text)
    found = _place(at, width, places, [*taken, *lines]) or _place(at, width, places, taken)
    if found is None:
        return None
    (right, up, side), box = found
    axes.annotate(
        text,
        at,
        xycoords="figure points",
        xytext=(right, up - 0.36 * LABEL_SIZE),
        textcoords="offset points",
        ha=side,
        va="baseline",
        fontsize=LABEL_SIZE,
        color=THEME["ink"],
        parse_math=False,
        gid=gid,
    )
    return box


def _place(
    at: tuple[float, float], width: float, places: Sequence[Place], taken: Sequence[Box]
) -> tuple[Place, Box] | None:
    """Return the first place with room for a label of a width, and the box that it fills there."""
    x, y = at
    for right, up, side in places:
        left = x + right - {"left": 0, "center": width / 2, "right": width}[side]
        box = (left, y + up - LABEL_HEIGHT / 2, left + width, y + up + LABEL_HEIGHT / 2)
        inside = box[0] > LEFT and box[2] < WIDTH - RIGHT and box[1] > BOTTOM and box[3] < HEIGHT - TOP
        if inside and not any(_overlap(box, other) for other in taken):
            return (right, up, side), box
    return None


def _printable(label: str) -> str:
    # A control character has no place in XML.
    return "".join(letter if letter.isprintable() else " " for letter in label)


def _width(text: str) -> float:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        return text_to_path.get_text_width_height_descent(text, _FONT, ismath=False)[0]


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
