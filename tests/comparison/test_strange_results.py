"""Results come from anywhere: nothing in them is fatal, or acts on what shows the comparison."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from genlab.comparison.csv_table import to_csv
from genlab.comparison.latex import to_latex
from genlab.comparison.markdown import to_markdown
from genlab.comparison.ranking import Comparison, compare
from genlab.comparison.reading import MOST_BYTES, read_results
from genlab.comparison.report import to_html
from genlab.comparison.terminal import print_comparison
from genlab.comparison.visible import visible
from tests.comparison.results import compared, run, write


def terminal(comparison: Comparison) -> str:
    file = io.StringIO()
    print_comparison(comparison, Console(file=file, width=1000, highlight=False, emoji=False))
    return file.getvalue()


WRITERS: dict[str, Callable[[Comparison], str]] = {
    "terminal": terminal,
    "markdown": to_markdown,
    "csv": to_csv,
    "latex": to_latex,
    "html": to_html,
}

STRANGE = {
    "half of a surrogate pair": "a\ud800b",
    "an undecodable byte": "a\udcffb",
    "colours": "\x1b[31mred\x1b[0m",
    "a title": "\x1b]0;title\x07",
    "a link": "\x1b]8;;http://x\x1b\\here\x1b]8;;\x1b\\",
    "eight-bit sequences": "\x9b2J\x90q\x9c",
    "nul and delete": "a\x00b\x7f",
    "a line over another": "all is well\rnothing is",
    "lines": "a\nb\x0bc\x0cd\x85e\u2028f",
    "tabs": "\ta\tb",
    "turned around": "a\u202egnp.b\u2066",
    "no width": "a\u200bb\ufeff",
    "a formula": '=HYPERLINK("http://x","y")',
    "a formula after blanks": "  =1+1",
    "a call": "@SUM(1+1)",
    "a program": "+cmd|' /C calc'!A0",
    "a difference": "-2+3",
    "markup": "[bold]a[/bold] [/] :smile:",
    "an open bracket": "[1ex]",
    "a star": "* {",
    "a backslash": "a\\",
    "a page": "</script><script>alert(1)</script><!--",
    "a template": "{{ 7*7 }}{% raw %}",
    "mathematics": r"$\frac{1}$ \input{/etc/passwd}",
    "a table": "a|b\\|c\n---|---",
    "nothing but blanks": " \t ",
    "long": "x" * 10_000,
}


def strange_results(folder: Path, text: str) -> Comparison:
    """One result beside two that have the text in all fields that are free, as far as they allow it."""
    write(folder / "plain.json", config_hash="1" * 64)
    free = {
        "command": text, "model__variant": text, "model__family": text, "training__device": text,
        "sampling__device": text, "quality__extractor": text, "quality__reference_split": text,
        "training__checkpoint": text,
    }  # fmt: skip
    write(folder / "free.json", config_hash="2" * 64, **free)
    write(folder / "names.json", config_hash="3" * 64, model__name=text, data__name=text, data__split=text,
          run_id=text, code_version=text, quality__missing_classes=3, data__columns=[text, text],
          quality__column_distance_by_column=[0.5, None, 0.25], **free)  # fmt: skip
    (folder / "metrics.csv").write_text("examples_seen,val/fid\n1," + "9" * 200_000 + "\n")
    results, skipped = read_results([folder])
    assert len(results) + len(skipped) == 3
    return compare(results, skipped)


@pytest.mark.parametrize("text", STRANGE.values(), ids=STRANGE)
@pytest.mark.parametrize("name", WRITERS)
def test_strange_text_harms_no_writer(name: str, text: str, tmp_path: Path) -> None:
    comparison = strange_results(tmp_path, text)
    assert [row.model for group in comparison.groups for row in group.rows].count("flow") == 2
    written = WRITERS[name](comparison)
    written.encode()
    acting = {c for c in written if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
    assert not acting, f"{acting} stand in the {name}"


@pytest.mark.parametrize("text", STRANGE.values(), ids=STRANGE)
def test_no_text_is_a_formula_in_a_spreadsheet(text: str, tmp_path: Path) -> None:
    for line in csv.DictReader(io.StringIO(to_csv(strange_results(tmp_path, text)))):
        for value in line.values():
            assert not value.strip().startswith(("=", "+", "-", "@"))


def test_numbers_are_never_changed_for_a_spreadsheets_sake() -> None:
    runs = [run(1, seed, model__name="-flow", quality__kid=-0.25, likelihood__bits_per_dim=-1.5) for seed in (-2, -1)]
    (line,) = csv.DictReader(io.StringIO(to_csv(compared(*runs))))
    assert (line["model"], line["kid"], line["likelihood"], line["seeds"]) == ("'-flow", "-0.25", "-1.5", "-2 -1")


def test_a_line_of_a_latex_table_takes_nothing_of_the_next() -> None:
    text = to_latex(compared(run(1, model__name="a"), run(2, model__name="[1ex]"), run(3, model__name="*")))
    assert [line.strip()[:3] for line in text.splitlines() if "1.31M" in line] == ["{*}", "{[}", "a {"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("λ = 0.5, 标准", "λ = 0.5, 标准"),
        ("\x1b[31m", r"\x1b[31m"),
        ("\u202e\ud800", r"\u202e\ud800"),
        ("a\r\n\tb\xa0c", "a   b c"),
    ],
)
def test_every_character_can_be_seen(text: str, shown: str) -> None:
    assert visible(text) == shown


STRANGE_NUMBERS = {
    "beyond squares": ({"quality__fid": 1e308, "sampling__ms_per_sample": 1e308}, False),
    "below zero, beyond squares": ({"likelihood__bits_per_dim": -1e200}, False),
    "a whole number beyond all": ({"sampling__nfe": 10**400}, False),
    "time beyond all": ({"training__wall_seconds": 10**400}, False),
    "predictions beyond all": ({"quality__tstr_r2": -1e308, "quality__tstr_r2_se": 1e308}, False),
    "predictions that are useless": ({"quality__tstr_r2": -1e99, "quality__tstr_r2_se": 1e99}, True),
    "more figures than columns": ({"quality__column_distance_by_column": [0.5] * 999, "data__columns": ["a"]}, True),
    "more columns than figures": ({"quality__column_distance_by_column": [None], "data__columns": ["a"] * 999}, True),
    "large": ({"quality__fid": 1e99, "sampling__ms_per_sample": 1e99, "likelihood__bits_per_dim": -1e99}, True),
    "next to zero": ({"quality__fid": 5e-324, "sampling__ms_per_sample": 5e-324}, True),
    "zero": ({"quality__fid": 0, "sampling__ms_per_sample": 0.0, "sampling__nfe": 0}, True),
    "examples and seeds": ({"likelihood__examples": 10**4000, "seed": -(10**4000)}, True),
    "levels and places": ({"data__levels": 10**400, "data__shape": [10**400]}, True),
}


@pytest.mark.parametrize(("changes", "is_read"), STRANGE_NUMBERS.values(), ids=STRANGE_NUMBERS)
@pytest.mark.parametrize("name", WRITERS)
def test_strange_numbers_harm_no_writer(name: str, changes: dict[str, Any], is_read: bool, tmp_path: Path) -> None:
    write(tmp_path / "plain.json", config_hash="1" * 64)
    for number in range(4):
        seed = {"config_hash": f"{2 + number // 2}" * 64, "seed": number % 2}
        write(tmp_path / f"{number}.json", **{**seed, **changes})
    (tmp_path / "metrics.csv").write_text("examples_seen,val/fid\n1,2\n2,1e308\n3,-1e308\n4,nan\n5,1\n")
    results, skipped = read_results([tmp_path])
    assert len(results) == (5 if is_read else 1)
    assert all("beyond 1e+100, where no figure is" in item.reason for item in skipped)
    assert WRITERS[name](compare(results, skipped))


@contextmanager
def within_seconds(seconds: int) -> Iterator[None]:
    def late(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def test_what_is_no_file_is_neither_waited_for_nor_read(tmp_path: Path) -> None:
    write(tmp_path / "good.json")
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "zero.json").symlink_to("/dev/zero")
    (tmp_path / "loop.json").symlink_to("loop.json")
    (tmp_path / "loop").symlink_to("loop")
    with (tmp_path / "large.json").open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    with within_seconds(20):
        results, skipped = read_results([tmp_path, tmp_path / "pipe.json", "/dev/zero"])
    assert len(results) == 1
    assert {Path(item.path).name: item.reason for item in skipped} == {
        "pipe.json": "it is no regular file",
        "zero.json": "it is no regular file",
        "zero": "it is no regular file",
        "loop.json": "Too many levels of symbolic links",
        "large.json": "it is no result of genlab: it has 64,000,001 bytes",
    }


@pytest.mark.parametrize("name", WRITERS)
def test_strange_names_of_files_harm_no_writer(name: str, tmp_path: Path) -> None:
    for strange in (b"\xff.json", b"\x1b[31m\n.json", b"=1+1.json"):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + strange)).write_text(json.dumps({"\x1b\ud800": 1}))
    write(tmp_path / "good.json")
    comparison = compare(*read_results([tmp_path]))
    assert len(comparison.skipped) == 3
    assert not {"\x1b", "\udcff"} & set(WRITERS[name](comparison))
