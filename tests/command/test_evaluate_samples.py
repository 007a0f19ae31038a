"""Samples of another program in the table of runs."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch

from genlab.command import cli
from genlab.comparison.ranking import compare
from genlab.comparison.reading import read_results
from genlab.core.randomness import Stream, generator
from genlab.data.images import Digits
from genlab.measure.figures import of_section
from genlab.measure.results import read_result
from genlab.modalities import modality_of
from genlab.runs.atomic import write_atomic
from tests.command.hostile import refused

COUNT = 300


NAMES = {"theirs": "a.npy", "zipped": "a.npz", "pictures": "a"}
"""Who gives which file or folder of the same samples: of each kind that keeps their values."""


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Logs with the results of training digits that are given as foreign, and of the floor, which draws the same."""
    folder = tmp_path_factory.mktemp("foreign")
    digits = Digits()
    train = digits.tensors("train").x
    x = train[torch.randperm(len(train), generator=generator(Stream.SAMPLES, 0))[:COUNT]]
    for name, save in (("a.npy", np.save), ("a.npz", np.savez_compressed)):
        content = io.BytesIO()
        save(content, x.numpy())
        write_atomic(folder / name, content.getvalue())
    (folder / "a").mkdir()
    for number, example in enumerate(x):
        modality_of(digits.spec).write_one(example, digits.spec, folder / "a" / f"{number:03d}")
    for name, file in NAMES.items():
        given = [f"samples={folder / file}", "data=digits", "evaluation=quick", f"evaluation.num_samples={COUNT}"]
        assert cli.evaluate([*given, f"paths.logs={folder}", f"name={name}", "trained_on=all digits, test too"]) == 0
    return folder


def found(logs: Path, name: str) -> Path:
    (path,) = logs.glob(f"runs/digits/{name}/*/results/quick.json")
    return path


@pytest.mark.parametrize("name", NAMES)
def test_real_data_given_as_foreign_has_the_floors_figures(name: str, logs: Path) -> None:
    foreign, floor = read_result(found(logs, name)), read_result(found(logs, "floor"))
    compared = 0
    for figure in of_section("quality"):
        # As for copies, the floor counts as trained on the others; and what class a sample was to be, nobody has said.
        if {"training", "asked"} & set(figure.needs):
            continue
        assert foreign.value(figure) == floor.value(figure), figure.key
        compared += foreign.value(figure) is not None
    assert compared > 5
    assert foreign.protocol == floor.protocol


def test_the_result_says_what_nobody_declared(logs: Path) -> None:
    foreign = read_result(found(logs, "theirs"))
    assert foreign.model.family == "foreign"
    assert "trained on: all digits" in foreign.model.variant
    assert foreign.sampling is foreign.likelihood is foreign.model.parameters is None
    assert foreign.reason("model.parameters") == "not declared"
    assert foreign.checkpoint == "none"
    assert (found(logs, "theirs").parents[1] / "samples" / "quick.png").is_file()


def test_of_more_samples_those_measured_are_of_all_classes(tmp_path: Path) -> None:
    train = Digits().tensors("train")
    order = train.y.argsort(stable=True)
    content = io.BytesIO()
    np.save(content, train.x[order].numpy())
    write_atomic(tmp_path / "sorted.npy", content.getvalue())
    given = [f"samples={tmp_path / 'sorted.npy'}", "data=digits", "evaluation=quick", f"evaluation.num_samples={COUNT}"]
    assert cli.evaluate([*given, f"paths.logs={tmp_path}", "name=sorted"]) == 0
    result = read_result(found(tmp_path, "sorted"))
    assert result.quality.n_fake == COUNT
    assert result.quality.missing_classes == 0


def test_it_stands_in_the_table_marked_as_foreign(logs: Path, capfd: pytest.CaptureFixture[str]) -> None:
    read, skipped = read_results([logs])
    assert {run.model for run in read} == {*NAMES, "floor"}
    assert not skipped
    assert {row.first.model for row in compare(read).groups[0].rows} == {*NAMES, "floor"}, "though they are the same"
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
def test_what_cannot_be_measured(words: str, says: str, logs: Path, capfd: pytest.CaptureFixture[str]) -> None:
    given = words.replace("{file}", str(logs / "a.npy")).split()
    refused(["evaluate", *given, "evaluation=quick", f"paths.logs={logs}"], capfd, [says])
