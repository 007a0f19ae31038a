"""The drawings of a report: places, scales, fronts, labels."""

from __future__ import annotations

import random
import re
import warnings
from importlib import resources

import pytest

from genlab.comparison import plots
from genlab.comparison.plots import Point, Series, limits, line_plot, round_ticks, scatter_plot, tick_text
from genlab.comparison.svg import THEME
from tests.comparison.pages import Page, corners, drawn


def test_a_line_plot_places_its_points() -> None:
    (curve,) = drawn(line_plot([Series("a", 0, [(0.0, 2.0), (10.0, 1.0)])], "x", "y", "title", "i"), "curve")
    (x0, y0), (x1, y1) = corners(curve)
    assert x0 < x1
    assert y0 < y1, "SVG's y grows downwards"


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("values", [[1.0], [0.001, 1000.0], [1.07, 1.08], [5.0, 5.0], [3.0, 40.0]])
def test_ticks_are_few_and_within_and_read_differently(values: list[float], log: bool) -> None:
    low, high = limits(values, log)
    assert low < min(values)
    assert max(values) < high
    ticks = round_ticks(low, high, log)
    assert 2 <= len(ticks) <= 8
    assert all(low <= tick <= high for tick in ticks)
    texts = [tick_text(tick, 0.0 if log else ticks[1] - ticks[0]) for tick in ticks]
    assert len(set(texts)) == len(texts)


def test_a_scatter_plot_has_a_front_for_each_set_of_rivals() -> None:
    points = [Point("p", "p", 0, x, y, rivals) for rivals in "ab" for x, y in ((1, 3), (2, 2), (3, 2.5))]
    fronts = drawn(scatter_plot(points, "x", "y", "title", "i"), "front")
    assert len(fronts) == 2
    for front in fronts:
        (x0, y0), across, (x1, y1) = corners(front)
        assert across == (x1, y0), "a step: across at the height of the first, then to the second"
        assert x0 < x1
        assert y0 < y1


@pytest.mark.parametrize("floor", [0.1, 2.5, 40.0])
def test_a_level_lies_across_the_whole_plot_where_its_figure_is(floor: float) -> None:
    points = [Point("p", "p", 0, x, y) for x, y in ((1, 30), (2, 2), (3, 1))]
    level = plots.Level("the floor", "floor", floor)
    drawing = scatter_plot(points, "x", "y", "title", "i", [level])
    (line,) = drawn(drawing, "level")
    (left, height), (right, same) = corners(line)
    assert height == same
    assert left == pytest.approx(plots.LEFT)
    assert right == pytest.approx(plots.WIDTH - plots.RIGHT)
    marks = [float(y) for y in re.findall(r'<use href="[^"]*" x="[^"]*" y="([^"]*)"[^>]*><title>p<', drawing)]
    assert [y < height for y in marks] == [point.y > floor for point in points], "SVG's y grows downwards"
    assert plots.TOP < height < plots.HEIGHT - plots.BOTTOM
    assert any(">floor</text>" in label for label in drawn(drawing, "label"))
    assert "stroke-dasharray" in line
    assert 'stroke="var(--muted, ' in line, "as the page's theme has it"


def test_a_level_that_a_logarithmic_scale_lacks_is_left_out() -> None:
    level = plots.Level("the floor", "floor", -0.01)
    for highest, count in ((30, 0), (2, 1)):
        points = [Point("p", "p", 0, 1, 1), Point("p", "p", 0, 2, highest)]
        assert len(drawn(scatter_plot(points, "x", "y", "title", "i", [level]), "level")) == count


def test_every_point_has_its_own_name_and_place() -> None:
    points = [Point(f"name {number}", "", number % 5, number + 1.0, 1.0 + number % 7) for number in range(60)]
    drawing = scatter_plot(points, "x", "y", "title", "i")
    marks = re.findall(r'<use href="[^"]*" x="([^"]*)" y="([^"]*)"[^>]*><title>name (\d+)</title>', drawing)
    assert len(marks) == 60
    placed = {int(number): (float(x), float(y)) for x, y, number in marks}
    across = [placed[number][0] for number in range(60)]
    assert across == sorted(across)
    assert placed[0][1] > placed[6][1]


def test_labels_neither_overlap_nor_leave_the_axes_and_the_front_goes_first() -> None:
    chance = random.Random(0)
    points = [
        Point("p", f"a name of {number}", number % 24, 10 ** chance.uniform(0, 2), chance.random(), "same")
        for number in range(80)
    ]
    drawing = scatter_plot(points, "x", "y", "title", "i")
    boxes = []
    for anchor, x, y, words in re.findall(
        r'<g class="label"><title>p</title><text [^>]*text-anchor="(\w+)"[^>]* x="(\S+)" y="(\S+)">([^<]*)', drawing
    ):
        width = 4.5 * len(words)  # no font that a page would use is narrower
        left = float(x) - {"start": 0, "middle": width / 2, "end": width}[anchor]
        boxes.append((left, float(y) - 8, left + width, float(y)))
    assert len(boxes) > 5
    for number, (left, top, right, bottom) in enumerate(boxes):
        assert left >= plots.LEFT
        assert right <= plots.WIDTH - plots.RIGHT
        assert top >= plots.TOP
        assert bottom <= plots.HEIGHT - plots.BOTTOM
        for a, b, c, d in boxes[:number]:
            assert right <= a or c <= left or bottom <= b or d <= top


def test_of_two_points_close_by_at_the_edge_both_have_a_label() -> None:
    places = {"gmm": (0.1, 5.0), "rnn": (12.0, 3.1), "flow_matching": (52.0, 3.19), "transformer": (117.0, 3.18)}
    points = [Point(name, name, number, *at) for number, (name, at) in enumerate(places.items())]
    drawing = scatter_plot(points, "x", "y", "title", "i")
    assert len(drawn(drawing, "label")) == len(points)


def test_names_are_text_whatever_they_hold() -> None:
    names = ["$x_{1$", "a\x00b", "\N{CJK UNIFIED IDEOGRAPH-6A21}", "<b>&", "\\frac{"]
    points = [Point(name, name, number, 10.0**number, 1.0 + number) for number, name in enumerate(names)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawing = scatter_plot(points, "$x", "y_{", "<title>", "i")
    Page(drawing)
    assert "&lt;b&gt;&amp;" in drawing
    assert "$x_{1$" in drawing


def test_colours_are_those_of_the_pages_light_theme() -> None:
    css = resources.files("genlab.comparison").joinpath("templates", "report.css").read_text()
    light = dict(re.findall(r"--([\w-]+): (#\w+)", css[: css.index("@media")]))
    assert {name: light[name] for name in THEME} == THEME
    drawing = scatter_plot([Point("p", "p", n, 1.0 + n, 1.0) for n in range(24)], "x", "y", "title", "i")
    assert not re.search(r'(fill|stroke)="(?!var|none)', drawing)
