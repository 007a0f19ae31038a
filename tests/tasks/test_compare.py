"""The command itself: what it reads, prints, writes and refuses, and the table after a sweep."""

from __future__ import annotations

from pathlib import Path

import pytest

from genlab.cli import compare, train
from genlab.tasks.compare import FORMATS
from tests.comparison.results import write
from tests.training import TINY


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    for number, (data, protocol) in enumerate((("mnist", "standard"), ("mnist", "quick"), ("digits", "standard"))):
        write(
            tmp_path / "logs" / f"{number}.json",
            data__name=data,
            protocol__name=protocol,
            protocol__hash=f"{number}a",
            model__name=f"model{number}",
        )
    return tmp_path / "logs"


def said(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert compare(arguments) == 0
    return capsys.readouterr().out


def test_data_and_protocol_choose(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def models(*arguments: str) -> list[str]:
        text = said([f"paths.logs={logs}", *arguments], capsys)
        return [name for name in ("model0", "model1", "model2") if name in text]

    assert models() == ["model0", "model1", "model2"]
    assert models("data=mnist") == ["model0", "model1"]
    assert models("data=mnist", "protocol=quick") == ["model1"]
    assert models("protocol=2a") == ["model2"], "a protocol's hash names it too"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["data=mnits"], ["'mnits'", "Did you mean 'mnist'?", "digits, mnist."]),
        (["protocol=paper"], ["'paper'", "quick, standard"]),
        (["formats=[pdf]"], ["formats", "pdf"]),
        (["folder=x"], ["'folder'", "'folders'"]),
        (["folders=[nowhere]"], ["nowhere", "there is no such file or folder"]),
    ],
)
def test_what_cannot_be_is_said_in_one_or_two_lines(
    logs: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], expected: list[str]
) -> None:
    assert compare([f"paths.logs={logs}", *arguments]) == 2
    error = capsys.readouterr().err.strip()
    assert 1 <= len(error.splitlines()) <= 2
    assert all(text in error for text in expected), error


def test_an_empty_folder_is_no_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare([f"paths.logs={tmp_path}"]) == 2
    assert "There are no results below" in capsys.readouterr().err


def test_out_holds_the_formats_that_were_asked_for(
    logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a" / "b"
    text = said([f"folders=[{logs / '0.json'},{logs / '2.json'}]", f"out={out}"], capsys)
    assert sorted(path.name for path in out.iterdir()) == sorted(file for file, _ in FORMATS.values())
    assert all(str(path) in text for path in out.iterdir())
    assert "python scripts/compare.py" in (out / "comparison.html").read_text()
    said([f"paths.logs={logs}", f"out={tmp_path / 'c'}", "formats=[csv]"], capsys)
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["comparison.csv"]
    assert compare([f"paths.logs={logs}", f"out={logs / '0.json'}"]) == 2
    assert "which is a file" in capsys.readouterr().err


def test_a_sweep_ends_with_the_table_of_its_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [*TINY, f"paths.logs={tmp_path}", "budget.examples=64", "budget.validations=1", "seed=0,1", "-m"]
    assert train(arguments) == 0
    text = capsys.readouterr().out
    assert "digits, quick" in text
    assert "2 seeds" in text
    assert "±" in text.split("digits, quick")[1]
    assert compare([f"paths.logs={tmp_path}"]) == 0
    assert "2 seeds" in capsys.readouterr().out, "and compare finds the same"
