"""What a page of a report and its drawings show."""

from __future__ import annotations

import re
from html.parser import HTMLParser

__all__ = ["Page", "corners", "drawn"]

VOID = {"meta", "img", "br", "input", "link"}


class Page(HTMLParser):
    """A page's elements and text; fails on tags that do not close as they opened."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        assert len(dict(attributes)) == len(attributes)
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def drawn(text: str, kind: str) -> list[str]:
    """What stands in each group of a class of a drawing."""
    return re.findall(rf'<g class="{kind}">(.*?)</g>', text, re.DOTALL)


def corners(path: str) -> list[tuple[float, float]]:
    (numbers,) = re.findall(r'<path d="([^"]*)"', path)
    return [(float(x), float(y)) for x, y in re.findall(r"[ML] (\S+) (\S+)", numbers)]
