"""The commands that use a trained run: what they leave, what they say, and that it can be made again."""

from __future__ import annotations

import csv
import json
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from genlab.command import cli
from genlab.command import sample as sampling
from genlab.command.load import load_run
from genlab.data.images import Digits
from genlab.measure import batches
from genlab.modalities import modality_of
from genlab.runs.atomic import write_atomic
from genlab.uses.sample import sample
from tests.command.hostile import refused
from tests.tiny import run_folder, train

VAE = ["model.conv.channels=[4,8]", "model.latent_dims=4", "model.mlp.hidden=[16]"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny VAE on digits."""
    logs = tmp_path_factory.mktemp("logs")
    train(logs, *VAE, "evaluation.num_samples=4", model="vae")
    return run_folder(logs)


@pytest.fixture(scope="module")
def without_codes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    logs = tmp_path_factory.mktemp("gmm")
    train(logs, model="gmm")
    return run_folder(logs)


def words_of(record: dict[str, object], out: Path) -> list[str]:
    """The arguments that a JSON file of a use gives, to make again what it stands beside."""
    settings = record["settings"]
    assert isinstance(settings, dict)
    given = {key: value for key, value in settings.items() if not isinstance(value, dict)}
    maps = {key: ",".join(f"{k}:{v}" for k, v in value.items()) for key, value in settings.items() if key not in given}
    words = [f"{key}={'null' if value is None else value}" for key, value in given.items()]
    return [*words, *(f"{key}={{{text}}}" for key, text in maps.items()), f"out={out}"]


def test_reconstruct(run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.reconstruct([f"run={run}", "n=10", f"out={tmp_path / 'a.npz'}"]) == 0
    said = capfd.readouterr().out
    assert "Reconstructed 10 examples of digits, test: rmse" in said
    assert "Codes: 4 numbers, mean of the posterior." in said
    assert {path.name for path in tmp_path.iterdir()} == {"a.npz", "a.png", "a.json", "a_errors.csv"}
    arrays, record = np.load(tmp_path / "a.npz"), json.loads((tmp_path / "a.json").read_text())
    data = Digits().tensors("test")
    assert np.array_equal(arrays["x"], data.x[record["examples"]].numpy())
    model = load_run(run)
    values = model.decode(model.encode(torch.as_tensor(arrays["x"])))
    assert np.array_equal(arrays["reconstruction"], values.round().clamp(0, 16).byte().numpy())
    rows = list(csv.DictReader((tmp_path / "a_errors.csv").open()))
    rmse = (values - torch.as_tensor(arrays["x"]).float()).flatten(1).square().mean(1).sqrt()
    assert [float(row["rmse"]) for row in rows] == pytest.approx(rmse.tolist(), rel=1e-4)
    assert [int(row["label"]) for row in rows] == data.y[record["examples"]].tolist()
    assert record["mean_error"]["rmse"] == pytest.approx(rmse.mean().item(), rel=1e-4)
    picture = Image.open(tmp_path / "a.png")
    assert "reconstruct.py" in picture.info["Title"]
    assert cli.reconstruct(words_of(record, tmp_path / "b")) == 0
    assert (tmp_path / "b.npz").read_bytes() == (tmp_path / "a.npz").read_bytes()


def test_interpolate(run: Path, tmp_path: Path) -> None:
    assert cli.interpolate([f"run={run}", "a=3", "b=5", "steps=4", f"out={tmp_path / 'a'}"]) == 0
    arrays, record = np.load(tmp_path / "a.npz"), json.loads((tmp_path / "a.json").read_text())
    model = load_run(run)
    back = model.reconstruct(Digits().tensors("test").x[[3, 5]])
    assert np.array_equal(arrays["x"][[0, -1]], back.round().clamp(0, 16).byte().numpy())
    assert arrays["z"].shape == (4, 4)
    assert len(record["ends_error"]["rmse"]) == 2
    assert cli.interpolate(words_of(record, tmp_path / "b")) == 0
    assert (tmp_path / "b.npz").read_bytes() == (tmp_path / "a.npz").read_bytes()


def test_traverse(run: Path, tmp_path: Path) -> None:
    given = ["latents=3", "steps=5", "n=16", "reach=2"]
    assert cli.traverse([f"run={run}", *given, f"out={tmp_path / 'a'}"]) == 0
    arrays, record = np.load(tmp_path / "a.npz"), json.loads((tmp_path / "a.json").read_text())
    assert arrays["x"].shape == (3, 5, 1, 8, 8)
    assert record["importance"] == sorted(record["importance"], reverse=True)
    assert cli.traverse(words_of(record, tmp_path / "b")) == 0
    assert (tmp_path / "b.npz").read_bytes() == (tmp_path / "a.npz").read_bytes()


@pytest.mark.parametrize("form", ["npz", "safetensors"])
def test_samples_are_made_again_from_their_record(form: str, run: Path, tmp_path: Path) -> None:
    assert cli.sample([f"run={run}", "n=5", "seed=2", f"format={form}", "files=true", f"out={tmp_path / 'a'}"]) == 0
    record = json.loads((tmp_path / "a.json").read_text())
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [f"{n}.png" for n in range(5)]
    if form == "npz":
        first = np.load(tmp_path / "a.npz")["x"][0, 0]
        assert np.array_equal(np.asarray(Image.open(tmp_path / "a" / "0.png")), (first / 16 * 255).round())
    assert record["weights"]["sha256"]
    assert record["sampling"]["nfe"] == 1
    assert cli.sample(words_of(record, tmp_path / "b")) == 0
    assert (tmp_path / f"b.{form}").read_bytes() == (tmp_path / f"a.{form}").read_bytes()
    again = json.loads((tmp_path / "b.json").read_text())
    assert {**again, "command": ""} == {**record, "command": ""}


def test_samples_in_memory_do_not_grow_with_n(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alive: list[weakref.ref[torch.Tensor]] = []
    most, checked = [0], [0]

    def drawn(*given: object) -> Iterator[torch.Tensor]:
        for part in sample(*given):
            alive.append(weakref.ref(part))
            most[0] = max(most[0], sum(len(x) for ref in alive if (x := ref()) is not None))
            yield part

    monkeypatch.setattr(batches, "ON_CPU", 3)
    monkeypatch.setattr(modality_of(Digits().spec).__class__, "most_shown", 4)
    monkeypatch.setattr(sampling, "sample", drawn)
    monkeypatch.setattr(sampling, "check_examples_fit", lambda _, count, *__: checked.__setitem__(0, count))
    found = []
    for n in (6, 30):
        assert cli.sample([f"run={run}", f"n={n}", f"out={tmp_path / str(n)}"]) == 0
        found.append((most[0], checked[0]))
        assert len(np.load(tmp_path / f"{n}.npz")["x"]) == n
    assert found == [(6, 4), (6, 4)], "a part and the one before it; what is shown is what must fit"


def test_files_go_into_the_runs_folder_of_samples(run: Path) -> None:
    assert cli.interpolate([f"run={run}", "steps=2", "checkpoint=last"]) == 0
    stem = "interpolate_test_0_1_spherical2_last"
    assert {path.name for path in (run / "samples").glob(f"{stem}*")} == {
        f"{stem}{e}" for e in (".npz", ".png", ".json")
    }


def test_other_settings_of_a_traversal_leave_other_files(run: Path) -> None:
    given = {"example": 0, "latents": 2, "steps": 2, "reach": 3, "n": 8}
    changes = [{}, {"example": 1}, {"latents": 1}, {"steps": 3}, {"reach": 1.5}, {"n": 9}, {"split": "train"}]
    for change in changes:
        assert cli.traverse([f"run={run}", *(f"{key}={value}" for key, value in (given | change).items())]) == 0
    assert len(list((run / "samples").glob("traverse_*.npz"))) == len(changes)


@pytest.mark.parametrize("use", ["reconstruct", "interpolate", "traverse"])
def test_a_run_without_codes(use: str, without_codes: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = sorted(without_codes.rglob("*"))
    refused([use, f"run={without_codes}"], capfd, [f"The gmm family cannot {use}", "Use a vae"])
    assert sorted(without_codes.rglob("*")) == before


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("interpolate a=999999", "a is 999999, expected 0 to"),
        ("interpolate b=999999 split=validation", "an example of digits, validation"),
        ("interpolate a=-1", "a is -1"),
        ("interpolate steps=1", "steps is 1"),
        ("interpolate path=curved", "path is 'curved', expected spherical or linear"),
        ("traverse example=999999", "example is 999999"),
        ("traverse reach=0", "reach is 0"),
        ("reconstruct split=all", "split is 'all'"),
        ("reconstruct n=1", "n is 1"),
        ("sample format=pickle", "format is 'pickle', expected npz or safetensors"),
    ],
)
def test_wrong_settings(words: str, says: str, run: Path, capfd: pytest.CaptureFixture[str]) -> None:
    use, *rest = words.split()
    refused([use, f"run={run}", *rest], capfd, [says])


def test_a_record_that_is_in_the_way_is_found_before_the_work(
    run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.json").mkdir()
    write_atomic(tmp_path / "a.npz", "old")
    for use in ("sample", "reconstruct", "interpolate", "traverse"):
        refused([use, f"run={run}", f"out={tmp_path / 'a'}"], capfd, ["a.json", "a folder"])
    assert (tmp_path / "a.npz").read_text() == "old"


def test_settings_of_sampling(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """They change the samples and stand in the record; what the family has not is said in a line."""
    train(tmp_path / "logs", "model.network=mlp", "model.sampler=ddim", model="diffusion")
    run = run_folder(tmp_path / "logs")
    for name, more in (("a", ["sampling={steps:3,sampler:heun}"]), ("b", [])):
        assert cli.sample([f"run={run}", "n=3", *more, f"out={tmp_path / name}"]) == 0
    one, other = (np.load(tmp_path / f"{name}.npz")["x"] for name in "ab")
    assert not np.array_equal(one, other)
    record = json.loads((tmp_path / "a.json").read_text())
    assert record["settings"]["sampling"] == {"steps": 3, "sampler": "heun"}
    assert record["sampling"]["nfe"] == 5
    assert "heun-3" in record["model"]["variant"]
    assert cli.sample(words_of(record, tmp_path / "c")) == 0
    assert (tmp_path / "c.npz").read_bytes() == (tmp_path / "a.npz").read_bytes()
    for given, says in (
        ("{temperature:1}", "sampling.temperature is no setting by which diffusion draws samples. It has sampler"),
        ("{steps:0}", "model.steps is 0"),
        ("{guidance:2}", "model.guidance is 2, which needs labels"),
        ("3", "sampling is 3"),
    ):
        refused(["sample", f"run={run}", f"sampling={given}"], capfd, [says])
