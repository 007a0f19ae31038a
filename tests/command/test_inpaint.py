"""The commands inpaint and augment: what they leave and say, and that it can be made again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genlab.command import cli
from genlab.data.images import Digits
from tests.command.hostile import refused
from tests.tiny import run_folder, train


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny MADE on digits, told the label."""
    logs = tmp_path_factory.mktemp("logs")
    train(logs, "model.conditional=true", model="made")
    return run_folder(logs)


@pytest.fixture(scope="module")
def mixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    logs = tmp_path_factory.mktemp("gmm")
    train(logs, model="gmm")
    return run_folder(logs)


def test_inpaint(run: Path, mixture: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    given = [f"run={mixture}", "n=6", "each=3", f"exact={run}"]
    assert cli.inpaint([*given, f"out={tmp_path / 'a.png'}"]) == 0
    said = capfd.readouterr().out
    assert "Filled in 6 examples of digits, test, 3 times each; 50% of the values were given, mask half." in said
    assert "Exact: the mixture given the given values." in said
    assert "Energy distance to the exact completions" in said
    assert {path.name for path in tmp_path.iterdir()} == {"a.npz", "a.png", "a.json"}
    arrays, record = np.load(tmp_path / "a.npz"), json.loads((tmp_path / "a.json").read_text())
    assert np.array_equal(arrays["x"], Digits().tensors("test").x[record["examples"]].numpy())
    assert arrays["completions"].shape == (3, 6, 1, 8, 8)
    kept = arrays["given"].astype(bool)
    assert kept[:, :, :4].all()
    assert not kept[:, :, 4:].any()
    for completed in arrays["completions"]:
        assert np.array_equal(completed[kept], arrays["x"][kept])
    assert record["is_exact"] is True
    assert set(record["energy_distance"]) == {"mean", "error"}
    assert cli.inpaint([*_words(record), f"out={tmp_path / 'b'}"]) == 0
    assert (tmp_path / "b.npz").read_bytes() == (tmp_path / "a.npz").read_bytes()
    again = json.loads((tmp_path / "b.json").read_text())
    assert {**again, "command": ""} == {**record, "command": ""}


def test_an_approximation_is_named(run: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.inpaint([f"run={run}", "n=2", "each=1", "mask=box", "rounds=0", "split=validation"]) == 0
    assert "Approximate: importance resampling of 16 candidates." in capfd.readouterr().out
    stem = "inpaint_validation_box_n2_each1_s0_rounds0"
    found = {path.name for path in (run / "samples").glob(f"{stem}*")}
    assert found == {f"{stem}{ending}" for ending in (".npz", ".png", ".json")}
    assert "energy_score" not in json.loads((run / "samples" / f"{stem}.json").read_text())


def test_other_settings_leave_other_files(run: Path, mixture: Path, tmp_path: Path) -> None:
    """Masks of one name too."""
    masks = [tmp_path / folder / "mask.png" for folder in ("a", "b")]
    for place, path in enumerate(masks):
        path.parent.mkdir()
        picture = Image.new("L", (8, 8), "white")
        picture.putpixel((place, 0), 0)
        picture.save(path)
    given = {"n": 2, "each": 2}
    changes = [
        {}, {"n": 3}, {"each": 3}, {"seed": 1}, {"rounds": 1}, {"exact": run}, {"split": "train"}, {"mask": "box"},
        {"checkpoint": "last"}, *({"mask": path} for path in masks),
    ]  # fmt: skip
    for change in changes:
        assert cli.inpaint([f"run={mixture}", *(f"{key}={value}" for key, value in (given | change).items())]) == 0
    assert len(list((mixture / "samples").glob("inpaint_*.npz"))) == len(changes)


def test_augment(run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    import genlab.measure.metrics.classification_accuracy as recipe

    monkeypatch.setattr(recipe, "STEPS", 20)
    assert cli.augment([f"run={run}", "n=20", "seeds=2", "fraction=0.05", f"out={tmp_path / 'a'}"]) == 0
    said = capfd.readouterr().out
    record = json.loads((tmp_path / "a.json").read_text())
    assert set(record["accuracies"]) == set(record["mean"]) == {"real", "synthetic", "both"}
    assert all(0 <= value <= 1 for values in record["accuracies"].values() for value in values)
    assert f"{record['real_examples']:,} real and 20 synthetic" in said
    verdict = {1: "help", 0: "No difference beyond chance", -1: "harm"}
    low, high = (record["gain"]["mean"] + side * record["gain"]["half_width"] for side in (-1, 1))
    assert verdict[(low > 0) - (high < 0)] in said
    assert f"learned from all {record['model_saw']:,} training examples" in said


def _words(record: dict[str, dict[str, object]]) -> list[str]:
    return [f"{key}={'null' if value is None else value}" for key, value in record["settings"].items()]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("inpaint run={run} mask=hlaf", "mask is 'hlaf', expected half, box, random, a PNG of 8 x 8 pixels."),
        ("inpaint run={run} mask=no.png", "no file"),
        ("inpaint run={run} exact=nowhere", "exact: "),
        ("inpaint run={run} exact={run} mask=box", "is no measure for mask=box"),
        ("inpaint run={run} exact={run} each=1", "each is 1"),
        ("inpaint run={run} rounds=-1", "rounds is -1"),
        ("inpaint run={run} each=0", "each is 0"),
        ("augment run={mixture}", "is not class-conditional. Train a flow, a gan"),
        ("augment run={run} n=0", "n is 0"),
    ],
)
def test_wrong_settings(words: str, says: str, run: Path, mixture: Path, capfd: pytest.CaptureFixture[str]) -> None:
    filled = words.replace("{run}", str(run)).replace("{mixture}", str(mixture))
    before = sorted(run.rglob("*"))
    refused(filled.split(), capfd, [says])
    assert sorted(run.rglob("*")) == before
