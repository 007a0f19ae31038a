"""What the pages do with a run is done, at a tiny size: their commands one after the other, and then their Python.

Of trainings is `tests/test_documented_trainings.py`; `tests/test_documented_commands.py` says of every other command
which test runs it, or why none does. Of the Python what opens a `network.pt2` is left out: `tests/uses/test_network.py`
runs it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import genlab
import genlab.measure.metrics.classification_accuracy as recipe
from genlab.command import calls, cli
from genlab.core.batch import Batch
from genlab.core.plugins import load_plugins
from genlab.data.images import MNIST, Digits, FashionMNIST
from tests.documented import DOCS, commands, one_by_one, programs, write_sound_and_text
from tests.tiny import ROOT, SHORT, SMALL, run_folder, train

LEFT_OUT = ("errors.md", "extending.md")
"""Pages with commands that fail, or that need what the page builds; `tests/test_documentation.py` says where those are
run."""
PAGES = [
    page
    for page in (ROOT / "README.md", *sorted(DOCS.glob("*.md")), *sorted(DOCS.glob("models/*.md")))
    if page.name not in LEFT_OUT
]
SIZES = {
    "sample": ["n=6"],
    "evaluate": ["evaluation.num_samples=8", "evaluation.max_examples=20", "evaluation.num_draws=1"],
    "reconstruct": ["n=4"],
    "interpolate": ["steps=3"],
    "traverse": ["latents=2", "steps=3", "n=8"],
    "detect": ["n=40"],
    "inpaint": ["n=2", "each=2", "rounds=2"],
    "augment": ["n=20", "seeds=2", "fraction=0.05"],
    "export": [],
    "compare": [],
    "anomalies": [],
    "train_extractor": ["budget.examples=256", "width=4"],
}
"""Commands that act on runs and data, and what makes each tiny."""
FOREIGN = ["evaluation.num_samples=100", "evaluation.max_examples=20"]
"""The same of samples of another program, of which a hundred are the least."""
ELSEWHERE = re.compile(r"=hf://|network=true")
"""Words of commands that are run by other tests."""
NEEDS = (
    ("sampling={steps", "diffusion"),
    ("sampling={temperature", "transformer"),
    ("label=yes", "people"),
    ("against=other_birds", "sound"),
    ("against=other.txt", "text"),
    ("against=mnist", "fashion_mnist"),
    ("against=fashion_mnist", "mnist"),
    ("data=mnist", "mnist"),
)
"""Which run a command takes where it leaves one open, by the first of its words that is here; else a flow on digits."""
RUNS = {
    "flow": ("flow", ["model.conditional=true"]),
    "gmm": ("gmm", []),
    "diffusion": ("diffusion", ["model.conditional=true"]),
    "transformer": ("transformer", []),
    "people": ("made", ["data=csv", "data.path=people.csv", "data.target=member", "model.conditional=true"]),
    "sound": ("gmm", ["data=wav_folder", "data.path=birds", "data.seconds=0.05"]),
    "text": ("ngram", ["data=text_file", "data.path=book.txt", "data.length=16"]),
    "mnist": ("gmm", ["data=mnist"]),
    "fashion_mnist": ("gmm", ["data=fashion_mnist"]),
}
RUN = re.compile(r"\b(run|background|exact)=(?:x|\.\.\.)$")
IDENT = re.compile(r'"(?:logs/runs/digits/(\w+)/)?3f2a91cc-s0"')
TRAIN = [word for word in SHORT if not word.startswith(("logger=", "evaluation.num_samples="))]
"""What makes a training of a page tiny, which names its logger, and whose samples have a quality."""


class Runs:
    """The runs of a user, each trained when it is asked for; their folder is the working folder."""

    def __init__(self) -> None:
        self._made: dict[str, Path] = {}

    def __getitem__(self, name: str) -> Path:
        if name not in self._made:
            model, more = RUNS[name]
            train(Path(name), *more, "budget.examples=320", "evaluation.max_examples=8", model=model)
            made = run_folder(Path(name))
            self._made[name] = Path("logs", *made.parts[1:])
            self._made[name].parent.mkdir(parents=True, exist_ok=True)
            made.rename(self._made[name])
        return self._made[name]


def few_pictures(module: Any, split: str) -> dict[str, Batch]:
    """A stand-in for MNIST and Fashion-MNIST, whose files are read by tests of data."""
    draw = torch.Generator().manual_seed(len(split))
    x = torch.randint(256, (200, 1, 28, 28), generator=draw, dtype=torch.uint8)
    return {split: Batch(x, torch.arange(200) % 10)}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """A flow that is told labels, which every use takes, and others; with the files that the pages name."""
    load_plugins()
    folder = tmp_path_factory.mktemp("user")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("GENLAB_DATA", str(folder / "data"))  # where features are kept, too
        patch.setenv("GENLAB_HOME", str(folder / "home"))  # and an extractor, which other tests would find
        patch.setattr(recipe, "STEPS", 10)
        for data in (MNIST, FashionMNIST):
            patch.setattr(data, "prepare_data", lambda module: None)
            patch.setattr(data, "load", few_pictures)
        np.save("examples.npy", Digits().tensors("test").x[:100].numpy())
        pictures = np.random.default_rng(0).integers(0, 256, (100, 28, 28), dtype=np.uint8)
        np.savez("samples.npz", x=pictures[:, None])
        Path("pictures").mkdir()
        for number, picture in enumerate(pictures):
            Image.fromarray(picture).save(f"pictures/{number}.png")
        rows = [f"{20 + n % 50},{n % 7},{'yes' if n % 3 else 'no'}" for n in range(300)]
        Path("people.csv").write_text("\n".join(["age,visits,member", *rows]))
        write_sound_and_text(folder)
        yield Runs()


@pytest.fixture(scope="module")
def done() -> set[tuple[str, ...]]:
    """What was done: pages repeat each other."""
    return set()


def is_run_here(command: str, words: tuple[str, ...]) -> bool:
    return command in SIZES and not any(ELSEWHERE.search(word) for word in words)


def tiny(command: str, words: tuple[str, ...], runs: Runs) -> list[str]:
    """A command of a page with small sizes, and with a run where it leaves one open."""
    foreign = any(word.startswith("samples=") for word in words)
    sizes = [*(FOREIGN if foreign else SIZES[command])]
    sizes += [] if command in ("compare", "anomalies", "train_extractor") else ["device=cpu"]
    given = {size.partition("=")[0] for size in sizes}
    kept = [word.replace("samples=x", "samples=samples.npz") for word in words if word.partition("=")[0] not in given]
    chosen = next((name for begin, name in NEEDS if any(word.startswith(begin) for word in words)), "flow")
    places = {"run": chosen, "background": "gmm", "exact": "gmm"}
    runs[chosen]
    return [*(RUN.sub(lambda found: f"{found[1]}={runs[places[found[1]]].name}", word) for word in kept), *sizes]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_page_does_with_a_run_is_done(
    page: Path,
    runs: Runs,
    done: set[tuple[str, ...]],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    text = page.read_text()
    for command, words in commands(text):
        if is_run_here(command, words) and (command, *words) not in done:
            done.add((command, *words))
            for given in one_by_one(words):
                code = getattr(cli, command)(tiny(command, given, runs))
                assert code == 0, f"{command} {' '.join(given)}: {capfd.readouterr().err}"

    def train_tiny(*words: str) -> Any:
        (model,) = (word.removeprefix("model=") for word in words if word.startswith("model="))
        return calls.train(*words, *TRAIN, *SMALL.get(model, []), "evaluation.num_samples=100")

    monkeypatch.setattr(genlab, "train", train_tiny)
    for program in programs(text):
        if "torch.export.load" not in program:
            exec(IDENT.sub(lambda found: repr(str(runs[found[1] or "flow"])), program), {"__name__": page.stem})


def test_what_is_run_here_is_said_by_rules() -> None:
    """So that a new command of these pages is run, or is one of those that the rules name."""
    found = [(command, words) for page in PAGES for command, words in commands(page.read_text())]
    here = {command for command, words in found if is_run_here(command, words)}
    assert here == set(SIZES)
    assert {command for command, _ in found} - here <= {"train", "explore", "dashboard"}
    assert not is_run_here("export", ("run=x", "to=hf://user/name"))
