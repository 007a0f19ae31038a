"""The page in a real browser: it samples, moves a slider, draws, reads figures; on a desk and on a phone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from genlab.command.explorer import tables
from genlab.command.explorer.lab import Opened
from genlab.command.explorer.server import Explorer
from tests.chromium import Browser, find_chromium, open_browser
from tests.command.explorer.serving import served
from tests.tiny import train

CHROMIUM = find_chromium()
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")

HOSTILE = "<img src=x onerror=window.harmed=1>"
IDLE = "document.querySelectorAll('.card').length > 0 && !document.querySelector('[aria-busy]')"
VIEWS = ("samples", "latents", "between", "draw", "table", "curves")
FAINT = """(() => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => numbers(colour).slice(0, 3)
    .map((part) => part / 255).map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, place) => sum + part * [0.2126, 0.7152, 0.0722][place], 0);
  const ground = (element) => {
    const colour = getComputedStyle(element).backgroundColor;
    return numbers(colour)[3] === 0 ? ground(element.parentElement) : colour;
  };
  const hasText = (element) => element.checkVisibility() && [...element.childNodes].some(
    (node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
  return [...document.querySelectorAll("body *:not(svg *, option, :disabled)")].filter(hasText).filter((element) => {
    const both = [getComputedStyle(element).color, ground(element)].map(light).sort((a, b) => a - b);
    return (both[1] + 0.05) / (both[0] + 0.05) < 4.5;
  }).map((element) => `${element.tagName} ${element.className}: ${element.textContent.slice(0, 40)}`);
})()"""
"""Texts whose contrast with what is behind them is below 4.5, the least of WCAG 2.2 (1.4.3)."""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    assert CHROMIUM is not None
    with open_browser(CHROMIUM, tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def show(browser: Browser, server: Explorer, view: str, width: int = 1400) -> None:
    browser.open("about:blank", width)  # another view alone would not load the page again
    browser.open(f"{server.address}#{view}", width)
    ready = "!!document.querySelector('#view .group, #view .plot svg')" if view in ("table", "curves") else IDLE
    browser.wait_for(ready)


def test_it_samples_and_shows_the_command(browser: Browser, server: Explorer, names: dict[str, str]) -> None:
    show(browser, server, "samples")
    picture = "document.querySelector('.card .body img').src"
    first = browser.run(picture)
    assert first.startswith("data:image/png;base64,")
    cards = browser.run("Array.from(document.querySelectorAll('.card'), (card) => card.dataset.run)")
    assert sorted(cards) == sorted(names.values())
    browser.click("#next")
    browser.wait_for(f"{picture} !== {first!r}")
    command = browser.run("document.querySelector('.card .command code').textContent")
    assert command.startswith("genlab sample run=")
    assert command.endswith("n=16 seed=1")
    assert browser.problems == []


def test_a_view_that_is_left_keeps_no_other_waiting(browser: Browser, server: Explorer) -> None:
    """A browser has six connections to a host, and each of these views waits for one answer at least."""
    show(browser, server, "samples")
    waits = "document.querySelector('#view [aria-busy]')"
    with server._lab._computing:
        for view in ("latents", "between", "samples") * 3:
            browser.click(f"#tab-{view}")
            browser.wait_for(f"document.querySelector('#view[aria-labelledby=tab-{view}]') && {waits}", seconds=20)
        for view, there in (("table", "#view .group"), ("curves", "#view .plot svg")):
            browser.click(f"#tab-{view}")
            browser.wait_for(f"!!document.querySelector('{there}')", seconds=20)
    browser.click("#tab-samples")
    browser.wait_for(IDLE)
    assert browser.run("document.querySelectorAll('.card img').length") == 3
    assert browser.problems == []


def test_before_the_runs_are_known_it_does_not_say_that_there_are_none(
    browser: Browser, server: Explorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_answer, list_runs = threading.Event(), tables.list_runs
    monkeypatch.setattr(tables, "list_runs", lambda *asked: may_answer.wait(60) and list_runs(*asked))
    browser.open("about:blank")
    browser.open(f"{server.address}#table")
    try:
        browser.click("#tab-curves")
        browser.wait_for("document.querySelector('#view[aria-labelledby=tab-curves]')", seconds=20)
        assert browser.run("document.getElementById('view').textContent") == "Looking for runs ..."
    finally:
        may_answer.set()
    browser.wait_for("!!document.querySelector('#view .plot svg')")
    assert browser.problems == []


def test_runs_are_chosen_with_their_figures(browser: Browser, server: Explorer) -> None:
    show(browser, server, "samples")
    figures = browser.run("Array.from(document.querySelectorAll('.run .figure'), (figure) => figure.textContent)")
    assert any(figure.startswith("NLL (bits/dim) ") for figure in figures)
    browser.click("#runs input")
    browser.wait_for("document.querySelectorAll('.card').length === 2")
    browser.click("#runs input")
    browser.wait_for("document.querySelectorAll('.card').length === 3 && !document.querySelector('[aria-busy]')")


def test_a_slider_moves_the_picture_and_its_command(browser: Browser, server: Explorer, names: dict[str, str]) -> None:
    show(browser, server, "latents")
    card = f"document.querySelector('[data-run=\"{names['flow']}\"]')"
    before = browser.run(f"{card}.querySelector('.now img').src")
    browser.run(f"{card}.querySelector('input[type=range]').id = 'slider'")
    browser.click("#slider")
    for _ in range(3):
        browser.press("End", 35)
    browser.wait_for(f"{card}.querySelector('.now img').src !== {before!r}")
    value = browser.run("Number(document.getElementById('slider').value)")
    assert value == pytest.approx(browser.run("Number(document.getElementById('slider').max)"))
    browser.wait_for(
        f"{card}.querySelector('.body > div .command code').textContent.includes('{value:.6f}'.slice(0, 6))"
    )
    other = browser.run(f"document.querySelector('[data-run=\"{names['gmm']}\"] .error').textContent")
    assert "gmm family cannot traverse" in other
    browser.problems.clear()  # that refusal


def test_sliders_lead_back_to_a_code_that_lies_far_out(
    browser: Browser, server: Explorer, names: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code = Opened.code
    monkeypatch.setattr(Opened, "code", lambda self, example: 4 * code(self, example))
    show(browser, server, "latents")
    card = f"document.querySelector('[data-run=\"{names['flow']}\"]')"
    values = f"Array.from({card}.querySelectorAll('input[type=range]'), (slider) => slider.value)"
    picture = f"{card}.querySelector('.now img').src"
    first, began = browser.run(picture), browser.run(values)
    browser.run(f"{card}.querySelector('input[type=range]').id = 'far'")
    browser.click("#far")
    at_the_end = browser.run("document.getElementById('far').value === document.getElementById('far').max")
    browser.press(*(("Home", 36) if at_the_end else ("End", 35)))
    browser.wait_for(f"{picture} !== {first!r}")
    assert browser.run(values)[1:] == began[1:], "a slider that nobody moved has moved"
    browser.run(
        f"[...{card}.querySelectorAll('button')].find((b) => b.textContent === 'Back to the example').id = 'back'"
    )
    browser.click("#back")
    browser.wait_for(f"{picture} === {first!r}")
    assert browser.run(values) == began
    browser.problems.clear()  # that a mixture has no code


def test_a_drawing_is_judged_by_every_model(browser: Browser, server: Explorer) -> None:
    show(browser, server, "draw")
    figure = "Array.from(document.querySelectorAll('.card'), (card) => card.querySelector('dd')?.textContent ?? '')"
    before = browser.run(figure)
    assert all(" nats" in text for text in before)
    browser.run("[...document.querySelectorAll('.easel button')].find((b) => b.textContent === 'Clear').id = 'clear'")
    browser.click("#clear")
    browser.wait_for(f"{IDLE} && {figure}[0] !== {before[0]!r}")
    empty = browser.run(figure)
    browser.drag("#paper", [(0.3, 0.2), (0.7, 0.2), (0.5, 0.5), (0.4, 0.8)])
    browser.wait_for(f"{IDLE} && {figure}.every((text, place) => text !== {empty!r}[place])")
    scores = browser.run("Array.from(document.querySelectorAll('.scores tbody th'), (cell) => cell.textContent)")
    assert {"nll", "typicality", "complexity", "reconstruction"} <= set(scores)
    assert browser.problems == []


def test_an_example_is_judged_as_it_is_whatever_its_size(browser: Browser, tmp_path: Path) -> None:
    """The paper has 336 pixels a side, of which 20 squares get 16 or 17 each."""
    (tmp_path / "photos").mkdir()
    for number in range(30):
        Image.effect_noise((20, 20), 50 + number).save(tmp_path / "photos" / f"{number}.png")
    data = ["data=image_folder", f"data.path={tmp_path / 'photos'}", "data.size=20", "data.cache=memory"]
    train(tmp_path, *data, "model.components=1", "budget.examples=32", model="gmm")
    with served(tmp_path) as server:
        show(browser, server, "draw")
        run = browser.run("document.querySelector('.card').dataset.run")
        levels = server.answer("examples", {"run": run, "count": 1})["examples"][0]["levels"]
        seen = "document.getElementById('seen').getContext('2d').getImageData(0, 0, 20, 20).data"
        assert browser.run(f"Array.from({seen}).filter((_, place) => place % 4 === 0)") == levels
    assert browser.problems == []


def test_sounds_are_players_and_texts_are_read(
    browser: Browser, server_of_kinds: Explorer, kinds: dict[str, Path]
) -> None:
    show(browser, server_of_kinds, "samples")
    for kind in ("sound", "text"):
        name = "/".join(kinds[kind].parts[-3:])
        if not browser.run(f"document.querySelector('#runs input[value=\"{name}\"]').checked"):
            browser.click(f'#runs input[value="{name}"]')
        browser.wait_for(f"document.querySelector('[data-run=\"{name}\"]') && {IDLE}")
    player = f"document.querySelector('[data-run=\"{'/'.join(kinds['sound'].parts[-3:])}\"] audio')"
    assert browser.run(f"{player}.src").startswith("data:audio/wav;base64,")
    browser.run(f"{player}.load(); {player}.preload = 'auto';")
    browser.wait_for(f"{player}.readyState > 0 || {player}.error")
    assert browser.run(f"[{player}.error, {player}.duration]") == [None, pytest.approx(0.032, abs=1e-3)]
    text = f"document.querySelector('[data-run=\"{'/'.join(kinds['text'].parts[-3:])}\"] pre.text').textContent"
    assert browser.run(text).strip()
    assert browser.problems == [], "the policy lets sounds in"


def test_names_of_strangers_are_text(browser: Browser, server: Explorer, logs: Path) -> None:
    run = logs / "runs" / "digits" / HOSTILE / "9-s0"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text("model: {name: 'x'}\n")
    try:
        show(browser, server, "samples")
        shown = browser.run("Array.from(document.querySelectorAll('.run strong'), (name) => name.textContent)")
    finally:
        (run / "config.yaml").unlink()
    assert HOSTILE in shown
    assert browser.run("window.harmed === undefined && !document.querySelector('#runs img')") is True
    browser.run("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.harmed = 1\">')")
    assert browser.run("window.harmed === undefined") is True
    browser.problems.clear()


def test_every_view_fits_and_is_read_by_day_and_by_night(browser: Browser, server: Explorer) -> None:
    for view in VIEWS:
        show(browser, server, view, 1400)
        for width in (1400, 390):
            browser.call(
                "Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 600
            )
            wide = browser.run("document.documentElement.scrollWidth - innerWidth")
            assert wide <= 0, f"{view} at {width} pixels"
        for mode in ("light", "dark"):
            browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": mode}])
            assert browser.run(FAINT) == [], f"{view}, {mode}"
    browser.call("Emulation.setEmulatedMedia", features=[])
    browser.problems.clear()  # that a mixture has no code


def test_colours_follow_the_dark_mode(browser: Browser, server: Explorer) -> None:
    show(browser, server, "curves")
    grounds = {"light": "rgb(253, 253, 252)", "dark": "rgb(22, 24, 26)"}
    lines = set()
    for mode, ground in grounds.items():
        browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": mode}])
        assert browser.run("getComputedStyle(document.body).backgroundColor") == ground
        lines.add(browser.run("getComputedStyle(document.querySelector('.plot .curve path')).stroke"))
    browser.call("Emulation.setEmulatedMedia", features=[])
    assert len(lines) == 2
    assert browser.problems == [], "the policy refused nothing of the drawing"
