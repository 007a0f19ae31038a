"""The figures of the HTML report: pictures, curves, trade-offs, recall of each class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from html import escape
from pathlib import Path

from genlab.comparison.artifacts import neighbours_picture, picture_uri, samples_picture, validation_curve
from genlab.comparison.columns import Column, columns, likelihood_unit
from genlab.comparison.plots import COLORS, DASHES, Point, Series, line_plot, scatter_plot
from genlab.comparison.ranking import Group, Row, comparable_set
from genlab.comparison.reading import RunResult
from genlab.comparison.tables import UNKNOWN, row_name
from genlab.measure.figures import FIGURES, Figure

__all__ = ["curves", "neighbours", "recalls", "samples", "trade_offs"]

MOST_PICTURES = 24
MOST_CURVES = COLORS * DASHES
MOST_POINTS = 200

_KINDS_DIFFER = "The kinds of likelihood are those of the table."
_FEW_SAMPLES = "Of few samples and the validation split, so not the figure of the table."
_QUALITIES = ("fid", "likelihood")
_COSTS = {"ms_per_sample": "sampling cost (ms per sample)", "train_minutes": "training cost (minutes)"}


def samples(group: Group) -> Iterator[str]:
    """Give the lines of the sample grids, side by side at one size; of each row the lowest seed's."""
    yield from _pictures(group, "Samples", "Samples of", samples_picture)


def neighbours(group: Group) -> Iterator[str]:
    """Give the lines of the pictures of samples beside their nearest training examples."""
    lines = list(_pictures(group, "Nearest training examples", "Nearest training examples of", neighbours_picture))
    if lines:
        yield from lines
        yield (
            '<p class="notes">Of all samples those that lie nearest to a training example, in the features of the '
            "extractor; the nearest first. In each pair the sample is above, its training example below.</p>"
        )


def _pictures(group: Group, name: str, what: str, find: Callable[[RunResult], Path | None]) -> Iterator[str]:
    figures, left_out = [], 0
    for row in group.rows:
        path = find(row.first)
        if path is None:
            continue
        if len(figures) == MOST_PICTURES:
            left_out += 1
        elif (uri := picture_uri(path)) is not None:
            alt = escape(f"{what} {row_name(row)}, run {row.first.run_id}")
            figures.append(
                f'<figure><button type="button" class="open" aria-label="Enlarge: {alt}">'
                f'<img alt="{alt}" src="{uri}" width="480" height="480"></button>'
                f"<figcaption>{_source(row, row.first)}</figcaption></figure>"
            )
    if figures:
        yield f'<h3>{name}</h3><div class="grids">'
        yield from figures
        yield "</div>"
        yield from _left_out(left_out, "pictures")


def _left_out(count: int, what: str) -> Iterator[str]:
    if count:
        yield f'<p class="notes">{count} more {what} are left out; a comparison of fewer runs shows them.</p>'


def _source(row: Row, run: RunResult) -> str:
    return (
        f"<strong>{escape(row_name(row))}</strong> <code>{escape(run.run_id)}</code>"
        f"<details><summary>command</summary><code>{escape(run.command)}</code></details>"
    )


def curves(group: Group, ident: str) -> Iterator[str]:
    """Give the lines of the plots of validation against examples seen: a curve for each run, a colour for each row.

    Args:
        group: Whose runs.
        ident: Begins the ids in the drawings.
    """
    unit = likelihood_unit(group.data.levels or None)
    likelihood = "val/bits_per_dim" if group.data.levels else "val/nats"
    figures = [
        *_curves(group, likelihood, f"validation NLL ({unit})", _KINDS_DIFFER, f"{ident}-curves"),
        *_curves(group, "val/fid", "validation FID", _FEW_SAMPLES, f"{ident}-fid-curves"),
        *_curves(group, "val/sliced_wasserstein", "validation sliced Wasserstein", _FEW_SAMPLES, f"{ident}-sw-curves"),
    ]
    if figures:
        yield '<h3>Training curves</h3><div class="plots">'
        yield from figures
        yield "</div>"


def _curves(group: Group, name: str, label: str, remark: str, ident: str) -> Iterator[str]:
    series: list[Series] = []
    shown: list[tuple[int, Row]] = []
    left_out = 0
    for number, row in enumerate(group.rows):
        points = [(run, found) for run in row.runs if (found := validation_curve(run, name))]
        if points and len(shown) == MOST_CURVES:
            left_out += 1
        elif points:
            shown.append((number, row))
            series += [Series(f"{row_name(row)}, run {run.run_id}", number, found) for run, found in points]
    if not series:
        return
    title = f"{label[0].upper()}{label[1:]} against examples seen, on {group.data.name}"
    yield f"<figure>{line_plot(series, 'examples seen', label, title, ident)}"
    yield f"<figcaption>{escape(title)}; one curve for each seed. {remark}{_legend(shown)}"
    yield f"{_commands([row for _, row in shown])}</figcaption>"
    yield from _left_out(left_out, "curves")
    yield "</figure>"


def _legend(rows: Sequence[tuple[int, Row]]) -> str:
    items = []
    for number, row in rows:
        classes = f"curve c{number % COLORS} d{number // COLORS % DASHES}"
        swatch = f'<svg viewBox="0 0 28 12" aria-hidden="true"><path class="{classes}" d="M0 6H28"/></svg>'
        items.append(f"<li>{swatch}{escape(row_name(row))}</li>")
    return f'<ul class="legend">{"".join(items)}</ul>'


def _commands(rows: Sequence[Row]) -> str:
    lines = "".join(
        f"<li>{escape(row_name(row))}: <code>{escape(' '.join(run.run_id for run in row.runs))}</code>, "
        f"<code>{escape(row.first.command)}</code></li>"
        for row in rows
    )
    return f"<details><summary>runs and commands</summary><ul>{lines}</ul></details>"


def trade_offs(group: Group, ident: str) -> Iterator[str]:
    """Give the lines of the plots of quality against the cost of sampling and of training, with Pareto fronts.

    Args:
        group: Whose rows.
        ident: Begins the ids in the drawings.
    """
    by_key = {column.key: column for column in columns()}
    figures = [
        figure
        for quality in _QUALITIES
        for cost, label in _COSTS.items()
        if (figure := _trade_off(group, by_key[quality], by_key[cost], label, f"{ident}-{quality}-{cost}"))
    ]
    if figures:
        yield '<h3>Quality against cost</h3><div class="plots">'
        yield from figures
        yield "</div>"


def _trade_off(group: Group, quality: Column, cost: Column, label: str, ident: str) -> str:
    numbered = [
        (number, row)
        for number, row in enumerate(group.rows)
        if quality.key in row.figures and row.figures.get(cost.key) and row.figures[cost.key].mean > 0
    ][:MOST_POINTS]
    if len(numbered) < 2:
        return ""
    models = Counter(row.model for row in group.rows)
    points = [
        Point(
            row_name(row),
            row.model if models[row.model] == 1 else row_name(row),
            number,
            row.figures[cost.key].mean,
            row.figures[quality.key].mean,
            # Costs compare on one device, and qualities as they do in the table.
            repr((comparable_set(row, quality), row.sampling_device if cost.basis == "hardware" else row.device)),
        )
        for number, row in numbered
    ]
    unit = f"NLL ({likelihood_unit(group.data.levels or None)})" if quality.key == "likelihood" else quality.heading
    title = f"{unit} against {label}, on {group.data.name}"
    plot = scatter_plot(points, label, unit, title, ident)
    caption = (
        f"{escape(title)}; lower is better on both axes. The dashed line is the Pareto front of runs on one device "
        "whose figures compare."
    )
    return f"<figure>{plot}<figcaption>{caption}{_commands([row for _, row in numbered])}</figcaption></figure>"


def recalls(group: Group) -> Iterator[str]:
    """Give the lines of the tables of figures that are lists, such as the recall of each class."""
    for figure in FIGURES.values():
        rows = [row for row in group.rows if figure.key in row.first.lists]
        if rows:
            yield from _list_table(figure, rows)


def _list_table(figure: Figure, rows: Sequence[Row]) -> Iterator[str]:
    name = escape(figure.label.capitalize())
    places = max(len(row.first.lists[figure.key]) for row in rows)
    yield f'<h3>{name}</h3><div class="scroll" role="region" tabindex="0" aria-label="{name}">'
    yield '<table class="recall"><thead><tr>'
    yield "".join(f'<th scope="col" class="text">{name}</th>' for name in ("model", "run"))
    yield "".join(f'<th scope="col">{place}</th>' for place in range(places)) + "</tr></thead><tbody>"
    for row in rows:
        values = [*row.first.lists[figure.key], *[None] * places][:places]
        cells = "".join(f"<td>{UNKNOWN if value is None else f'{value:.2f}'}</td>" for value in values)
        run = f'<td class="text"><code>{escape(row.first.run_id)}</code></td>'
        yield f'<tr><th scope="row">{escape(row_name(row))}</th>{run}{cells}</tr>'
    yield "</tbody></table></div>"
    yield f'<p class="notes">Of the lowest seed of each row.</p>{_commands(rows)}'
