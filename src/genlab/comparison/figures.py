"""The figures of the HTML report, as its templates show them: pictures, curves, trade-offs, figures that are lists."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from genlab.comparison.artifacts import (
    neighbours_picture,
    picture_uri,
    picture_width,
    reconstructions_caption,
    reconstructions_picture,
    samples_picture,
    samples_text,
    sound_uris,
    validation_curve,
    was_validated,
)
from genlab.comparison.cells import listed
from genlab.comparison.columns import LIKELIHOOD, Column, columns, leading_columns
from genlab.comparison.plots import LEAST, STYLES, Level, Point, Series, line_plot, scatter_plot
from genlab.comparison.ranking import Group, Row, comparable_set
from genlab.comparison.reading import RunResult
from genlab.comparison.references import FLOOR
from genlab.measure.figures import FIGURES, Figure, validated

__all__ = [
    "ColumnTable",
    "Gallery",
    "ListTable",
    "Picture",
    "Plot",
    "column_tables",
    "curves",
    "galleries",
    "list_tables",
    "row_name",
    "trade_offs",
]

MOST_PICTURES = 24
MOST_CURVES = STYLES
MOST_POINTS = 200
LEAST_DRAWN = 1000
"""Pixels across from which on a picture is a drawing, to be seen large and smooth; grids of images have fewer."""
MOST_COLUMNS, MOST_ROWS = 30, 12
"""Columns of data and rows of a comparison that a table of the figures of columns shows."""
SAME_COST = 1.05
"""Costs within this ratio, as of trainings under one budget of minutes, differ by chance: no plot is made of them."""

_KINDS_DIFFER = "The kinds of likelihood are those of the table."
_SAMPLES = "The first samples of each row's lowest seed, none chosen."
_FEW_SAMPLES = "Of few samples and the validation split, so not the figure of the table."
_NEIGHBOURS = (
    "The samples that lie nearest to a training example in the features of the extractor, the nearest first. In each "
    "pair the sample is above, its training example below."
)
_RECONSTRUCTIONS = (
    "Some held-out examples and what their codes decode to. Errors are means over those shown, before any rounding, "
    "and compare models of one kind of code: what a code keeps depends on its size."
)


@dataclass(frozen=True)
class Picture:
    """A picture of a run.

    Attributes:
        row: The row that it stands for.
        name: What stands below it.
        alt: What it shows, in words.
        uri: The file itself, as a ``data:`` URI.
        drawn: Whether it is a drawing, and no grid of pixels.
        text: The samples to read; empty where they are no text.
        sounds: Samples to listen to, as ``data:`` URIs.
        caption: What more is said of it; may be empty.
    """

    row: Row
    name: str
    alt: str
    uri: str
    drawn: bool = False
    text: str = ""
    sounds: Sequence[str] = ()
    caption: str = ""


@dataclass(frozen=True)
class Gallery:
    """Pictures of one kind, side by side.

    Attributes:
        name: Its heading.
        pictures: At least one.
        left_out: How many more rows have such a picture.
        note: Stands below; may be empty.
        in_rows: Whether pictures are rows of examples, of any shape, and not square grids.
    """

    name: str
    pictures: Sequence[Picture]
    left_out: int
    note: str
    in_rows: bool


@dataclass(frozen=True)
class Plot:
    """A drawing with what a reader needs to know about it.

    Attributes:
        svg: The drawing.
        caption: What is drawn, and how to read it.
        mark: What stands for a row in it, ``"curve"`` or ``"point"``.
        legend: The rows by the number of their style; empty where there are more rows than styles.
        rows: All rows in it.
        left_out: How many more rows could be in it.
    """

    svg: str
    caption: str
    mark: str
    legend: Sequence[tuple[int, Row]]
    rows: Sequence[Row]
    left_out: int = 0


@dataclass(frozen=True)
class ListTable:
    """A figure that is a list, such as the recall of each class, of the lowest seed of each row.

    Attributes:
        name: What it is.
        places: The numbers of the places of the longest list.
        rows: Each with a value for each place, None where it is not known.
    """

    name: str
    places: Sequence[int]
    rows: Sequence[tuple[Row, Sequence[float | None]]]


@dataclass(frozen=True)
class ColumnTable:
    """A figure of each column of the data, of the lowest seed of each row, the worst column first.

    Attributes:
        name: What it is.
        rows: Whose figures stand side by side.
        lines: The name of a column, and its figure for each row; None where it is not known.
        columns_left_out: How many better columns there are.
        rows_left_out: How many more rows have such figures.
        write: Writes a figure as text.
    """

    name: str
    rows: Sequence[Row]
    lines: Sequence[tuple[str, Sequence[float | None]]]
    columns_left_out: int
    rows_left_out: int
    write: Callable[[float], str]


def row_name(row: Row) -> str:
    """Return a row's whole name in plain text: model, reference, variant, note."""
    reference = "" if row.reference == row.model else row.reference  # as the floor, which is called so
    remarks = ", ".join(filter(None, (reference, row.first.variant, row.note)))
    return f"{row.model} ({remarks})" if remarks else row.model


def galleries(group: Group) -> list[Gallery]:
    """Return the sample grids, real data's first, the pictures of nearest training examples and of reconstructions.

    Of each row they are the lowest seed's; the floor's is of real data.
    """
    found = (
        _with_samples(_gallery(group, "Samples", samples_picture, _SAMPLES)),
        _gallery(group, "Nearest training examples", neighbours_picture, _NEIGHBOURS),
        _with_errors(_gallery(group, "Reconstructions", reconstructions_picture, _RECONSTRUCTIONS)),
    )
    return [gallery for gallery in found if gallery.pictures]


def _with_samples(gallery: Gallery) -> Gallery:
    """Add the samples themselves, where they are to be read or listened to."""
    pictures = [
        replace(picture, text=samples_text(picture.row.first), sounds=sound_uris(picture.row.first))
        for picture in gallery.pictures
    ]
    return replace(gallery, pictures=pictures)


def _with_errors(gallery: Gallery) -> Gallery:
    """Add how far off reconstructions are."""
    pictures = [replace(picture, caption=reconstructions_caption(picture.row.first)) for picture in gallery.pictures]
    return replace(gallery, pictures=pictures)


def _gallery(group: Group, name: str, find: Callable[[RunResult], Path | None], note: str) -> Gallery:
    pictures, left_out = [], 0
    for row in group.rows:
        path = find(row.first)
        if path is None:
            continue
        if len(pictures) == MOST_PICTURES:
            left_out += 1
        elif (uri := picture_uri(path)) is not None:
            shown = f"real data, {row.first.variant}" if row.reference == FLOOR else row_name(row)
            drawn = picture_width(path) >= LEAST_DRAWN
            pictures.append(Picture(row, shown, f"{name} of {shown}, run {row.first.run_id}", uri, drawn))
    return Gallery(name, pictures, left_out, note, in_rows=find is not samples_picture)


def curves(group: Group, ident: str) -> list[Plot]:
    """Return plots of validation against examples seen: a curve for each run, a style for each row.

    Args:
        group: Whose runs.
        ident: Makes the ids in the drawings their own.
    """
    unit = group.data.unit
    plots = []
    for figure in validated(headlines_only=True):
        of_likelihood = figure.basis == "likelihood"
        if of_likelihood and (figure.key == "nats") != (unit == "nats"):  # nats of levels would be the same curve again
            continue
        label = f"validation NLL ({unit})" if of_likelihood else f"validation {figure.label}"
        name = f"val/{figure.key}"
        remark = f"{_KINDS_DIFFER}{_not_validated(group, name)}" if of_likelihood else _FEW_SAMPLES
        plots.append(_curves(group, name, label, remark, f"{ident}-{figure.key}-curves"))
    return [plot for plot in plots if plot is not None]


def _not_validated(group: Group, name: str) -> str:
    """Name the models that have a likelihood in the table, but none from their validation."""
    models = [
        row.model
        for row in group.rows
        if LIKELIHOOD.key in row.figures
        and any(map(was_validated, row.runs))
        and not any(validation_curve(run, name) for run in row.runs)
    ]
    return f" Without a curve: {listed(models)}, whose validation measures no likelihood." if models else ""


def _curves(group: Group, name: str, label: str, remark: str, ident: str) -> Plot | None:
    found: list[tuple[int, list[Series]]] = []
    for number, row in enumerate(group.rows):
        points = ((run, validation_curve(run, name)) for run in row.runs)
        series = [Series(f"{row_name(row)}, run {run.run_id}", 0, curve) for run, curve in points if curve]
        if series:
            found.append((number, series))
    shown = found[:MOST_CURVES]
    if not shown:
        return None
    numbers = [number for number, _ in shown]
    styles = _styles(numbers)
    drawn = [
        Series(series.name, style, series.points)
        for style, (_, of_row) in zip(styles, shown, strict=True)
        for series in of_row
    ]
    title = f"{label[0].upper()}{label[1:]} against examples seen, on {group.data.name}"
    rows = [group.rows[number] for number in numbers]
    return Plot(
        line_plot(drawn, "examples seen", label, title, ident),
        f"{title}; one curve for each seed. {remark}",
        "curve",
        list(zip(styles, rows, strict=True)),
        rows,
        len(found) - len(shown),
    )


def trade_offs(group: Group, ident: str) -> list[Plot]:
    """Return plots of quality against the cost of sampling and of training, with Pareto fronts.

    There is none where fewer than two rows have both figures, or where the cost is the same for all.

    Args:
        group: Whose rows.
        ident: Makes the ids in the drawings their own.
    """
    by_key = {column.key: column for column in columns()}
    costs = {
        figure.column or figure.key: f"{figure.cost} ({figure.cost_unit})" for figure in FIGURES.values() if figure.cost
    }
    plots = (
        _trade_off(group, quality, by_key[cost], label, f"{ident}-{quality.key}-{cost}")
        for quality in leading_columns()
        for cost, label in costs.items()
    )
    return [plot for plot in plots if plot is not None]


def _trade_off(group: Group, quality: Column, cost: Column, label: str, ident: str) -> Plot | None:
    found = [
        number
        for number, row in enumerate(group.rows)
        if quality.key in row.figures and row.figures.get(cost.key) and row.figures[cost.key].mean > LEAST
    ]
    numbers = found[:MOST_POINTS]
    costs = [group.rows[number].figures[cost.key].mean for number in numbers]
    if len(numbers) < 2 or max(costs) < SAME_COST * min(costs):
        return None
    rows = [group.rows[number] for number in numbers]
    styles = _styles(numbers)
    models = Counter(row.model for row in group.rows)
    points = [
        Point(
            f"{row_name(row)}: {_figure(row, quality)}, {_figure(row, cost)}",
            row.model if models[row.model] == 1 else row_name(row),
            style,
            row.figures[cost.key].mean,
            row.figures[quality.key].mean,
            # Costs compare on one device, and qualities as they do in the table.
            repr((comparable_set(row, quality), row.sampling_device if cost.basis == "hardware" else row.device)),
        )
        for style, row in zip(styles, rows, strict=True)
    ]
    unit = f"NLL ({group.data.unit})" if quality.key == "likelihood" else quality.heading
    title = f"{unit} against {label}, on {group.data.name}"
    floors = [row for row in group.rows if row.reference == FLOOR and quality.key in row.figures]
    means = [row.figures[quality.key].mean for row in floors]
    levels = [
        Level(f"{row_name(row)}: {_figure(row, quality)}", f"{FLOOR} {quality.write(mean)}", mean)
        for row, mean in zip(floors, means, strict=True)
    ]
    return Plot(
        scatter_plot(points, label, unit, title, ident, levels),
        f"{title}; lower is better on both axes. A dashed line is the Pareto front of rows on one device whose figures "
        f"compare.{''.join(f' The floor has {_figure(row, quality)}.' for row in floors)}",
        "point",
        list(zip(styles, rows, strict=True)) if len(rows) <= STYLES else [],
        rows,
        len(found) - len(numbers),
    )


def _figure(row: Row, column: Column) -> str:
    return f"{column.heading} {column.write(row.figures[column.key].mean, None)}"


def _styles(numbers: Sequence[int]) -> list[int]:
    """Return a style for each row: the same in all plots of a group, unless that has more rows than styles."""
    return list(numbers) if max(numbers) < STYLES else [place % STYLES for place in range(len(numbers))]


def list_tables(group: Group) -> list[ListTable]:
    """Return a table for each figure that is a list and that a row has."""
    return [_list_table(figure, rows) for figure, rows in _lists(group) if not figure.of_columns]


def column_tables(group: Group) -> list[ColumnTable]:
    """Return a table for each figure of the columns of the data that a row has."""
    return [_column_table(figure, rows) for figure, rows in _lists(group) if figure.of_columns]


def _lists(group: Group) -> list[tuple[Figure, list[Row]]]:
    having = ((figure, [row for row in group.rows if figure.key in row.first.lists]) for figure in FIGURES.values())
    return [(figure, rows) for figure, rows in having if rows]


def _column_table(figure: Figure, rows: Sequence[Row]) -> ColumnTable:
    shown = rows[:MOST_ROWS]
    table = _list_table(figure, shown)
    names = max((row.first.columns for row in shown), key=len)
    lines = [
        (names[place] if place < len(names) else str(number), [values[place] for _, values in table.rows])
        for place, number in enumerate(table.places)
    ]
    # A model's worst, not that of the real rows of the floor.
    judged = [place for place, row in enumerate(shown) if row.reference != FLOOR] or range(len(shown))
    worst = min if figure.better == "higher" else max
    ahead = -1 if worst is max else 1

    def order(line: tuple[str, Sequence[float | None]]) -> tuple[bool, float]:
        known = [value for place in judged if (value := line[1][place]) is not None]
        return not known, ahead * worst(known) if known else 0.0

    lines.sort(key=order)
    return ColumnTable(
        table.name, shown, lines[:MOST_COLUMNS], max(0, len(lines) - MOST_COLUMNS), len(rows) - len(shown), figure.write
    )


def _list_table(figure: Figure, rows: Sequence[Row]) -> ListTable:
    places = max(len(row.first.lists[figure.key]) for row in rows)
    padded = [(row, [*row.first.lists[figure.key], *[None] * places][:places]) for row in rows]
    return ListTable(figure.label.capitalize(), range(figure.first, figure.first + places), padded)
