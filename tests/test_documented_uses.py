"""What the pages do with a run is done, at a tiny size: their commands one after the other, and then their Python.

Not done here are commands that

- train, serve a page or write to a server, of which other tests are;
- need the Hub, which `tests/uses/test_hub.py` runs by a server of its own, or `network=true`, which
  `tests/uses/test_network.py` runs;
- name other data than digits, or settings that only another family has.

Of the Python what opens a `network.pt2` is left out likewise.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import genlab
import genlab.measure.metrics.classification_accuracy as recipe
from genlab.command import calls, cli
from genlab.core.plugins import load_plugins
from genlab.data.images import Digits
from tests.documented import DOCS, commands, one_by_one, programs
from tests.tiny import ROOT, SHORT, SMALL, run_folder, train

PAGES = [ROOT / "README.md", *(DOCS / f"{name}.md" for name in ("start", "uses", "sharing", "detect", "inpaint"))]
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
}
"""Commands that act on runs, and what makes each tiny."""
ELSEWHERE = re.compile(
    r"=hf://|network=true|sampling=|data=(?!digits)|against=(?!vertical_flip|horizontal_flip|examples\.npy)"
)
"""Words of commands that are run by other tests."""
RUN = re.compile(r"\b(run|background|exact)=(?:x|\.\.\.)$")
IDENT = re.compile(r'"(?:logs/runs/digits/(\w+)/)?3f2a91cc-s0"')
TRAIN = [word for word in SHORT if not word.startswith(("logger=", "evaluation.num_samples="))]
"""What makes a training of a page tiny, which names its logger, and whose samples have a quality."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """A flow that is told labels, which every use takes, and a mixture; their folder is the working folder."""
    load_plugins()
    folder = tmp_path_factory.mktemp("user")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(recipe, "STEPS", 10)
        found = {}
        for model, more in (("flow", ["model.conditional=true"]), ("gmm", [])):
            train(Path(model), *more, "budget.examples=320", "evaluation.max_examples=8", model=model)
            found[model] = Path("logs", *run_folder(Path(model)).parts[1:])
            found[model].parent.mkdir(parents=True, exist_ok=True)
            run_folder(Path(model)).rename(found[model])
        np.save("examples.npy", Digits().tensors("test").x[:100].numpy())
        yield found


@pytest.fixture(scope="module")
def done() -> set[tuple[str, ...]]:
    """What was done: pages repeat each other."""
    return set()


def is_run_here(command: str, words: tuple[str, ...]) -> bool:
    return command in SIZES and not any(ELSEWHERE.search(word) for word in words)


def tiny(command: str, words: tuple[str, ...], runs: dict[str, Path]) -> list[str]:
    """A command of a page with small sizes, and with a run where it leaves one open."""
    sizes = [*SIZES[command], *([] if command in ("compare", "anomalies") else ["device=cpu"])]
    given = {size.partition("=")[0] for size in sizes}
    kept = [word for word in words if word.partition("=")[0] not in given]
    places = {"run": runs["flow"], "background": runs["gmm"], "exact": runs["gmm"]}
    return [*(RUN.sub(lambda found: f"{found[1]}={places[found[1]].name}", word) for word in kept), *sizes]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_page_does_with_a_run_is_done(
    page: Path,
    runs: dict[str, Path],
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
    assert {command for command, _ in found} - here <= {"train", "explore"}
    assert not is_run_here("export", ("run=x", "to=hf://user/name"))
    assert not is_run_here("detect", ("run=x", "against=mnist"))
