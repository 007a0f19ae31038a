"""The commands about what is unusual: what they leave and say, that it is made again, and the table over runs."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score

from genlab.command import cli
from genlab.command.load import load_run
from genlab.comparison.anomalies import read_reports, tables_of, to_lines
from genlab.core.noise import ExampleNoise
from genlab.core.randomness import Stream, stream_seed
from genlab.data.images import Digits
from genlab.runs.atomic import atomic_file, write_atomic
from tests.command.hostile import refused
from tests.command.test_use import words_of
from tests.tiny import run_folder, train


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    logs = tmp_path_factory.mktemp("logs")
    train(logs, model="gmm")
    return run_folder(logs)


@pytest.fixture(scope="module")
def found(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of what ``detect`` left, with itself as a background model."""
    out = tmp_path_factory.mktemp("found")
    given = [f"run={run}", "against=vertical_flip", "n=40", f"background={run}", f"out={out / 'a'}"]
    assert cli.detect(given) == 0
    return out


def test_what_is_left(found: Path, run: Path) -> None:
    assert {path.name for path in found.iterdir()} == {
        "a.json", "a_scores.csv", "a_histograms.png", "a_unusual.png",
    }  # fmt: skip
    record = json.loads((found / "a.json").read_text())
    assert list(record["scores"]) == ["nll", "typicality", "likelihood_ratio", "complexity", "neighbour"]
    assert set(record["missing"]) == {"reconstruction", "denoising"}
    assert record["scores"]["likelihood_ratio"]["auroc"] == 0.5, "its own background tells nothing apart"
    for name in ("a_histograms", "a_unusual"):
        assert "detect.py" in Image.open(found / f"{name}.png").info["Title"]


def test_scores_are_those_of_log_prob_and_figures_those_of_the_scores(found: Path, run: Path) -> None:
    record, rows = json.loads((found / "a.json").read_text()), list(csv.DictReader((found / "a_scores.csv").open()))
    data, model = Digits().tensors("test"), load_run(run)
    own, other = ([row for row in rows if row["set"] == name] for name in ("digits", "vertical_flip"))
    assert len(own) == len(other) == 40
    places = [torch.tensor([int(row["example"]) for row in part]) for part in (own, other)]
    assert not set(places[0].tolist()) & set(places[1].tolist()), "no picture is in both sets"
    for number, (part, x) in enumerate(((own, data.x[places[0]]), (other, data.x[places[1]].flip(-2)))):
        noise = ExampleNoise(stream_seed(Stream.LIKELIHOOD, 0, 2, number), 0)
        nll = -model.log_prob(x, generator=noise)
        assert [float(row["nll"]) for row in part] == pytest.approx(nll.tolist(), rel=1e-6)
        assert [int(row["label"]) for row in part] == data.y[places[number]].tolist()
    for name, figures in record["scores"].items():
        values = [float(row[name]) for row in (*own, *other)]
        assert figures["auroc"] == pytest.approx(roc_auc_score([0] * 40 + [1] * 40, values), abs=1e-6)
    bits = [float(row["nll"]) / np.log(2) - int(row["compressed_bits"]) for row in own]
    assert [float(row["complexity"]) for row in own] == pytest.approx(bits, rel=1e-6)


def test_it_is_made_again_from_its_record(found: Path, tmp_path: Path) -> None:
    record = json.loads((found / "a.json").read_text())
    assert cli.detect(words_of(record, tmp_path / "b")) == 0
    for name in ("_scores.csv",):
        assert (tmp_path / f"b{name}").read_bytes() == (found / f"a{name}").read_bytes()
    assert json.loads((tmp_path / "b.json").read_text())["scores"] == record["scores"]


def test_against_a_data_set_and_a_file(run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    given = [f"run={run}", "n=100", "scores=[nll]"]
    assert cli.detect([*given, "against=digits", f"out={tmp_path / 'same'}"]) == 0
    with atomic_file(tmp_path / "noise.npy") as file:
        np.save(file, np.random.RandomState(0).randint(0, 17, (100, 8, 8)).astype(np.uint8))
    assert cli.detect([*given, f"against={tmp_path / 'noise.npy'}", f"out={tmp_path / 'noise'}"]) == 0
    same, noise = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("same", "noise"))
    assert abs(same["scores"]["nll"]["auroc"] - 0.5) < 3 * same["scores"]["nll"]["auroc_se"]
    assert noise["other"] == "noise"
    assert noise["scores"]["nll"]["auroc"] > 0.95, "noise is less probable than digits"
    assert noise["told_by_the_other_set"] == []
    refused(["detect", *given, f"against={run}"], capfd, ["against: samples is"])


def test_a_run_without_any_likelihood_has_the_baseline(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    train(tmp_path, model="gan")
    run = run_folder(tmp_path)
    refused(["detect", f"run={run}", "against=vertical_flip", "scores=[nll]"], capfd, ["the gan family has no likel"])
    assert cli.detect([f"run={run}", "against=horizontal_flip", "n=10", "scores=[neighbour]"]) == 0
    names = {path.name for path in (run / "samples").glob("detect*")}
    assert {name.removeprefix("detect_test_horizontal_flip_n10_neighbour") for name in names} == {
        ".json", "_scores.csv", "_histograms.png", "_unusual.png",
    }  # fmt: skip
    assert cli.anomalies([f"paths.logs={tmp_path}"]) == 0
    said = capfd.readouterr().out
    assert "Rows of _unusual.png from above: neighbour.\n" in said
    assert "AUROC, digits against horizontal_flip, test, 10 and 10 examples" in said


# The table over runs.


def report(path: Path, model: str, data: str, other: str, **scores: tuple[float, float] | str) -> None:
    figures = {
        name: {f"{figure}{end}": part for figure in ("auroc", "average_precision", "fpr_at_95")
               for end, part in zip(("", "_se"), value, strict=True)}
        for name, value in scores.items() if not isinstance(value, str)
    }  # fmt: skip
    content = {
        "use": "detect", "run": path.stem, "model": {"name": model, "variant": ""}, "data": {"name": data},
        "settings": {"split": "test", "n": 10, "checkpoint": "best"}, "other": other,
        "own_examples": 10, "other_examples": 10, "scores": figures,
        "missing": {name: value for name, value in scores.items() if isinstance(value, str)},
        "told_by_the_other_set": ["likelihood_ratio"],
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps(content, indent=2))


def test_one_table_for_each_pair_and_direction(tmp_path: Path) -> None:
    report(tmp_path / "x" / "r1.json", "flow", "b", "a", nll=(0.9, 0.02), neighbour=(0.8, 0.02))
    report(tmp_path / "r2.json", "gan", "a", "b", nll="it has no likelihood", neighbour=(0.7, 0.01))
    report(tmp_path / "r3.json", "made", "a", "b", nll=(0.71, 0.01), likelihood_ratio=(0.99, 0.0), neighbour=(0.7, 0.0))
    write_atomic(tmp_path / "other.json", "{}")
    write_atomic(tmp_path / "broken.json", '{"use": "detect", "run": 7}')
    reports, skipped = read_reports([tmp_path, tmp_path / "gone"])
    assert [Path(item.path).name for item in skipped] == ["broken.json", "gone"]
    first, second = tables_of(reports)
    assert first.title == "AUROC, a against b, test, 10 and 10 examples"
    assert second.title.startswith("AUROC, b against a")
    assert first.heading == ("model", "run", "neighbour (baseline)", "nll", "likelihood_ratio")
    assert first.rows == (
        ("gan", "r2", "0.700 ± 0.010", "-", "-"),
        ("made", "r3", "0.700 ± 0.000", "0.710 ± 0.010", "0.990 ± 0.000*†"),
    )
    assert first.notes == ("No nll of gan: it has no likelihood.",)
    assert second.rows == (("flow", "r1", "0.800 ± 0.020", "0.900 ± 0.020*"),)
    for width in (sys.maxsize, 60, 45):
        text = to_lines([first], width)
        assert max(map(len, text.splitlines())) <= width
        lines = [line.split() for line in text.splitlines()]
        assert lines.count(["r3", "made"]) == (width < sys.maxsize), "what a run is stands once"
        shown = [value for line in lines if "r3" in line for value in line if value[0] == "0"]
        assert shown == ["0.700", "0.000", "0.710", "0.010", "0.990", "0.000*†"]
    # Of false alarms fewer are better.
    assert [row[3] for row in tables_of(reports, "fpr_at_95")[1].rows] == ["0.900 ± 0.020"]


def test_what_others_wrote_shows_and_does_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    report(tmp_path / "r.json", "a\x1b[2J|b", "d", "o\x1b]", nll=(0.9, 0.1))
    assert cli.anomalies([f"folders=[{tmp_path}]", f"out={tmp_path / 'table.md'}"]) == 0
    said = capfd.readouterr().out
    assert "\x1b" not in said
    text = (tmp_path / "table.md").read_text()
    assert "\x1b" not in text
    assert "a\\\\x1b\\[2J\\|b" in text
    assert "## AUROC, d against o" in text
