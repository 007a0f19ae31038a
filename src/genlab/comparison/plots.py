"""Line and scatter plots as inline SVG, without style attributes: colours come from the page's classes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["Point", "Scale", "Series", "line_plot", "pareto_front", "scatter_plot"]

WIDTH, HEIGHT = 460, 320
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 14, 46
CHARACTER, LINE = 6.6, 14
"""About what a character of a label takes, in units of the drawing."""

COLORS, DASHES = 8, 3

WIDE = 8
"""Ratio of the highest to the lowest figure from which equal ratios are drawn alike."""


@dataclass(frozen=True)
class Series:
    """A curve: its name, its number among the colours, its points by rising x."""

    name: str
    number: int
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Point:
    """A mark: its name, its number among the colours, where it stands.

    Attributes:
        label: Short name, written beside it where there is room.
        rivals: Points with the same text compete for one Pareto front.
    """

    name: str
    label: str
    number: int
    x: float
    y: float
    rivals: str = ""


@dataclass(frozen=True)
class Scale:
    """Maps values to positions.

    Attributes:
        low: Value at ``start``.
        high: Value at ``end``.
        start: Position of ``low``.
        end: Position of ``high``.
        log: Whether equal ratios, not equal differences, are equally far apart.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Return the position of a value."""
        low, high, at = (math.log(v) if self.log else v for v in (self.low, self.high, value))
        return self.start + (at - low) / (high - low) * (self.end - self.start)

    @classmethod
    def around(cls, values: Iterable[float], start: float, end: float, log: bool = False) -> Scale:
        """Return a scale that holds the values with a little room on both sides."""
        values = list(values)
        low, high = min(values), max(values)
        if log:
            room = max(high / low, 1.2) ** 0.08
            return cls(low / room, high * room, start, end, True)
        room = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
        return cls(low - room, high + room, start, end)

    def ticks(self) -> list[float]:
        """Return round values within the scale, about five."""
        if self.log:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            for steps in ((1,), (1, 3), (1, 2, 5)):
                ticks = [step * 10.0**decade for decade in decades for step in steps]
                ticks = [tick for tick in ticks if self.low <= tick <= self.high]
                if len(ticks) >= 3:
                    return ticks[:: math.ceil(len(ticks) / 7)]
            if len(ticks) >= 2:
                return ticks
        rough = (self.high - self.low) / 5
        unit = 10.0 ** math.floor(math.log10(rough))
        step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough)
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        return [number * step for number in range(first, last + 1)]


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the indices, by rising x, of points that no other beats: none is as low in both and lower in one."""
    front: list[int] = []
    lowest = math.inf
    for index in sorted(range(len(points)), key=lambda index: points[index]):
        if points[index][1] < lowest or (front and points[index] == points[front[-1]]):
            front.append(index)
            lowest = points[index][1]
    return front


def line_plot(series: Sequence[Series], x_label: str, y_label: str, title: str, ident: str) -> str:
    """Return curves as SVG. What is far above most of a curve, as its beginning can be, is cut off.

    Args:
        series: At least one, each with a point.
        x_label: Below the plot, with its unit.
        y_label: Beside the plot, with its unit.
        title: Read out in place of the plot.
        ident: Begins the ids in the drawing; used once in a page.
    """
    low = min(y for curve in series for _, y in curve.points)
    # A tenth of a curve is the fall from its first weights, against which the rest would look flat.
    settled = [y for curve in series for _, y in curve.points[len(curve.points) // 10 :]]
    x = Scale.around((x for curve in series for x, _ in curve.points), LEFT, WIDTH - RIGHT)
    y = Scale.around([low, max(settled)], HEIGHT - BOTTOM, TOP)
    body = [f'<clipPath id="{ident}-clip"><rect {_box()}/></clipPath>', f'<g clip-path="url(#{ident}-clip)">']
    for curve in series:
        path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in curve.points)
        classes = f"curve c{curve.number % COLORS} d{curve.number // COLORS % DASHES}"
        body.append(f'<polyline class="{classes}" points="{path}"><title>{escape(curve.name)}</title></polyline>')
        if len(curve.points) == 1:
            body.append(_circle(x(curve.points[0][0]), y(curve.points[0][1]), curve.number, curve.name))
    body.append("</g>")
    return _drawing(x, y, x_label, y_label, title, ident, body)


def scatter_plot(points: Sequence[Point], x_label: str, y_label: str, title: str, ident: str) -> str:
    """Return points over a logarithmic x axis as SVG, with the Pareto front of each set of rivals.

    Args:
        points: At least one; x above 0; lower is better on both axes.
        x_label: Below the plot, with its unit.
        y_label: Beside the plot, with its unit.
        title: Read out in place of the plot.
        ident: Begins the ids in the drawing; used once in a page.
    """
    x = Scale.around((point.x for point in points), LEFT, WIDTH - RIGHT, log=True)
    low, high = min(point.y for point in points), max(point.y for point in points)
    y = Scale.around([low, high], HEIGHT - BOTTOM, TOP, log=low > 0 and high > WIDE * low)
    body: list[str] = []
    first: list[Point] = []
    for rivals in dict.fromkeys(point.rivals for point in points):
        rows = [point for point in points if point.rivals == rivals]
        front = [rows[index] for index in pareto_front([(row.x, row.y) for row in rows])]
        first += front
        if len(front) > 1:
            body.append(f'<path class="front" d="{_steps([(x(p.x), y(p.y)) for p in front])}"/>')
    body += [_circle(x(point.x), y(point.y), point.number, point.name) for point in points]
    # The front is named first: where labels find no room, the others go without.
    body += _labels([*first, *(point for point in points if point not in first)], x, y)
    return _drawing(x, y, x_label, y_label, title, ident, body)


def _steps(corners: Sequence[tuple[float, float]]) -> str:
    (left, top), *rest = corners
    return f"M{left:.1f} {top:.1f}" + "".join(f"H{across:.1f}V{down:.1f}" for across, down in rest)


def _circle(x: float, y: float, number: int, name: str) -> str:
    classes = f"point c{number % COLORS}"
    return f'<circle class="{classes}" cx="{x:.1f}" cy="{y:.1f}" r="5"><title>{escape(name)}</title></circle>'


def _labels(points: Sequence[Point], x: Scale, y: Scale) -> Iterator[str]:
    taken = [(x(p.x) - 6, y(p.y) - 6, x(p.x) + 6, y(p.y) + 6) for p in points]
    for point in points:
        name = point.label if len(point.label) <= 22 else f"{point.label[:21]}…"
        width, across, down = CHARACTER * len(name), x(point.x), y(point.y)
        for left, middle in (
            (across + 9, down), (across - 9 - width, down), (across - width / 2, down - 15),
            (across - width / 2, down + 15), (across + 7, down - 12), (across + 7, down + 12),
        ):  # fmt: skip
            box = (left, middle - LINE / 2, left + width, middle + LINE / 2)
            inside = box[0] > LEFT and box[2] < WIDTH - RIGHT and box[1] > TOP and box[3] < HEIGHT - BOTTOM
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                yield f'<text class="label" x="{left:.1f}" y="{middle + 4:.1f}">{escape(name)}</text>'
                break


def _overlap(a: Sequence[float], b: Sequence[float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _box() -> str:
    return f'x="{LEFT}" y="{TOP}" width="{WIDTH - LEFT - RIGHT}" height="{HEIGHT - TOP - BOTTOM}"'


def _drawing(x: Scale, y: Scale, x_label: str, y_label: str, title: str, ident: str, body: Sequence[str]) -> str:
    lines = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="{ident}-title">',
        f'<title id="{ident}-title">{escape(title)}</title>',
    ]
    for tick in y.ticks():
        lines.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>')
        lines.append(f'<text class="tick end" x="{LEFT - 7}" y="{y(tick) + 4:.1f}">{_tick(tick, y)}</text>')
    base = HEIGHT - BOTTOM
    for tick in x.ticks():
        lines.append(f'<line class="axis" x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{base}" y2="{base + 4}"/>')
        lines.append(f'<text class="tick middle" x="{x(tick):.1f}" y="{base + 17}">{_tick(tick, x)}</text>')
    lines.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{base}" y2="{base}"/>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    lines.append(f'<text class="name middle" x="{middle:.1f}" y="{HEIGHT - 8}">{escape(x_label)}</text>')
    turned = f'transform="translate(13 {(TOP + base) / 2:.1f}) rotate(-90)"'
    lines.append(f'<text class="name middle" {turned}>{escape(y_label)}</text>')
    return "\n".join([*lines, *body, "</svg>"])


def _tick(value: float, scale: Scale) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{unit}"
    if scale.log:
        return f"{value:g}"
    ticks = scale.ticks()
    step = ticks[1] - ticks[0] if len(ticks) > 1 else value or 1.0
    return f"{value:.{max(0, -math.floor(math.log10(abs(step)) + 1e-9))}f}"
