"""A matplotlib figure as SVG that may stand in a page with a strict content security policy."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

__all__ = ["THEME", "inline_svg"]

THEME = {
    "ink": "#1b1d1f", "paper": "#fdfdfc", "muted": "#585e64", "rule": "#d5d8dc", "strong-rule": "#84898f",
    "c0": "#0b62a8", "c1": "#b34700", "c2": "#1c7a3d", "c3": "#9c2f8f", "c4": "#8a6100", "c5": "#c0223b",
    "c6": "#00747f", "c7": "#5c5c5c",
}  # fmt: skip
"""Colours that a figure may use, by the name of the page's CSS variable that replaces each of them."""

_VARIABLES = {color: f"var(--{name}, {color})" for name, color in THEME.items()}
_FROM_THE_PAGE = {"font", "font-family", "font-style", "font-variant", "font-weight", "font-stretch"}
_WORDS = {"text", "tspan"}
_REFERENCE = re.compile(r"#([\w.-]+)")
_MANY_DIGITS = re.compile(r"-?\d+\.\d{3,}")


def inline_svg(figure: Figure, ident: str, title: str, names: Mapping[str, Sequence[str]]) -> str:
    """Return a figure as one ``<svg>`` element: the same figure gives the same text.

    It has no style attribute and no style sheet, which the page's policy would refuse. Colours of `THEME` become the
    page's variables, so that they follow its dark mode; text stays text, in the page's font.

    Args:
        figure: Drawn at 72 dots per inch, so that a point is a unit of the drawing.
        ident: Makes the ids in the drawing its own; used once in a page.
        title: Read out in place of the drawing.
        names: What is shown on hover, by the gid of an artist: one text for each of its marks, or one for the whole.
            What stands before a hyphen in the gid becomes the artist's class.
    """
    buffer = io.StringIO()
    # Salted, so that the ids in the drawing are those of no other drawing, and always the same.
    settings = {"svg.fonttype": "none", "svg.hashsalt": ident, "svg.id": None}
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        # The page's font, not matplotlib's, has to have the letters of a name.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None})
    drawn = ElementTree.fromstring(buffer.getvalue())
    width, height = (float(part) for part in drawn.attrib["viewBox"].split()[2:])
    root = Element("svg", {"viewBox": f"0 0 {width:g} {height:g}", "role": "img", "aria-labelledby": f"{ident}-title"})
    ElementTree.SubElement(root, "title", {"id": f"{ident}-title"}).text = title
    # The joins and caps of the style sheet that matplotlib puts into each drawing.
    body = ElementTree.SubElement(root, "g", {"stroke-linejoin": "round", "stroke-linecap": "butt"})
    for child in drawn:
        _clean(child, names)
        if child.tag not in ("metadata", "style") and (len(child) or child.text):
            body.append(child)
    _keep_needed_ids(body)
    return ElementTree.tostring(root, encoding="unicode")


def _clean(element: Element, names: Mapping[str, Sequence[str]]) -> None:
    """Turn an element and all below it into what the page allows."""
    element.tag = element.tag.rpartition("}")[2]
    gid = element.attrib.get("id", "")
    attributes = dict(_attributes(element))
    element.attrib.clear()
    element.attrib.update(attributes)
    if element.tag not in _WORDS:
        element.text = None
    element.tail = None
    for child in list(element):
        _clean(child, names)
        if child.tag in ("style", "metadata") or (child.tag == "g" and not len(child)):
            element.remove(child)
    if gid in names:
        element.attrib["class"] = gid.partition("-")[0]
        marks = list(element.iter("use"))
        named = marks if len(marks) == len(names[gid]) else [element]
        for target, name in zip(named, names[gid], strict=True):
            title = Element("title")
            title.text = name
            target.insert(0, title)


def _attributes(element: Element) -> Iterator[tuple[str, str]]:
    for name, value in element.attrib.items():
        key = name.rpartition("}")[2]
        if key == "style":
            for part in value.split(";"):
                prop, _, setting = (text.strip() for text in part.partition(":"))
                if prop and prop not in _FROM_THE_PAGE:
                    yield prop, _VARIABLES.get(setting, setting)
        elif key == "transform" and value.startswith("rotate(-0 "):
            pass
        else:
            yield key, _MANY_DIGITS.sub(lambda number: f"{float(number[0]):.2f}", " ".join(value.split()))


def _keep_needed_ids(root: Element) -> None:
    needed = {
        name
        for element in root.iter()
        for key, value in element.attrib.items()
        if key in ("href", "clip-path")
        for name in _REFERENCE.findall(value)
    }
    for element in root.iter():
        if element.attrib.get("id") not in needed:
            element.attrib.pop("id", None)
