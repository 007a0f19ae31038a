"""Samples of another program in the table of runs."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch

from genlab.command import cli
from genlab.comparison.reading import read_results
from genlab.core.randomness import Stream, generator
from genlab.data.images import Digits
from genlab.measure.figures import of_section
from genlab.measure.results import read_result
from genlab.runs.atomic import write_atomic
from tests.command.hostile import refused

COUNT = 300


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The results of training digits that are given as foreign, and of the floor; the floor draws the same ones."""
    folder = tmp_path_factory.mktemp("foreign")
    train = Digits().tensors("train").x
    rows = torch.randperm(len(train), generator=generator(Stream.SAMPLES, 0))[:COUNT]
    content = io.BytesIO()
    np.save(content, train[rows].numpy())
    write_atomic(folder / "a.npy", content.getvalue())
    given = [f"samples={folder / 'a.npy'}", "data=digits", "evaluation=quick", f"evaluation.num_samples={COUNT}"]
    assert cli.evaluate([*given, f"paths.logs={folder}", "name=theirs", "trained_on=all digits"]) == 0
    (foreign,), (floor,) = (
        list(folder.glob(f"runs/digits/{name}/*/results/quick.json")) for name in ("theirs", "floor")
    )
    return foreign, floor


def test_real_data_given_as_foreign_has_the_floors_figures(results: tuple[Path, Path]) -> None:
    foreign, floor = map(read_result, results)
    compared = 0
    for figure in of_section("quality"):
        # As for copies, the floor counts as trained on the others; and what class a sample was to be, nobody has said.
        if {"training", "asked"} & set(figure.needs):
            continue
        assert foreign.value(figure) == floor.value(figure), figure.key
        compared += foreign.value(figure) is not None
    assert compared > 5
    assert foreign.protocol == floor.protocol


def test_the_result_says_what_nobody_declared(results: tuple[Path, Path]) -> None:
    foreign = read_result(results[0])
    assert foreign.model.family == "foreign"
    assert "trained on: all digits" in foreign.model.variant
    assert foreign.sampling is foreign.likelihood is foreign.model.parameters is None
    assert foreign.reason("model.parameters") == "not declared"
    assert foreign.checkpoint == "none"
    assert (results[0].parents[1] / "samples" / "quick.png").is_file()


def test_it_stands_in_the_table_marked_as_foreign(
    results: tuple[Path, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    logs = results[0].parents[5]
    found, skipped = read_results([logs])
    assert {run.model for run in found} == {"theirs", "floor"}
    assert not skipped
    capfd.readouterr()
    assert cli.compare([f"paths.logs={logs}"]) == 0
    said = capfd.readouterr().out
    assert "theirs" in said
    assert "foreign" in said


@pytest.mark.parametrize(
    "words", ["CIFAR-10, test too", "anybody's 'own'", 'a "b", c\\', "null", "x", '"as, it is"', "=, ${not_a: b"]
)
def test_words_with_commas_are_words(words: str) -> None:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    (override,) = OverridesParser.create().parse_overrides([cli.as_words(f"trained_on={words}", ("trained_on",))])
    assert not override.is_sweep_override()
    expected = None if words == "null" else words.strip('"') if words.startswith('"') else words
    value = override.value()
    assert (value if value is None else str(value)) == expected
    assert cli.as_words("data=a,b", ("trained_on",)) == "data=a,b"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("samples=no.npz data=digits", "no such file"),
        ("samples={file} data=mnist", "none of mnist: x has shape [N, 1, 8, 8], expected [N, 1, 28, 28]"),
        ("samples={file}", "data"),
        ("samples='' data=digits", "samples is ''"),
        ("samples={file} data=digits name=a/b", "name is 'a/b'"),
        ("samples={file} data=digits nonsense=1", "nonsense"),
    ],
)
def test_what_cannot_be_measured(
    words: str, says: str, results: tuple[Path, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    logs = results[0].parents[5]
    given = words.replace("{file}", str(logs / "a.npy")).split()
    refused(["evaluate", *given, "evaluation=quick", f"paths.logs={logs}"], capfd, [says])
