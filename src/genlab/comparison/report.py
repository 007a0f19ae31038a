"""The comparison as one HTML file: opens without a network, runs no code but its own."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from html import escape
from importlib import resources

from genlab.comparison.cells import LEGEND, notes, ordered_by, skipped_line, subtitle, title
from genlab.comparison.figures import curves, neighbours, recalls, samples, trade_offs
from genlab.comparison.ranking import Comparison, Group
from genlab.comparison.tables import figures_table, published_table, runs_table

__all__ = ["to_html"]


def to_html(comparison: Comparison, command: str = "") -> str:
    """Return a whole page: for each group its sortable table, samples, curves, trade-offs and commands.

    Pictures and curves are read from the runs' folders and stand in the page itself; its policy allows no other
    source, and no script or style but the page's own.

    Args:
        comparison: What to show.
        command: The command that makes the page.
    """
    style, script = _asset("report.css"), _asset("report.js")
    policy = (
        f"default-src 'none'; img-src data:; style-src {_digest(style)}; script-src {_digest(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    names = ", ".join(dict.fromkeys(group.data.name for group in comparison.groups))
    name = f"Comparison: {names}" if names else "Comparison"
    lines = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="referrer" content="no-referrer">',
        f"<title>{escape(name)}</title>\n<style>{style}</style>\n</head>\n<body>",
        *_head(comparison, name, command),
        "<main>",
        *(line for number, group in enumerate(comparison.groups) for line in _section(group, f"g{number}")),
        *_skipped(comparison),
        "</main>",
        '<dialog id="picture" aria-label="Picture, enlarged"><form method="dialog"><button>Close</button></form>',
        '<p></p><img alt="" src="data:,"></dialog>',
        f"<script>{script}</script>\n</body>\n</html>",
    ]
    return "\n".join(lines) + "\n"


def _asset(name: str) -> str:
    return resources.files("genlab.comparison").joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _head(comparison: Comparison, name: str, command: str) -> Iterator[str]:
    yield f"<header><h1>{escape(name)}</h1>"
    if command:
        yield f'<p class="muted">Made by <code>{escape(command)}</code></p>'
    if not comparison.groups:
        yield "<p>No results.</p></header>"
        return
    yield f'<p class="muted"><strong>Bold</strong>: best. {escape(LEGEND)}</p>'
    if len(comparison.groups) > 1:
        links = (f'<li><a href="#g{n}">{escape(title(g))}</a></li>' for n, g in enumerate(comparison.groups))
        yield f'<nav aria-label="Groups"><ul>{"".join(links)}</ul></nav>'
    yield "</header>"


def _section(group: Group, ident: str) -> Iterator[str]:
    yield f'<section id="{ident}" aria-labelledby="{ident}-name">'
    yield f'<h2 id="{ident}-name">{escape(title(group))}</h2>'
    yield f'<p class="muted">{escape(subtitle(group))}. {escape(ordered_by(group))}</p>'
    yield from figures_table(group)
    yield from (f'<p class="notes">{escape(note)}</p>' for note in notes(group))
    yield from published_table(group)
    yield from samples(group)
    yield from neighbours(group)
    yield from curves(group, ident)
    yield from trade_offs(group, ident)
    yield from recalls(group)
    yield from runs_table(group)
    yield "</section>"


def _skipped(comparison: Comparison) -> Iterator[str]:
    if line := skipped_line(comparison):
        yield f'<section aria-labelledby="skipped"><h2 id="skipped">Left out</h2><p>{escape(line)}</p>'
        if comparison.skipped:
            items = (f"<li><code>{escape(item.path)}</code>: {escape(item.reason)}</li>" for item in comparison.skipped)
            yield f'<ul class="notes">{"".join(items)}</ul>'
        yield "</section>"
