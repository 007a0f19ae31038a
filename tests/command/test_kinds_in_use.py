"""The commands that use a trained run, on text, sound, tables and series: what each leaves, and makes again."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from torch import Tensor

from genlab.command import cli, detect
from genlab.command.load import load_run
from genlab.core.noise import ExampleNoise
from genlab.core.randomness import Stream, stream_seed
from genlab.core.spec import DataSpec
from genlab.data import own
from genlab.measure.metrics import classification_accuracy
from genlab.measure.results import read_result
from genlab.modalities import modality_of
from genlab.runs.atomic import atomic_file
from genlab.uses.foreign import read_samples
from tests.command.hostile import refused
from tests.command.kinds import KINDS, RATE_HZ, Left, Used, trained, without_pictures
from tests.command.test_use import words_of

READABLE = {"text": {".txt"}, "table": {".csv"}, "series": {".csv"}}
"""Files to read of samples; those of sound are as many as there are samples."""
READ_BACK = 1e-6
"""Share of a number by which the one that is read back from a CSV file of 7 digits may differ."""


class Runs(dict[tuple[str, str], Used]):
    """A tiny run on each kind of data, trained when it is first asked for."""

    def __init__(self, factory: pytest.TempPathFactory) -> None:
        super().__init__()
        self._factory = factory

    def __missing__(self, key: tuple[str, str]) -> Used:
        kind, model = key
        self[key] = trained(kind, self._factory.mktemp(kind), model, *LABELLED.get(key, []))
        return self[key]


LABELLED = {
    ("table", "made"): ["model.conditional=true", "model.hidden=16"],
    ("sound", "gan"): ["model.conditional=true", "model.wave.channels=2", "model.wave.max_channels=4"],
}
"""The models that are told labels, small."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory)


def left(use: str, used: Used, stem: Path, *words: str) -> Left:
    """Give a command, and hold what all of them leave to the rule: a picture with its title, all made again."""
    found = Left.of(use, [f"run={used.path}", *words], stem)
    with Image.open(stem.with_name(f"{stem.name}.png")) as picture:
        assert f"{use}.py" in picture.info["Title"]
        assert len(np.unique(np.asarray(picture))) > 10, "something is drawn"
    with without_pictures():
        again = Left.of(use, words_of(found.record, stem), stem.with_name(f"again-{stem.name}"))
    first = {name: content for name, content in found.files().items() if not name.endswith(".png") or "/" in name}
    assert again.files() == first
    assert {**again.record, "command": ""} == {**found.record, "command": ""}
    return found


def endings(found: Left) -> set[str]:
    return set(found.files()) - {".npz", ".png"}


def sounds(count: int, which: str = "") -> set[str]:
    return {f"{which}_{number}.wav" for number in range(1, count + 1)}


def readable(kind: str, count: int, *which: str) -> set[str]:
    """The files to read or to listen to of so many examples."""
    return {name for part in which or ("",) for name in
            (sounds(count, part) if kind == "sound" else {part + ending for ending in READABLE[kind]})}  # fmt: skip


def read(path: Path, kind: str, spec: DataSpec) -> Tensor:
    """What a file of many examples, or the files of single ones, hold."""
    modality = modality_of(spec)
    if kind in ("table", "series"):
        return modality.read_many(path.with_name(f"{path.name}.csv"), spec)
    files = sorted(path.glob("*"), key=lambda file: int(file.stem))
    return torch.stack([modality.read_one(file, spec) for file in files])


@pytest.mark.parametrize("kind", KINDS)
def test_samples(kind: str, runs: Runs, tmp_path: Path) -> None:
    used, one_each = runs[kind, "vae"], kind in ("text", "sound")
    found = left("sample", used, tmp_path / "made", "n=3", "seed=4", f"files={one_each}")
    suffix = {"text": "txt", "sound": "wav"}.get(kind)
    single = {f"/{number}.{suffix}" for number in range(3)} if one_each else set()
    assert endings(found) == readable(kind, 3) | single
    x = torch.from_numpy(found.arrays["x"])
    assert x.dtype == used.module.tensors("test").x.dtype
    assert torch.allclose(read(tmp_path / "made", kind, used.module.spec), x, rtol=READ_BACK), (
        "what is read is the array"
    )
    assert "y" not in found.arrays


def test_samples_of_a_table_say_their_labels(runs: Runs, tmp_path: Path) -> None:
    used = runs["table", "made"]
    for words, expected in (([], {"hard", "soft"}), (["label=soft"], {"soft"})):
        found = left("sample", used, tmp_path / f"made{len(words)}", "n=30", *words)
        rows = list(csv.DictReader(io.StringIO(found.files()[".csv"].decode())))
        assert list(rows[0]) == ["size", "weight", "tree", "wood"]
        assert {row["wood"] for row in rows} == expected
        assert [row["wood"] for row in rows] == [("hard", "soft")[label] for label in found.arrays["y"].tolist()]
    assert set(found.arrays["y"].tolist()) == {1}
    assert found.record["settings"]["label"] == "soft"
    assert cli.export([f"run={used.path}", f"to={tmp_path / 'export'}"]) == 0
    shared = tmp_path / "export" / "samples"
    woods = [row["wood"] for row in csv.DictReader(io.StringIO((shared / "samples.csv").read_text()))]
    assert woods == [("hard", "soft")[label] for label in np.load(shared / "samples.npz")["y"].tolist()]
    files = list(used.path.glob("samples/*.csv"))
    assert len(files) > 1, "of validation and of the evaluation"
    assert all(path.read_text().startswith("size,weight,tree,wood\n") for path in files)


@pytest.mark.parametrize("kind", KINDS)
def test_reconstructions_and_the_ways_between_them(kind: str, runs: Runs, tmp_path: Path) -> None:
    used = runs[kind, "vae"]
    found = left("reconstruct", used, tmp_path / "made", "n=2")
    assert endings(found) == readable(kind, 2, "_example", "_reconstruction") | {"_errors.csv"}
    rows = found.record["examples"]
    assert np.array_equal(found.arrays["x"], used.test(rows).x)
    table = list(csv.DictReader(io.StringIO(found.files()["_errors.csv"].decode())))
    assert [int(row["example"]) for row in table] == rows
    measured = {"text": {"wrong_share"}, "table": {"rmse", "largest", "wrong_share"}}
    assert set(table[0]) - {"example", "label"} == measured.get(kind, {"rmse", "largest"})
    for name, mean in found.record["mean_error"].items():
        assert np.mean([float(row[name]) for row in table]) == pytest.approx(mean)
    a, b = rows[:2]
    way = left("interpolate", used, tmp_path / "way", f"a={a}", f"b={b}", "steps=2")
    assert endings(way) == readable(kind, 2)
    assert np.allclose(way.arrays["x"][[0, -1]], found.arrays["reconstruction"][:2], rtol=1e-4, atol=1e-4)
    assert np.allclose(way.arrays["z"][[0, -1]], found.arrays["z"][:2])
    assert len(way.record["ends_error"]) == len(found.record["mean_error"])


@pytest.mark.parametrize("kind", KINDS)
def test_traversals(kind: str, runs: Runs, tmp_path: Path) -> None:
    used = runs[kind, "vae"]
    found = left("traverse", used, tmp_path / "made", "latents=1", "steps=2", "n=4")
    assert endings(found) == readable(kind, 2)
    assert found.arrays["x"].shape == (1, 2, *used.module.spec.shape)
    assert found.arrays["z"].shape == (1, 2)
    assert ("slope" in found.record["importance_is"]) == (kind != "text"), "symbols have no derivative"


@pytest.mark.parametrize(
    ("kind", "mask"), [("text", "half"), ("sound", "box"), ("table", "tree"), ("series", "volume")]
)
def test_what_is_filled_in(kind: str, mask: str, runs: Runs, tmp_path: Path) -> None:
    used = runs[kind, "vae"]
    found = left("inpaint", used, tmp_path / "made", f"mask={mask}", "n=2", "each=2", "rounds=3")
    assert endings(found) == readable(kind, 2)
    x, given = found.arrays["x"], found.arrays["given"].astype(bool)
    batch = used.test(found.record["examples"])
    assert np.array_equal(x, batch.x)
    assert given.any()
    for completed in found.arrays["completions"]:
        assert np.array_equal(completed[given], x[given]), "what is given stays as it is"
    there = np.ones_like(given) if batch.mask is None else batch.mask.numpy()
    expected = {
        "half": np.arange(16) < 8, "tree": np.array([True, True, False]),
        "volume": np.array([[True] * 8, [False] * 8]),
    }.get(mask)  # fmt: skip
    if expected is not None:
        assert np.array_equal(given, there & np.broadcast_to(expected, given.shape))
    assert np.isfinite(found.record["energy_score"]["mean"])


def other_examples(used: Used, folder: Path) -> Path:
    """A file of as many examples as are read, that are none of the run's data: levels by chance, numbers far off.

    Where examples differ in length it is a folder of sounds, some at another rate.
    """
    spec = used.module.spec
    if spec.has_mask:
        (folder / "other").mkdir()
        for number in range(4):
            noise, rate = np.random.RandomState(number).uniform(-1, 1, 100 + 50 * number), RATE_HZ * (1 + number % 2)
            soundfile.write(folder / "other" / f"{number}.wav", noise, rate)
        return folder / "other"
    x = used.module.tensors("train").x
    x = x.repeat(-(-120 // len(x)), *[1] * len(spec.shape))[:120].clone()
    noise = torch.Generator().manual_seed(0)
    if spec.is_discrete:
        x = torch.randint(spec.levels, x.shape, generator=noise)
    else:
        numbers = [place for place, field in enumerate(spec.fields) if field.levels is None] or slice(None)
        x[:, numbers] = x[:, numbers] + 100
    with atomic_file(folder / "other.npy") as file:
        np.save(file, x.numpy())
    return folder / "other.npy"


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_unusual(kind: str, runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detect, "UNUSUAL", 1)
    used = runs[kind, "vae"]
    words = [f"run={used.path}", f"against={other_examples(used, tmp_path)}", "n=10"]
    found = Left.of("detect", words, tmp_path / "made")
    with without_pictures():
        again = Left.of("detect", words_of(found.record, tmp_path / "made"), tmp_path / "again")
    pictures = {"_histograms.png", "_unusual.png"}
    assert set(found.files()) == {"_scores.csv", *pictures, *readable(kind, 1, "_unusual")}
    assert {n: c for n, c in again.files().items() if n not in pictures} == {
        n: c for n, c in found.files().items() if n not in pictures
    }
    assert {"nll", "typicality", "reconstruction"} <= set(found.record["scores"])
    assert ("complexity" in found.record["scores"]) == (kind in ("text", "sound")), "of levels"
    assert ("neighbour" in found.record["scores"]) == (kind != "text"), "of which nothing has features"
    assert "likelihood_ratio" in found.record["missing"]
    if kind in ("table", "series"):  # of levels so small a model knows nothing
        assert found.record["scores"]["nll"]["auroc"] > 0.9, "what is far off is improbable"
    rows = list(csv.DictReader(io.StringIO(found.files()["_scores.csv"].decode())))
    own = [row for row in rows if row["set"] == used.module.spec.name]
    batch = used.test([int(row["example"]) for row in own])
    noise = ExampleNoise(stream_seed(Stream.LIKELIHOOD, 0, 2, 0), 0)
    nll = -load_run(used.path).log_prob(batch.x, mask=batch.mask, generator=noise)
    assert [float(row["nll"]) for row in own] == pytest.approx(nll.tolist(), rel=1e-5)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Classifiers of pictures are trained for a few steps."""
    monkeypatch.setattr(classification_accuracy, "STEPS", 1)


@pytest.mark.parametrize(("kind", "model"), list(LABELLED))
def test_what_samples_are_worth(
    kind: str, model: str, runs: Runs, tmp_path: Path, capfd: pytest.CaptureFixture[str], short: None
) -> None:
    used = runs[kind, model]
    found = Left.of("augment", [f"run={used.path}", "n=20", "seeds=2", "fraction=0.5"], tmp_path / "made")
    said = capfd.readouterr().out
    assert f"{found.record['real_examples']} real and 20 synthetic" in said
    assert "Trained on synthetic, tested on real: less real is" in said
    gain = found.record["gain"]
    verdict = (gain["mean"] > gain["half_width"]) - (gain["mean"] < -gain["half_width"])
    assert {1: "examples help", 0: "No difference beyond chance", -1: "examples harm"}[verdict] in said
    again = Left.of("augment", words_of(found.record, tmp_path / "made"), tmp_path / "again")
    assert again.record["accuracies"] == found.record["accuracies"]


@pytest.mark.parametrize(
    ("words", "model"),
    [
        ("sample n=2", "vae"),
        ("reconstruct n=2", "vae"),
        ("interpolate a=0 b=1 steps=2", "vae"),
        ("traverse latents=1 steps=2 n=2", "vae"),
        ("inpaint mask=half n=2 each=2 rounds=1", "vae"),
        ("detect n=4 scores=[nll]", "vae"),
        ("augment n=20 seeds=2", "made"),
        ("export", "vae"),
    ],
)
def test_the_file_of_the_data_is_read_once(
    words: str, model: str, runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used, (use, *more) = runs["table", model], words.split()
    read: list[str] = []
    parse = own.parse_csv
    monkeypatch.setattr(own, "parse_csv", lambda content, where: read.append(where) or parse(content, where))
    more += {
        "detect": [f"against={other_examples(used, tmp_path)}", f"out={tmp_path / 'made'}"],
        "export": [f"to={tmp_path / 'made'}"],
    }.get(use, [f"out={tmp_path / 'made'}"])
    with without_pictures():
        assert getattr(cli, use)([f"run={used.path}", *more]) == 0
    assert read == ["trees.csv"], "the model and the use need it"


@pytest.mark.parametrize("kind", KINDS)
def test_samples_of_files_are_measured_as_the_array_is(kind: str, runs: Runs, tmp_path: Path) -> None:
    """What `sample` writes to be read by others is, given back, the same samples."""
    used, count = runs[kind, "vae"], 100
    one_each = kind in ("text", "sound")
    words = [f"run={used.path}", f"n={count}", f"files={one_each}"]
    with without_pictures():
        found = Left.of("sample", words, tmp_path / "made")
    path = tmp_path / "made" if one_each else tmp_path / "made.csv"
    given = read_samples(path, used.module.spec)
    assert torch.allclose(given.x, torch.from_numpy(found.arrays["x"]), rtol=READ_BACK)
    logs = tmp_path / "logs"
    asked = ["evaluation=quick", f"evaluation.num_samples={count}", "evaluation.max_examples=8", f"paths.logs={logs}"]
    with without_pictures():
        assert cli.evaluate([f"samples={path}", *used.data, *asked, "name=theirs"]) == 0
    (result,) = map(read_result, logs.glob("runs/*/theirs/*/results/quick.json"))
    assert result.model.family == "foreign"
    assert result.data.name == used.module.spec.name


@pytest.mark.parametrize(
    ("kind", "words", "says"),
    [
        ("text", "augment", "augment has no classifier of text data"),
        ("series", "augment", "augment has no classifier of series data"),
        ("table", "augment", "is not class-conditional. Train a flow"),
        ("text", "detect against=vertical_flip", "mirrors pictures"),
        ("sound", "detect against=digits", "expected data like"),
        ("series", "inpaint mask=price,open", "mask is 'price,open', expected half, box, random, or columns such as"),
        ("table", "sample files=true", "has no files of single examples"),
    ],
)
def test_what_a_kind_of_data_has_not(
    kind: str, words: str, says: str, runs: Runs, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    use, *more = words.split()
    refused([use, f"run={runs[kind, 'vae'].path}", *more, f"out={tmp_path / 'a'}"], capfd, [says])
    assert not list(tmp_path.iterdir())
