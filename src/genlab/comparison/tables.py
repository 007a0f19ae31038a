"""The tables of the HTML report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from itertools import groupby

from genlab.comparison.cells import cell, heading, title
from genlab.comparison.columns import Column
from genlab.comparison.published import PUBLISHED_LEGEND, beside
from genlab.comparison.ranking import Group, Row

__all__ = ["UNKNOWN", "figures_table", "published_table", "row_name", "runs_table"]

UNKNOWN = "\N{EN DASH}"
"""What stands for an unknown figure."""


def row_name(row: Row) -> str:
    """Return a row's whole name in plain text: model, reference, variant, note."""
    remarks = ", ".join(filter(None, (row.reference, row.first.variant, row.note)))
    return f"{row.model} ({remarks})" if remarks else row.model


def figures_table(group: Group) -> Iterator[str]:
    """Give the lines of the table of figures, to be sorted by a click or a key on a heading."""
    columns = group.columns
    yield f'<div class="scroll" role="region" tabindex="0" aria-label="Figures of {escape(title(group))}">'
    yield f'<table class="sortable"><caption>Figures of {escape(title(group))}</caption><thead><tr>'
    yield _head("model", "", "text")
    yield _head("seeds", "descending")
    for column in columns:
        yield _head(heading(group, column), "descending" if column.better == "higher" else "")
    yield _head("device", "", "text") + "</tr></thead>"
    for is_reference, rows in groupby(group.rows, key=lambda row: bool(row.reference)):
        yield '<tbody class="references">' if is_reference else "<tbody>"
        yield from (_row(row, columns) for row in rows)
        yield "</tbody>"
    yield "</table></div>"


def _head(name: str, first: str, kind: str = "") -> str:
    attributes = (f' class="{kind}"' if kind else "") + (f' data-first="{first}"' if first else "")
    return f'<th scope="col"{attributes}><button type="button">{escape(name)}</button></th>'


def _row(row: Row, columns: Sequence[Column]) -> str:
    tag = f' <span class="tag">{row.reference}</span>' if row.reference else ""
    remark = " · ".join(filter(None, (row.first.variant, row.note)))
    below = f'<span class="muted">{escape(remark)}</span>' if remark else ""
    cells = [f'<th scope="row" data-value="{escape(row_name(row))}">{escape(row.model)}{tag}{below}</th>']
    cells.append(f'<td data-value="{len(row.runs)}">{len(row.runs)}</td>')
    cells += [_cell(row, column) for column in columns]
    cells.append(f'<td class="text" data-value="{escape(row.device)}">{escape(row.device)}</td>')
    return f"<tr>{''.join(cells)}</tr>"


def _cell(row: Row, column: Column) -> str:
    words = cell(row, column)
    if not words.value:
        return f'<td><span class="muted">{UNKNOWN}</span></td>'
    value = escape(words.value)
    if words.best:
        value = f'<strong>{value}</strong><span class="vh"> best</span>'
    spread = f' <span class="spread">± {escape(words.spread)}</span>' if words.spread else ""
    remark = f'<span class="muted">{escape(words.remark)}</span>' if words.remark else ""
    return f'<td data-value="{row.figures[column.key].mean!r}">{value}{spread}{remark}</td>'


def published_table(group: Group) -> Iterator[str]:
    """Give the lines of the published figures of the group's data, which are not sorted among ours."""
    lines = beside(group)
    if not lines:
        return
    yield f'<h3>Published likelihoods</h3><p class="muted">{escape(PUBLISHED_LEGEND)}</p>'
    yield '<div class="scroll" role="region" tabindex="0" aria-label="Published likelihoods"><table class="published">'
    names = ("method", "published", "ours", "source")
    yield (
        "<thead><tr>" + "".join(f'<th scope="col" class="text">{name}</th>' for name in names) + "</tr></thead><tbody>"
    )
    for line in lines:
        pairs = ((line.published, line.kind), (line.ours, line.kind_of_ours), (line.source, line.measured_on))
        cells = "".join(
            f'<td class="text">{escape(words) or UNKNOWN}<span class="muted">{escape(remark)}</span></td>'
            for words, remark in pairs
        )
        yield f'<tr><th scope="row">{escape(line.method)}</th>{cells}</tr>'
    yield "</tbody></table></div>"


def runs_table(group: Group) -> Iterator[str]:
    """Give the lines of the list of runs, with the command that makes each again."""
    yield f"<h3>Runs</h3><details><summary>Run ids and commands of all {len(group.rows)} rows</summary>"
    yield '<div class="scroll" role="region" tabindex="0" aria-label="Runs"><table><thead><tr>'
    names = ("model", "run ids", "code version", "command")
    yield "".join(f'<th scope="col" class="text">{name}</th>' for name in names) + "</tr></thead><tbody>"
    for row in group.rows:
        ids = " ".join(run.run_id for run in row.runs)
        versions = "; ".join(dict.fromkeys(run.code_version for run in row.runs))
        cells = (
            f'<td class="text"><code>{escape(ids)}</code></td><td class="text">{escape(versions)}</td>'
            f'<td class="text"><code>{escape(row.first.command)}</code></td>'
        )
        yield f'<tr><th scope="row">{escape(row_name(row))}</th>{cells}</tr>'
    yield "</tbody></table></div></details>"
