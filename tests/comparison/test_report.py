from __future__ import annotations

import base64
import hashlib
import html
import json
import platform
import re
import subprocess
import sys
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest
from matplotlib import pyplot

import genlab
from genlab.comparison.ranking import Comparison, compare
from genlab.comparison.reading import read_results, reduce_result
from genlab.comparison.report import to_html
from genlab.measure.result import Result
from tests.comparison.pages import Page, corners, drawn
from tests.comparison.results import compared, many_compared, result, run, write

NASTY = """<script>alert(1)</script><img src=x onerror=alert(2)>"' & style=x"""
UNKNOWN = "\N{EN DASH}"


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


def test_the_places_of_a_list_have_the_numbers_that_the_figure_says(tmp_path: Path) -> None:
    lists = {"quality__recall_by_class": [0.5, 0.5], "quality__ngram_divergence_by_order": [0.1, 0.2]}
    write(tmp_path / "results" / "standard.json", **lists)
    (tmp_path / "config.yaml").touch()
    text, _ = page_of(compare(*read_results([tmp_path])))
    headings = re.findall(r'<table class="list">.*?</thead>', text, re.DOTALL)
    assert [re.findall(r'<th scope="col">(\d+)</th>', heading) for heading in headings] == [["0", "1"], ["1", "2"]]


def of_columns(*rows: tuple[str, list[float | None]], **changes: object) -> list[tuple[str, list[str]]]:
    """The lines of the table of columns of models with these distances: each column's name, and what stands there."""
    runs = [
        run(number, model__name=name, model__family=name, quality__column_distance_by_column=values, **changes)
        for number, (name, values) in enumerate(rows, 1)
    ]
    (table,) = re.findall(r'<table class="sortable columns">.*?</table>', page_of(compared(*runs))[0], re.DOTALL)
    lines = re.findall(r"<tr><th scope=\"row\"[^>]*>(.*?)</th>(.*?)</tr>", table, re.DOTALL)
    return [(name, re.findall(r"<td[^>]*>(?:<span[^>]*>)?([^<]*)", cells)) for name, cells in lines]


def test_the_column_in_which_a_model_is_worst_comes_first() -> None:
    lines = of_columns(("floor", [0.9, 0.0, 0.0]), ("made", [0.01, 0.02, 0.3]), ("vae", [0.2, 0.1, 0.0]),
                       data__columns=["size", NASTY, "kind"])  # fmt: skip
    escaped = html.escape(NASTY).replace("&#x27;", "&#39;").replace("&quot;", "&#34;")
    assert [name for name, _ in lines] == ["kind", "size", escaped]
    assert lines[0][1] == ["0.000", "0.300", "0.000"], "real rows first, as in the table above"
    alone = of_columns(("floor", [0.1, 0.2]))
    assert [name for name, _ in alone] == ["2", "1"], "numbers, where a result does not name its columns"


def test_columns_that_are_not_known_come_last_and_those_of_wide_tables_are_some() -> None:
    lines = of_columns(("made", [None, 0.5]), ("vae", [None, None, 0.1]), data__columns=["a", "b"])
    assert lines == [("b", ["0.500", UNKNOWN]), ("3", [UNKNOWN, "0.100"]), ("a", [UNKNOWN] * 2)]
    wide = [number / 1000 for number in range(100)]
    assert [name for name, _ in of_columns(("made", wide))] == [str(100 - place) for place in range(30)]
    text, _ = page_of(compared(run(quality__column_distance_by_column=wide)))
    assert "70 more columns, in which all models are better, are left out" in text


def test_samples_are_read_and_heard_in_the_page(logs: Path) -> None:
    folder = logs / "runs" / "m1" / "s0" / "samples"
    (folder / "standard.txt").write_text(f"--- 1\n{NASTY}\x1b[2J\nend" + "x" * 10_000)
    wav = b"RIFF\0\0\0\0WAVEfmt "
    for number, content in enumerate((wav, b"no sound", wav + bytes(400_000), wav, wav), 1):
        (folder / f"standard_{number}.wav").write_bytes(content)
    text, page = page_of(compare(*read_results([logs])))
    assert [sound["src"] for sound in page.all("audio")] == [
        f"data:audio/wav;base64,{base64.b64encode(wav).decode()}"
    ] * 2, "of four at most, those that are sound and small"
    assert "media-src data:" in text
    words = "".join(page.words)
    assert "--- 1" in words
    assert "\\x1b[2J" in words
    assert "x" * 7000 in words
    assert "x" * 8000 not in words
    assert len(page.all("pre")) == 1, "a row without a text has none"
    assert len(page.all("script")) == 1


def test_reconstructions_say_how_far_off_they_are_and_which_rows_they_have(logs: Path) -> None:
    errors = {"mean_error": {"rmse": 1.25}, "unit": f"levels{NASTY}", "codes": "means"}
    contents = (
        json.dumps(errors | {"rows": ["example", "1 of the layers", "reconstruction"]}),
        json.dumps(errors | {"rows": ["example", "reconstruction"]}),
        '{"mean_error": 7}',
    )
    for number, content in enumerate(contents):
        folder = logs / "runs" / f"m{number}" / "s0" / "samples"
        pyplot.imsave(folder / "standard_reconstructions.png", [[0.0, 1.0]])
        (folder / "standard_reconstructions.json").write_text(content)
    words = "".join(page_of(compare(*read_results([logs])))[1].words)
    assert words.count("rmse 1.25, means in levels") == 2
    assert words.count("rows from above: example, 1 of the layers, reconstruction") == 1


def test_captions_say_what_the_floor_has_and_that_no_sample_was_chosen(logs: Path) -> None:
    results, _ = read_results([logs])
    floor = run(9, model__name="floor", model__family="floor", likelihood=None, quality__fid=0.25)
    text = to_html(compare([*results, replace(floor, data=results[0].data)]))
    assert "The first samples of each row&#39;s lowest seed, none chosen." in text
    captions = [words for words in re.findall(r"<figcaption>(.*?)\n", text) if "Pareto" in words]
    assert [words.endswith("The floor has FID 0.25.") for words in captions] == ["FID" in words for words in captions]
    assert {"FID" in words for words in captions} == {True, False}
    assert text.count("<title>floor (spline): FID 0.25</title>") == 2 * 2, "a line and its label against both costs"
    assert len(re.findall(r"<text[^>]*>floor 0.25</text>", text)) == 2


def test_a_caption_names_models_whose_validation_measures_no_likelihood(logs: Path) -> None:
    said = "Without a curve: vae, whose validation measures no likelihood."
    assert "Without a curve" not in to_html(compare(*read_results([logs])))
    for path in logs.glob("runs/m1/*/metrics.csv"):
        path.write_text("examples_seen,train/loss,val/fid\n100,9.0,\n200,5.0,8\n")
    for path in logs.glob("runs/m2/*/metrics.csv"):
        path.unlink()
    text = to_html(compare(*read_results([logs])))
    captions = [words for words in re.findall(r"<figcaption>(.*?)\n", text) if "one curve" in words]
    assert [said in words for words in captions] == ["NLL" in words for words in captions]
    assert text.count("Without a curve") == 1, "whether the third was validated is not known"


def test_what_a_likelihood_is_of_stands_in_lines_of_their_own() -> None:
    """In one line they make the column wider than all its numbers."""
    text = to_html(compared(run(1), run(2, likelihood__kind="ode", likelihood__examples=1280)))
    assert '<span class="muted">ode</span><span class="muted">1,280 examples</span>' in text


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
    values = [value or "" for _, attributes in page.elements for value in attributes.values()]
    pointers = [name for value in values for name in re.findall(r"^(?:url\()?#([^)]+)", value)]
    assert len(set(pointers)) > 6, "marks and the axes' edges, which each drawing has for itself"
    assert set(pointers) <= set(ids)
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


def test_curves_are_those_of_the_files(logs: Path) -> None:
    text, _ = page_of(compare(*read_results([logs])))
    curves = drawn(text, "curve")
    assert len(curves) == 12, "likelihood and FID, one curve for each seed"
    assert all(len(corners(curve)) == 2 for curve in curves), "an empty and a non-finite figure are no points"
    assert all(re.search(r"<title>.*, run .*\d-s[01]</title>", curve) for curve in curves)


def test_the_same_results_give_the_same_page_but_for_its_date(logs: Path) -> None:
    comparison = compare(*read_results([logs]))
    first, second = (re.sub(r"Made on [-0-9: ]+ UTC", "", to_html(comparison)) for _ in range(2))
    assert first == second
    assert re.search(rf"Made on \d{{4}}-\d\d-\d\d \d\d:\d\d UTC with genlab {genlab.__version__}", to_html(comparison))


def test_the_page_says_when_by_what_and_where_its_results_were_made() -> None:
    other = run(2, created="2026-02-03T04:05:06Z", training__device="NVIDIA H200")
    known = Result.of({**result(), "software": {"python": "3.12.1", "torch": "2.13.0"}})
    text, page = page_of(compared(reduce_result(known)))
    assert "Results of 2026-01-01; Python 3.12.1, torch 2.13.0; trained on cpu x86_64, 2 threads." in text
    assert f"Python {platform.python_version()}, torch {metadata.version('torch')}" in "".join(page.words)
    text, _ = page_of(compared(reduce_result(known), other))
    assert "Results of 2026-01-01 to 2026-02-03; Python 3.12.1, torch 2.13.0." in text
    runs = text[text.index(">Runs<") :]
    for words in ("2026-02-03", "NVIDIA H200", "2026-01-01", "cpu x86_64, 2 threads", "Python 3.12.1, torch 2.13.0"):
        assert words in runs


def test_headings_say_which_way_is_better() -> None:
    text, _ = page_of(compared(run(quality__neighbour_ratio=1.0)))
    arrows = dict(re.findall(r'<button type="button">([^<]*?)(?: <abbr title="([^"]*)">.</abbr>)?</button>', text))
    assert arrows["FID"] == "lower is better"
    assert arrows["precision"] == "higher is better"
    assert arrows["neighbour ratio"] == "", "neither way is"


def test_a_table_without_a_report_waits_for_no_plots_and_no_templates() -> None:
    code = "import genlab.command.compare, sys; print(*{'matplotlib', 'jinja2', 'numpy'} & set(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == []


def test_a_cost_that_is_the_same_for_all_is_not_drawn() -> None:
    def costs(second: float) -> list[str]:
        rows = (
            run(1, training__wall_seconds=1200.0),
            run(2, training__wall_seconds=second, sampling__ms_per_sample=9.0),
        )
        return re.findall(r"FID against (\w+) cost", page_of(compared(*rows))[0])

    assert set(costs(1201.0)) == {"sampling"}
    assert set(costs(1300.0)) == {"sampling", "training"}


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
    text, _ = page_of(many_compared())
    assert text.count('<tr><th scope="row" data-value') == 5000
    assert text.count("Pareto front</title>") > 0
    assert "300 more points are left out" in text
