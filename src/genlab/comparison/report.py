"""The comparison as one HTML file: opens without a network, runs no code but its own."""

from __future__ import annotations

import base64
import functools
import hashlib
import platform
from datetime import UTC, datetime
from importlib import metadata, resources
from itertools import groupby
from typing import TYPE_CHECKING, Any

from genlab.comparison import cells
from genlab.comparison.columns import Column, leading_columns
from genlab.comparison.published import PUBLISHED_LEGEND, beside
from genlab.comparison.ranking import Comparison, Group
from genlab.core.words import counted
from genlab.runs.code import code_version

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["to_html"]


def to_html(comparison: Comparison, command: str = "") -> str:
    """Return a whole page: for each group its sortable table, samples, curves, trade-offs and commands.

    Pictures, sounds, texts and curves are read from the runs' folders and stand in the page itself; its policy allows
    no other source, and no script or style but the page's own.

    Args:
        comparison: What to show.
        command: The command that makes the page.
    """
    style, script = _asset("report.css"), _asset("report.js")
    names = ", ".join(dict.fromkeys(group.data.name for group in comparison.groups))
    return _environment().get_template("report.html.j2").render(
        name=f"Comparison: {names}" if names else "Comparison",
        command=command,
        comparison=comparison,
        sections=[_section(group, f"g{number}") for number, group in enumerate(comparison.groups)],
        skipped_line=cells.skipped_line(comparison),
        style=style,
        script=script,
        policy=(
            "default-src 'none'; img-src data:; media-src data:; "
            f"style-src {_digest(style)}; script-src {_digest(script)}; "
            "base-uri 'none'; form-action 'none'"
        ),
        made=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        versions=f"genlab {code_version()}, Python {platform.python_version()}, torch {metadata.version('torch')}",
    )  # fmt: skip


@functools.cache
def _environment() -> Environment:
    # Imported here, as matplotlib below: a comparison that makes no report need not wait for them.
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from genlab.comparison.figures import row_name

    environment = Environment(
        loader=PackageLoader("genlab.comparison"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals |= {
        "LEGEND": cells.LEGEND,
        "PUBLISHED_LEGEND": PUBLISHED_LEGEND,
        "UNKNOWN": "\N{EN DASH}",
        "arrow": cells.arrow,
        "cell": cells.cell,
        "counted": counted,
        "heading": cells.heading,
        "row_name": row_name,
    }
    return environment


def _section(group: Group, ident: str) -> dict[str, Any]:
    from genlab.comparison.figures import column_tables, curves, galleries, list_tables, trade_offs

    return {
        "ident": ident,
        "group": group,
        "title": cells.title(group),
        "subtitle": cells.subtitle(group),
        "ordered_by": cells.ordered_by(group),
        "when_and_where": cells.when_and_where(group),
        "columns": _main_first(group),
        "shared_device": cells.shared_device(group),
        "bodies": [(kind, list(rows)) for kind, rows in groupby(group.rows, key=lambda row: bool(row.reference))],
        "notes": cells.notes(group),
        "published": beside(group),
        "galleries": galleries(group),
        "column_tables": column_tables(group),
        "curves": curves(group, ident),
        "trade_offs": trade_offs(group, ident),
        "lists": list_tables(group),
    }


def _main_first(group: Group) -> list[Column]:
    """Return the group's columns, those by which rows are ordered first: a phone shows only these beside the names."""
    main = list(reversed(leading_columns()))
    places = {"features": 2, "likelihood": 3}
    return sorted(group.columns, key=lambda c: main.index(c) if c in main else places.get(c.basis or "", 4))


def _asset(name: str) -> str:
    return resources.files("genlab.comparison").joinpath("templates", name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
