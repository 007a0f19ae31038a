"""The comparison as LaTeX, with booktabs."""

from __future__ import annotations

from collections.abc import Iterator

from genlab.comparison.cells import (
    BEST_LEGEND,
    SPREAD_LEGEND,
    Cell,
    arrow,
    cell,
    heading,
    likelihood_notes,
    subtitle,
    title,
)
from genlab.comparison.published import PUBLISHED_LEGEND, Beside, beside
from genlab.comparison.ranking import Comparison, Group, Row

__all__ = ["to_latex"]

_SPECIAL = str.maketrans({
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "[": "{[}", "*": "{*}", "·": r"\textperiodcentered{}", "±": r"$\pm$",
})  # fmt: skip
"""A bracket or star in the first cell of a line would belong to the end of the line before."""

_ARROWS = {"": "", "↑": r"$\uparrow$", "↓": r"$\downarrow$"}


def to_latex(comparison: Comparison) -> str:
    """Return one ``table`` for each group, to be included where ``booktabs`` and ``graphicx`` are loaded."""
    return "\n".join(["% \\usepackage{booktabs,graphicx}", *_tables(comparison)]) + "\n"


def _tables(comparison: Comparison) -> Iterator[str]:
    for number, group in enumerate(comparison.groups, 1):
        columns = group.columns
        names = [f"{_escape(heading(group, column))} {_ARROWS[arrow(column)]}".rstrip() for column in columns]
        yield from (r"\begin{table}", r"  \centering", r"  \resizebox{\linewidth}{!}{%")
        yield rf"  \begin{{tabular}}{{lr{'r' * len(columns)}}}"
        yield r"    \toprule"
        yield f"    {' & '.join(['Model', 'Seeds', *names])} \\\\"
        yield r"    \midrule"
        yield from _rows(group)
        yield r"    \bottomrule"
        yield r"  \end{tabular}}"
        yield from (rf"  \par{{\footnotesize {_escape(note)}}}" for note in likelihood_notes(group))
        yield from _published(group)
        caption = _escape(f"{title(group)}: {subtitle(group)}.")
        yield rf"  \caption{{{caption} Bold: {_escape(f'{BEST_LEGEND} {SPREAD_LEGEND}')}}}"
        yield rf"  \label{{tab:genlab-{number}}}"
        yield from (r"\end{table}", "")


def _published(group: Group) -> Iterator[str]:
    if lines := beside(group):
        yield from ("", r"  \medskip", rf"  {{\footnotesize {_escape(PUBLISHED_LEGEND)}}}", "")
        yield from (r"  \resizebox{\linewidth}{!}{%", rf"  \begin{{tabular}}{{{'l' * len(Beside.headings())}}}")
        yield from (r"    \toprule", f"    {' & '.join(name.capitalize() for name in Beside.headings())} \\\\")
        yield r"    \midrule"
        yield from (f"    {' & '.join(map(_escape, line))} \\\\" for line in lines)
        yield from (r"    \bottomrule", r"  \end{tabular}}")


def _rows(group: Group) -> Iterator[str]:
    was_reference = False
    for row in group.rows:
        if was_reference and not row.reference:
            yield r"    \midrule"
        was_reference = bool(row.reference)
        cells = [_cell(cell(row, column)) for column in group.columns]
        yield f"    {' & '.join([_name(row), str(len(row.runs)), *cells])} \\\\"


def _name(row: Row) -> str:
    reference = "" if row.reference == row.model else row.reference  # as the floor, which is called so
    remarks = ", ".join(filter(None, (reference, row.first.variant, row.note)))
    return _escape(row.model) + (rf" {{\footnotesize {_escape(remarks)}}}" if remarks else "")


def _cell(words: Cell) -> str:
    if not words.value:
        return "--"
    value = rf"\textbf{{{_escape(words.value)}}}" if words.best else _escape(words.value)
    spread = rf" $\pm$ {_escape(words.spread)}" if words.spread else ""
    remark = rf" {{\footnotesize {_escape(words.remark)}}}" if words.remark else ""
    return value + spread + remark


def _escape(text: str) -> str:
    return " ".join(text.split()).translate(_SPECIAL)
