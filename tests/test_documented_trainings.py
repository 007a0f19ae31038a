"""The trainings that the pages show are done, at a tiny size, each with the data that it names.

Those of `results/README.md` were done at their full size: their results lie beside them. Not done here are trainings
that

- run on several devices, machines or a cluster, as trials of a search, or in a launcher of its own: of these other
  tests are, with the same settings;
- need a download or a model of others, of which `tests/data` and `tests/models` are.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genlab.command.train import run
from genlab.core.plugins import load_plugins
from genlab.training.callbacks.sample_grids import SampleGrids
from tests.documented import DOCS, commands, one_by_one, write_sound_and_text
from tests.tiny import ROOT, SHORT, SMALL, composed, run_folder

LEFT_OUT = ("errors.md", "extending.md")
"""Pages with commands that fail, or that need what the page builds; `tests/test_documentation.py` says where those are
run."""
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md")), *sorted(DOCS.glob("models/*.md"))]
ELSEWHERE = re.compile(
    r"trainer=(ddp|fsdp)|hydra/launcher=|hydra\.sweeper|search=|data=(cifar10|medmnist|miniboone)|model=pretrained"
)
THE_SAME = re.compile(r"(budget|hydra|model\.lr)\b|logger=|seed=|evaluation=|trainer=cpu|model=flow$|data=mnist$")
"""Settings by which no training is another one here: sizes, defaults, and what has tests of its own."""
OF_SERIES = ["model.steps=8", "model.likelihood=none"]
SMALL_DATA = {
    "series": OF_SERIES,
    "sp500": OF_SERIES,
    "image_folder": ["data.size=16"],
    "wav_folder": ["data.seconds=0.05"],
    "text_file": ["data.length=16"],
}
"""Of series: in two steps a network that has hardly learned leaves what is not finite, and its equation takes long."""
FILES = {"sp500": "series/sp500.csv", None: "MNIST/raw"}
"""Where the real data lie that a training names, or that it takes without a name."""


def found() -> dict[tuple[str, ...], str]:
    """Each training once, without what says how long it is, and the page that shows it."""
    trainings: dict[tuple[str, ...], str] = {}
    for page in PAGES:
        if page.name not in LEFT_OUT:
            for command, words in commands(page.read_text()):
                if command == "train":
                    for given in one_by_one(words):
                        if is_done_here(given):
                            kept = (word for word in given if not THE_SAME.match(word))
                            trainings.setdefault(tuple(sorted(kept)), page.stem)
    return trainings


def is_done_here(given: tuple[str, ...]) -> bool:
    """Whether a training of these pages is done here, the only one or one of those of a sweep."""
    return not ELSEWHERE.search(" ".join(given))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The working folder of a user, with the data of their own that the pages name."""
    load_plugins()
    folder = tmp_path_factory.mktemp("user")
    draw = np.random.default_rng(0)
    for label in ("cats", "dogs"):
        (folder / "photos" / label).mkdir(parents=True)
        for number in range(60):
            picture = draw.integers(0, 256, (40, 50, 3), dtype=np.uint8)
            Image.fromarray(picture).save(folder / "photos" / label / f"{number}.png")
    splits = {"train": 60, "val": 20, "test": 20}
    images = {f"{name}_images": draw.integers(0, 256, (size, 16, 16), dtype=np.uint8) for name, size in splits.items()}
    labels = {f"{name}_labels": draw.integers(0, 3, (size, 1)) for name, size in splits.items()}
    np.savez(folder / "slices.npz", **images, **labels)
    prices = 100 * np.exp(0.01 * draw.standard_normal(1500).cumsum())
    days = np.datetime64("2020-01-01") + np.arange(len(prices))
    rows = [f"{day},{price:.2f}" for day, price in zip(days, prices, strict=True)]
    (folder / "prices.csv").write_text("\n".join(["Date,Close", *rows]))
    people = [f"{draw.integers(18, 90)},{draw.normal(170, 10):.1f},{draw.choice(['a', 'b', ''])}" for _ in range(300)]
    (folder / "people.csv").write_text("\n".join(["age,height,group", *people]))
    write_sound_and_text(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


@pytest.mark.real_data
@pytest.mark.parametrize("words", found(), ids=lambda words: " ".join(words) or "default")
def test_a_training_of_a_page_is_done(
    words: tuple[str, ...], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = dict(word.partition("=")[::2] for word in words)
    files = FILES.get(settings.get("data"))
    if files and not (Path(os.environ.get("GENLAB_DATA", "data")) / files).exists():
        pytest.skip(f"{files} is not in $GENLAB_DATA")
    monkeypatch.setattr(SampleGrids, "_draw", lambda *_: None)  # one picture is enough: that of the evaluation
    model = settings.get("model") or settings.get("experiment", "flow").partition("_")[0]
    smaller = (*SHORT, *SMALL.get(model, []), *SMALL_DATA.get(settings.get("data"), []))
    short = {word.partition("=")[0]: word for word in smaller}  # the last says
    kept = [word for key, word in short.items() if key not in settings]
    finished = run(composed([*words, *kept, "budget.examples=96", f"paths.logs={tmp_path}"]))
    assert finished is not None
    result = finished.result
    assert result.training.optimizer_steps == 3
    assert result.likelihood is None or math.isfinite(result.likelihood.nats)
    assert list(run_folder(tmp_path).glob("samples/*.*")), "what it looks like"


def test_pages_show_trainings_of_each_kind() -> None:
    """So that a page whose commands are no longer found is noticed."""
    pages = set(found().values())
    assert {"README", "choosing", "pictures", "reference", "series", "sound", "start", "tables", "text"} <= pages
