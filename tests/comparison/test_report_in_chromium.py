"""The report in a real browser: sorted by mouse and keyboard, a grid opened, on a phone's width."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from matplotlib import pyplot

from genlab.comparison.ranking import compare
from genlab.comparison.reading import read_results
from genlab.comparison.report import to_html
from tests.chromium import Browser, find_chromium, open_browser
from tests.comparison.results import run, write

CHROMIUM = find_chromium()
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")

FIDS = {"a": 9.0, "b": 10.0, "c": 2.0, "none": None}
MODELS = "Array.from(document.querySelectorAll('table.sortable tbody th'), (cell) => cell.textContent.slice(0, 4))"
SORTED = "Array.from(document.querySelectorAll('[aria-sort]'), (h) => [h.textContent, h.getAttribute('aria-sort')])"
FID = "th:nth-child(3) button"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    for number, (name, fid) in enumerate(FIDS.items()):
        run = folder / name
        write(
            run / "results" / "standard.json",
            config_hash=f"{number:064x}", run_id=f"run-{name}", model__name=name, model__variant="",
            quality__fid=fid, quality__recall_by_class=[0.5] * 10, sampling__ms_per_sample=1.0 + number,
            training__wall_seconds=60.0 * (number + 1),
        )  # fmt: skip
        (run / "config.yaml").touch()
        (run / "samples").mkdir()
        pyplot.imsave(run / "samples" / "standard.png", [[number, 1.0], [1.0, 0.0]])
        pyplot.imsave(run / "samples" / "standard_reconstructions.png", [[number, 1.0, 0.0, 1.0]] * (1 + number))
        (run / "metrics.csv").write_text("examples_seen,val/bits_per_dim\n100,3.5\n400,1.5\n")
    path = folder / "comparison.html"
    path.write_text(to_html(compare(*read_results([folder]))), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    assert CHROMIUM is not None
    with open_browser(CHROMIUM, tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def test_a_click_sorts_and_another_turns_it(browser: Browser, report: Path) -> None:
    browser.open(report)
    assert browser.run(MODELS) == ["c", "a", "b", "none"]
    browser.click(FID)
    assert browser.run(SORTED) == [["FID ↓", "ascending"]]
    browser.click(FID)
    assert browser.run(MODELS) == ["b", "a", "c", "none"], "as numbers, the unknown one last"
    assert browser.run(SORTED) == [["FID ↓", "descending"]]
    browser.click("th:first-child button")
    assert browser.run(MODELS) == ["a", "b", "c", "none"]
    assert browser.run(SORTED) == [["model", "ascending"]]
    assert browser.problems == []


def test_the_keyboard_sorts(browser: Browser, report: Path) -> None:
    browser.open(report)
    browser.run(f"document.querySelector('{FID}').focus()")
    browser.press("Enter", 13, "\r")
    browser.press(" ", 32, " ")
    assert browser.run(SORTED) == [["FID ↓", "descending"]]
    browser.press("Tab", 9)
    assert browser.run("document.activeElement.textContent") == "KID ↓"


def test_a_grid_opens_and_closes(browser: Browser, report: Path) -> None:
    browser.open(report)
    assert browser.run("document.querySelector('dialog').open") is False
    browser.click(".grids figure:nth-child(2) button")
    opened = "const d = document.querySelector('dialog'); [d.open, d.querySelector('img').alt]"
    assert browser.run(opened) == [True, "Samples of a, run run-a"]
    assert browser.run("document.querySelector('dialog img').getBoundingClientRect().width") > 300
    browser.press("Escape", 27)
    assert browser.run("document.querySelector('dialog').open") is False
    assert browser.problems == []


def test_the_pages_own_style_and_script_pass_its_policy_and_no_other(browser: Browser, report: Path) -> None:
    browser.open(report)
    assert browser.run("getComputedStyle(document.querySelector('table')).borderSpacing") == "0px"
    browser.run("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.harmed = true\">')")
    browser.run(
        "const s = document.createElement('script'); s.textContent = 'window.harmed = true'; document.body.append(s)"
    )
    assert browser.run("window.harmed === undefined") is True
    browser.problems.clear()


def test_pictures_have_one_size_and_a_phone_needs_no_sideways_scroll(browser: Browser, report: Path) -> None:
    for width in (1200, 360):
        browser.open(report, width)
        sizes = browser.run(
            "Array.from(document.querySelectorAll('.grids:not(.rows) img'),(i) => `${i.clientWidth} ${i.clientHeight}`)"
        )
        assert len(sizes) == 4
        assert len(set(sizes)) == 1
        shapes = "Array.from(document.querySelectorAll('.rows img'), (i) => i.clientHeight / i.clientWidth)"
        assert sorted(browser.run(shapes)) == pytest.approx([0.25, 0.5, 0.75, 1.0], abs=0.01), "rows keep their shape"
        assert browser.run("document.documentElement.scrollWidth") <= width
        assert browser.run("document.querySelectorAll('.plots svg[role=img]').length") == 5
    assert browser.picture().startswith(b"\x89PNG")


def test_drawings_follow_the_dark_mode(browser: Browser, report: Path) -> None:
    color = "getComputedStyle(document.querySelector('.plots svg text')).fill"
    line = "getComputedStyle(document.querySelector('.curve path')).stroke"
    seen = []
    for mode in ("light", "dark"):
        browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": mode}])
        browser.open(report)
        seen.append((browser.run(color), browser.run(line)))
    browser.call("Emulation.setEmulatedMedia", features=[])
    (light_text, light_line), (dark_text, dark_line) = seen
    assert light_text == "rgb(88, 94, 100)"
    assert dark_text == "rgb(163, 169, 175)"
    assert light_line != dark_line
    assert browser.problems == [], "the policy refused nothing of the drawings"


def test_a_table_of_pictures_fits_a_laptop(browser: Browser, tmp_path: Path) -> None:
    every = {
        "quality__inception_score": 9.42, "quality__class_total_variation": 0.117, "quality__neighbour_ratio": 1.637,
    }  # fmt: skip
    draws = {"bits_per_dim": 2.1792, "bits_per_dim_se": 0.0628, "nats": 9.5, "nats_se": 0.1, "kind": "dequantized-1"}
    runs = [
        run(
            seed=seed, model__variant="conv, normal prior, categorical", model__parameters_to_sample=1_310_000,
            likelihood__one_draw=draws, quality__fid=9.0 + seed, quality__kid=0.0455 + seed, **every,
        )
        for seed in range(3)
    ]  # fmt: skip
    path = tmp_path / "comparison.html"
    path.write_text(to_html(compare(runs)), encoding="utf-8")
    browser.open(path, 1400)
    headings = browser.run("Array.from(document.querySelectorAll('.sortable thead th'), (cell) => cell.textContent)")
    assert len(headings) == 19
    assert headings[-5:] == ["parameters", "parameters to sample", "examples seen", "train minutes", "seeds"]
    assert browser.run("document.querySelector('.scroll').scrollWidth <= document.querySelector('.scroll').clientWidth")


def test_a_phone_shows_names_and_main_figures_first(browser: Browser, report: Path) -> None:
    browser.open(report, 390)
    right = browser.run(
        "Array.from(document.querySelectorAll('.sortable thead th'), (cell) => [cell.textContent.trim(),"
        "cell.getBoundingClientRect().right]).filter(([_, end]) => end <= innerWidth).map(([name]) => name)"
    )
    assert right[:3] == ["model", "NLL (bits/dim) ↓", "FID ↓"]


def test_a_wide_table_scrolls_under_its_first_column(browser: Browser, report: Path) -> None:
    browser.open(report, 700)
    browser.run("document.querySelector('.scroll').scrollLeft = 200")
    assert browser.run("document.querySelector('.scroll').scrollLeft") == 200
    for cell in ("thead th", "tbody th"):
        left = f"document.querySelector('table.sortable {cell}').getBoundingClientRect().left"
        assert browser.run(f"{left} - document.querySelector('.scroll').getBoundingClientRect().left") == 0
