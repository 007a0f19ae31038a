from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from matplotlib import pyplot

from genlab.comparison.plots import Point, Scale, Series, line_plot, scatter_plot
from genlab.comparison.ranking import Comparison, compare
from genlab.comparison.reading import read_results
from genlab.comparison.report import to_html
from tests.comparison.results import compared, many_runs, run, write

NASTY = """<script>alert(1)</script><img src=x onerror=alert(2)>"' & style=x"""
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


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Three models of two seeds with pictures and curves; every name that a result can hold is nasty."""
    for number, name in enumerate((NASTY, "vae", "pixelcnn")):
        for seed in range(2):
            folder = tmp_path / "runs" / f"m{number}" / f"s{seed}"
            write(
                folder / "results" / "standard.json",
                config_hash=f"{number:064x}", run_id=f"{NASTY}{number}-s{seed}", seed=seed, model__name=name,
                model__variant=NASTY, data__name=NASTY, command=NASTY, code_version=NASTY, training__device=NASTY,
                quality__fid=10.0 - 3 * number + seed, quality__recall_by_class=[0.25] * 10,
                sampling__ms_per_sample=10.0**number, training__wall_seconds=60.0 * (number + 1),
            )  # fmt: skip
            (folder / "config.yaml").touch()
            (folder / "samples").mkdir()
            pyplot.imsave(folder / "samples" / "standard.png", [[0.0, 1.0], [1.0, 0.0]])
            (folder / "metrics.csv").write_text(
                "examples_seen,train/loss,val/bits_per_dim,val/fid\n100,9.0,,\n200,5.0,3.5,8\n300,4.0,nan,\n400,4.0,1.5,7\n"
            )
    return tmp_path


def page_of(comparison: Comparison, command: str = "") -> tuple[str, Page]:
    text = to_html(comparison, command)
    return text, Page(text)


def test_nothing_that_a_file_says_becomes_markup(logs: Path) -> None:
    (logs / "<b>bad.json").write_text("{")
    text, page = page_of(compare(*read_results([logs])), NASTY)
    tags = {tag for tag, _ in page.elements}
    assert "b" not in tags
    assert len(page.all("script")) == 1
    assert not any("onerror" in attributes or "style" in attributes for _, attributes in page.elements)
    assert "alert(1)" in "".join(page.words), "the names are there, as text"
    assert text.count("<script>") == 1


def test_the_page_needs_nothing_but_itself(logs: Path) -> None:
    text, page = page_of(compare(*read_results([logs])))
    for _, attributes in page.elements:
        for name in ("src", "href", "srcset", "action", "data"):
            assert re.match(r"data:|#", attributes.get(name) or "#"), attributes
    assert not re.search(r"url\((?!#)|@import|https?://", text)
    (policy,) = [meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        inside = re.search(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        assert inside is not None
        digest = base64.b64encode(hashlib.sha256(inside[1].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_the_page_can_be_read_and_worked_without_sight_or_mouse(logs: Path) -> None:
    _, page = page_of(compare(*read_results([logs])))
    pictures = [picture for picture in page.all("img") if picture["src"] != "data:,"]
    assert len(pictures) == 3
    assert all("Samples of" in (picture["alt"] or "") and "run " in (picture["alt"] or "") for picture in pictures)
    assert all("alt" in picture for picture in page.all("img"))
    assert dict(page.elements)["html"] == {"lang": "en"}
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in page.elements:
        assert (attributes.get("aria-labelledby") or ids[0]) in ids
    drawings = [drawing for drawing in page.all("svg") if "aria-hidden" not in drawing]
    assert len(drawings) == 6, "curves of two figures, and two qualities against two costs"
    assert all(drawing["role"] == "img" for drawing in drawings)
    # As many buttons as columns: each heading sorts.
    sortable = [heading for heading in page.all("th") if heading.get("scope") == "col"]
    assert len([button for button in page.all("button") if button == {"type": "button"}]) <= len(sortable)


def test_each_figure_says_its_run_and_its_command(logs: Path) -> None:
    text, _ = page_of(compare(*read_results([logs])))
    figures = re.findall(r"<figure>.*?</figure>", text, re.DOTALL)
    assert len(figures) == 3 + 6
    for figure in figures:
        assert "alert(1)" in figure.split("command")[-1]
        assert re.search(r"\d-s0", figure.split("<figcaption>")[1])


def test_curves_and_fronts_are_those_of_the_files(logs: Path) -> None:
    text, _ = page_of(compare(*read_results([logs])))
    curves = re.findall(r'<polyline class="curve[^"]*" points="([^"]*)"', text)
    assert len(curves) == 12, "likelihood and FID, one curve for each seed"
    assert all(len(points.split()) == 2 for points in curves), "an empty and a non-finite figure are no points"


def test_what_is_no_picture_is_left_out(logs: Path) -> None:
    for path in logs.glob("runs/*/*/samples/standard.png"):
        path.write_bytes(b"<svg onload=alert(1)>")
    for path in logs.glob("runs/*/*/metrics.csv"):
        path.write_bytes(b"\xff\xfe,,,\n")
    text, page = page_of(compare(*read_results([logs])))
    assert [picture["src"] for picture in page.all("img")] == ["data:,"]
    assert "Training curves" not in text


def test_one_row_no_row_and_ten_thousand() -> None:
    _, page = page_of(compared(run()))
    assert len(page.all("tbody")) == 3, "figures, published figures and runs"
    text, _ = page_of(compared())
    assert "No results." in text
    text, _ = page_of(compare(many_runs()))
    assert text.count('<tr><th scope="row" data-value') == 5000


def test_a_line_plot_places_its_points() -> None:
    drawing = line_plot([Series("a", 0, [(0.0, 2.0), (10.0, 1.0)])], "x", "y", "title", "i")
    ((x0, y0), (x1, y1)) = [
        tuple(map(float, point.split(","))) for point in re.search('points="([^"]*)"', drawing)[1].split()
    ]
    assert x0 < x1
    assert y0 < y1, "SVG's y grows downwards"


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("values", [[1.0], [0.001, 1000.0], [1.07, 1.08], [5.0, 5.0], [3.0, 40.0]])
def test_ticks_are_few_and_within(values: list[float], log: bool) -> None:
    scale = Scale.around(values, 0, 100, log)
    assert 2 <= len(scale.ticks()) <= 8
    assert all(0 <= scale(tick) <= 100 for tick in scale.ticks())
    assert scale(min(values)) <= scale(max(values))


def test_a_scatter_plot_has_a_front_for_each_set_of_rivals() -> None:
    points = [Point("p", "p", 0, x, y, rivals) for rivals in "ab" for x, y in ((1, 3), (2, 2), (3, 2.5))]
    drawing = scatter_plot(points, "x", "y", "title", "i")
    assert drawing.count('class="front"') == 2
    assert all(front.count("H") == 1 for front in re.findall(r'class="front" d="([^"]*)"', drawing))
