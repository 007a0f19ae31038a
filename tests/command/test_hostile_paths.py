"""Places where nothing can be written or read: each is found before the work, and said in one or two lines."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from genlab.core.errors import shown
from genlab.runs.atomic import write_atomic
from tests.command.hostile import Wrong, refused
from tests.tiny import TINY, run_folder, train

LONG = "a" * 300

NOWHERE = {
    "a file": ("file", "a file is in its way"),
    "below a file": ("file/x/y", "a file is in its way"),
    "below a link to itself": ("loop/x", "symbolic links"),
    "below a pipe": ("pipe/x", "a file is in its way"),
    "a name of 300 letters": (LONG, "too long"),
    "a path of 6,000 letters": ("/".join(["b" * 200] * 30), "too long"),
    "a system's folder": ("/proc/x", "/proc/x"),
    "a folder that none may write": ("/sys/x", "/sys/x"),
}
"""Folders that cannot be made, and what is said of them."""

NO_FILE = {
    "a folder": ("folder", "a folder"),
    "a pipe": ("pipe", "a device or a pipe"),
    "a link to itself": ("loop", "symbolic links"),
    **{name: given for name, given in NOWHERE.items() if name != "a file"},
}
"""Files that cannot be written, and what is said of them."""

SOME_FILES = {name: NO_FILE[name] for name in ("a folder", "a pipe", "below a file")}
SOME_FOLDERS = {name: NOWHERE[name] for name in ("below a file", "a name of 300 letters", "a system's folder")}
"""For commands that look at a path as another does, which is shown all places: they have to look, and in time."""


def each(
    places: Mapping[str, tuple[str, str]], words: Sequence[str], says: Sequence[str] = ("{why}",)
) -> Iterable[Wrong]:
    """A wrong command for each of the places; ``{path}`` and ``{why}`` are the place's."""
    for name, (path, why) in places.items():
        given = {"{path}": path, "{why}": why, "{begin}": path[:60]}
        key = next(word.partition("=")[0] for word in words if "{path}" in word)
        yield Wrong(
            f"{words[0]}{' -m' * ('-m' in words)}, {key} is {name}",
            [_filled(word, given) for word in words],
            [_filled(text, given) for text in says],
        )


def _filled(text: str, given: Mapping[str, str]) -> str:
    for name, value in given.items():
        text = text.replace(name, value)
    return text


FLIPPED = ("run={run}", "against=vertical_flip")

WRONG = [
    *each(NOWHERE, ["train", *TINY, "paths.logs={path}"]),
    *each(SOME_FOLDERS, ["train", "-m", *TINY, "paths.logs={path}"], ["{begin}"]),
    *each(NOWHERE, ["train", *TINY, "data=mnist", "data.root={path}"], ["{begin}", "data.root"]),
    *each(NOWHERE, ["evaluate", "run=abc", "paths.logs={path}"], ["{begin}"]),
    *each(NOWHERE, ["evaluate", "samples={path}", "data=digits"], ["samples is"]),
    *each(NO_FILE, ["sample", "run={run}", "n=2", "out={path}"], ["out is", "{why}"]),
    *each(SOME_FILES, ["reconstruct", "run={run}", "n=2", "out={path}"], ["out is", "{why}"]),
    *each(SOME_FILES, ["anomalies", "out={path}"], ["out is", "{why}"]),
    *each(NOWHERE, ["anomalies", "folders=[{path}]"], ["There are no scores", "{begin}"]),
    Wrong("scores below a file", ["detect", *FLIPPED, "out=file/x/y"], ["out is", "a file is in its way"]),
    Wrong("other examples of 300 letters", ["detect", "run={run}", f"against={LONG}"], ["against is 'aaa"]),
    Wrong("other examples that are a pipe", ["detect", "run={run}", "against=pipe"], ["against: samples is pipe"]),
    Wrong("a background below a pipe", ["detect", *FLIPPED, "background=pipe/x"], ["neither a run's folder nor a run"]),
    *each(NOWHERE, ["export", "run={run}", "to={path}"], ["to is", "{begin}"]),
    Wrong("an export into other files", ["export", "run={run}", "to=tables"], ["to is tables", "other files"]),
    *each(SOME_FILES, ["dashboard", "--dry-run", "out={path}"], ["out is", "{why}"]),
    *each(SOME_FILES, ["train_extractor", "data=digits", "out={path}"], ["out is", "{why}"]),
    *each(NOWHERE, ["compare", "folders=[{logs}]", "out={path}"], ["out is", "{begin}"]),
    *each(NOWHERE, ["compare", "folders=[{path}]"], ["no results", "{begin}"]),
    Wrong("a folder has the name of the values", ["sample", "run={run}", "out=taken.png"], ["taken.npz", "a folder"]),
    Wrong("a folder is where steps are to go", ["interpolate", "run={run}", "out=folder"], ["out is", "a folder"]),
    Wrong("latents are to go into a pipe", ["traverse", "run={run}", "out=pipe"], ["out is", "a device or a pipe"]),
    Wrong("a file for logs", ["evaluate", "samples=samples.npy", "data=digits", "paths.logs=file"], ["in its way"]),
    Wrong("inpaint, out is a pipe", ["inpaint", "run={mixture}", "n=2", "out=pipe"], ["out is", "pipe"]),
    Wrong("inpaint, mask is a folder", ["inpaint", "run={mixture}", "mask=folder.png"], ["mask is", "no file"]),
    Wrong("inpaint, mask is a pipe", ["inpaint", "run={mixture}", "mask=pipe.png"], ["mask is", "no file"]),
    Wrong("a mask's long name", ["inpaint", "run={mixture}", f"mask={LONG}.png"], ["mask is"]),
    Wrong("a folder has a table's name", ["compare", "folders=[{logs}]", "out=tables"], ["comparison.md", "a folder"]),
    Wrong("a protocol's long name", ["train", *TINY, f"evaluation.name={LONG}"], ["evaluation.name", "300"]),
    Wrong("a long name, later", ["evaluate", "run={run}", f"evaluation.name={LONG}"], ["evaluation.name", "300"]),
    Wrong("a name with a slash", ["evaluate", "run={run}", "evaluation.name=a/b"], ["evaluation.name", "a/b"]),
    Wrong("a model's long name", ["train", *TINY, f"model.name={LONG}"], ["model.name", "300"]),
    Wrong("a run of 300 letters", ["evaluate", f"run={LONG}"], ["neither a run's folder nor a run id"]),
    Wrong("a run that is a link to itself", ["sample", "run=loop"], ["neither a run's folder nor a run id"]),
    Wrong("a run that is a file", ["evaluate", "run=file"], ["without a run's config.yaml"]),
    Wrong("--config-dir of 300 letters", ["train", "--config-dir", f"/{LONG}"], ["a" * 60]),
    Wrong("--config-path of 300 letters", ["train", "--config-path", f"/{LONG}"], ["a" * 60]),
    Wrong("--config-name of 300 letters", ["train", "--config-name", LONG], ["a" * 60]),
    Wrong("--config-dir is a link to itself", ["train", "--config-dir", "loop"], ["loop"]),
    Wrong("--config-dir is a file", ["train", "--config-dir", "file"], ["file"]),
]
"""A command or key that takes a path joins this table by a line. ``{run}`` and ``{logs}`` are those of a good run."""


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The logs of a finished run."""
    logs = tmp_path_factory.mktemp("good")
    train(logs)
    return logs


@pytest.fixture(scope="module")
def mixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a model that fills in what is missing."""
    logs = tmp_path_factory.mktemp("mixture")
    train(logs, model="gmm")
    return run_folder(logs)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what can stand in a path's way; it is the working folder, so that paths are short."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("something")
    for folder in ("folder", "folder.png", "taken.npz", "tables/comparison.md"):
        (tmp_path / folder).mkdir(parents=True)
    os.symlink("loop", tmp_path / "loop")
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(tmp_path / "pipe.png")
    content = io.BytesIO()
    np.save(content, np.zeros((100, 1, 8, 8), dtype=np.uint8))
    write_atomic(tmp_path / "samples.npy", content.getvalue())
    return tmp_path


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.name)
def test_it_is_said_in_a_line(
    wrong: Wrong, good: Path, mixture: Path, place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = run_folder(good)
    before = sorted(run.rglob("*"))
    given = {"{run}": str(run), "{logs}": str(good), "{mixture}": str(mixture)}
    refused([_filled(word, given) for word in wrong.words], capfd, wrong.says)
    assert sorted(run.rglob("*")) == before
    assert not list(place.rglob("*.partial"))


FILES = [
    "config.yaml", "metrics.csv", "train.log", "run.lock", "checkpoints/last.ckpt", "checkpoints/last.previous.ckpt",
    "checkpoints/best.ckpt", "results/quick.json", "samples/quick.png", "samples/quick_neighbours.png",
]  # fmt: skip
"""Files of a run; a folder or a pipe in their place is found before the training."""


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["folder", "pipe"])
def test_what_stands_in_the_place_of_a_runs_file(
    name: str, make: Callable[[Path], None], good: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    there = tmp_path / run_folder(good).relative_to(good) / name
    there.parent.mkdir(parents=True)
    make(there)
    what = "a folder" if there.is_dir() else "pipe"
    said = refused(["train", *TINY, f"paths.logs={tmp_path}"], capfd, [there.name, what])
    assert "%" not in said, "the training began"


@pytest.mark.parametrize("name", ["checkpoints", "samples", "results"])
def test_what_stands_in_the_place_of_a_runs_folder(
    name: str, good: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    there = tmp_path / run_folder(good).relative_to(good) / name
    there.parent.mkdir(parents=True)
    there.touch()
    refused(["train", *TINY, f"paths.logs={tmp_path}"], capfd, [there.name, "a file is in its way"])


def test_tensorboard_is_no_reason_to_stop(good: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    there = tmp_path / run_folder(good).relative_to(good) / "tensorboard"
    there.parent.mkdir(parents=True)
    there.touch()
    train(tmp_path, "logger=tensorboard")
    (said,) = [line for line in capfd.readouterr().err.splitlines() if "TensorBoard" in line]
    assert "a file is in its way" in said
    assert "going on without it" in said


DAMAGE = {
    "a list in a list, and so on": "a: " + "[" * 100_000,
    "a key below a key, and so on": "".join(f"{' ' * depth}a:\n" for depth in range(1000)),
    "a part that holds itself": "model: &a {name: *a}\n",
    "a few lines for more than fits into memory": "a: &a [x, x]\nb: [*a, *a]\n",
    "no seed": "model: {_target_: genlab.models.gmm.GMM, name: gmm}\n",
    "no model": "seed: 0\n",
    "text for a seed": "seed: zero\n",
    "a key that the model does not know": "seed: 0\nmodel: {_target_: genlab.models.gmm.GMM, name: gmm, wings: 2}\n",
    "nothing": "",
    "no text": "\0",
}
"""What can stand in a run's ``config.yaml``."""


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("command", ["evaluate", "sample", "reconstruct"])
def test_a_damaged_config(command: str, damage: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.yaml").write_text(DAMAGE[damage])
    (tmp_path / "checkpoints").mkdir()
    torch.save({"state_dict": {}}, tmp_path / "checkpoints" / "best.ckpt")
    refused([command, f"run={tmp_path}"], capfd, ["config.yaml"])


@pytest.mark.parametrize(
    "content", ["[" * 100_000, '{"a":' * 100_000, "", "\0"], ids=["lists", "keys", "empty", "zero"]
)
def test_a_damaged_result(content: str, good: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    there = tmp_path / run_folder(good).relative_to(good) / "results" / "quick.json"
    there.parent.mkdir(parents=True)
    there.write_text(content)
    refused(["train", *TINY, f"paths.logs={tmp_path}"], capfd, ["quick.json"])
    refused(["compare", f"folders=[{tmp_path}]"], capfd, ["quick.json"])


def test_nothing_but_a_file_is_replaced(tmp_path: Path) -> None:
    # As root a rename would put a file in the place of /dev/null, for all programs of the machine.
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileExistsError, match="no file"):
        write_atomic(tmp_path / "pipe", "text")
    assert (tmp_path / "pipe").is_fifo()
    assert os.listdir(tmp_path) == ["pipe"]


def test_a_path_stands_in_one_line() -> None:
    assert shown(Path("a\nb\x1b[2J")) == "a\\nb\\x1b[2J"
    assert len(shown("é" * 5000)) < 310
