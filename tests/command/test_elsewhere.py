"""A run on another device is trained, evaluated and used as one on the CPU is, and says the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genlab.measure.result import Result
from tests.command.kinds import KINDS, VAE, Left, Used, trained, without_pictures
from tests.elsewhere import runs_elsewhere
from tests.tiny import train

MORE = ["validation_samples=100", "evaluation.num_samples=100", "evaluation.max_examples=16", "budget.examples=128"]
RUNS = {
    "game": ("gan", ["data=digits", "model.conditional=true"]),
    "codes": ("vae", ["data=digits", *VAE]),
    "counts": ("ngram", ["data=shakespeare", "data.length=8"]),
    "trees": ("forest", ["table", "model.trees=3"]),
    "values": ("made", ["table", "model.orders=2", "model.hidden=16"]),
}
"""Ways in which families are trained, and kinds of data that are judged by measures of their own."""
pytestmark = pytest.mark.filterwarnings("ignore:for .* copying from a non-meta parameter")
"""PyTorch takes the other device for one without numbers, see :data:`tests.elsewhere.ELSEWHERE`."""
USES: list[tuple[str, str, list[str]]] = [
    ("sample", "table", ["n=3"]),
    ("reconstruct", "table", ["n=2"]),
    ("interpolate", "sound", ["a=0", "b=1", "steps=2"]),
    ("traverse", "series", ["n=2"]),
]
"""Commands, what the run that they use is on, and what is asked of them."""


def numbers(tree: Any, path: str = "") -> dict[str, float]:
    """The numbers of nested dictionaries and lists, by their dotted places."""
    if isinstance(tree, dict | list):
        items = tree.items() if isinstance(tree, dict) else enumerate(tree)
        return {key: number for name, part in items for key, number in numbers(part, f"{path}.{name}").items()}
    return {path: tree} if isinstance(tree, float) else {}


def figures(result: Result) -> dict[str, float]:
    sections = ("likelihood", "likelihood_last", "quality", "quality_last")
    return numbers({name: part for name, part in result.as_dict().items() if name in sections})


@pytest.mark.parametrize("name", RUNS)
def test_a_run_is_trained_and_evaluated_there_as_here(name: str, tmp_path: Path) -> None:
    model, (data, *overrides) = RUNS[name]
    overrides += KINDS[data](tmp_path) if data in KINDS else [data]
    here = train(tmp_path / "here", *overrides, *MORE, model=model)
    with runs_elsewhere() as copies:
        there = train(tmp_path / "there", *overrides, *MORE, model=model)
    assert copies, "it was somewhere else"
    assert figures(there) == pytest.approx(figures(here), rel=0.01, abs=1e-3)
    assert here.quality is not None


@pytest.mark.parametrize(("use", "kind", "words"), USES, ids=[use for use, *_ in USES])
def test_a_run_is_used_there_as_here(use: str, kind: str, words: list[str], tmp_path: Path) -> None:
    used: Used = trained(kind, tmp_path)
    with without_pictures():
        here = Left.of(use, [f"run={used.path}", *words], tmp_path / "here" / "made")
        with runs_elsewhere() as copies:
            there = Left.of(use, [f"run={used.path}", *words], tmp_path / "there" / "made")
    assert copies, "it was somewhere else"
    assert here.arrays.keys() == there.arrays.keys()
    for name, array in here.arrays.items():
        np.testing.assert_allclose(there.arrays[name], array, rtol=1e-3, atol=1e-4, err_msg=name)
    assert numbers(there.record) == pytest.approx(numbers(here.record), rel=1e-2, abs=1e-3)
