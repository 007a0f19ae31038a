"""Every use over every family: what a family cannot is said in one line, with families that can."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch

from genlab.command.signatures import read_signature
from genlab.command.targets import locate
from genlab.core.errors import GenlabError
from genlab.models import gan
from genlab.models.base import GenerativeModel
from genlab.uses.augment import require_labels
from genlab.uses.catalogue import USES, require
from genlab.uses.detect.detect import choose_scores
from genlab.uses.detect.evidence import Evidence, Examples
from genlab.uses.detect.scores import SCORES
from genlab.uses.inpaint import inpaint
from genlab.uses.interpolate import interpolate
from genlab.uses.reconstruct import reconstruct
from genlab.uses.traverse import traverse
from tests.contract.families import CASES, Case, make_batch, model_config, shared_model
from tests.tiny import ROOT

MODELS = sorted(path.stem for path in (ROOT / "conf" / "model").glob("*.yaml"))
FAMILIES: dict[str, type[GenerativeModel]] = {name: locate(model_config(name)["_target_"]) for name in MODELS}
CALLS: dict[str, Callable[[Any], Any]] = {
    "reconstruct": lambda model: reconstruct(model, None),
    "interpolate": lambda model: interpolate(model, None, 3),
    "traverse": lambda model: traverse(model, None, None, 1, 3, 1.0),
    "inpaint": lambda model: inpaint(model, None, torch.ones(1, 1, dtype=torch.bool)),
}
"""The uses that some family lacks, in Python; what they are given is not looked at before the family is."""


@pytest.fixture(autouse=True)
def short_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GAN's search takes fewer steps."""
    monkeypatch.setattr(gan, "_SEARCH_STEPS", 2)
    monkeypatch.setattr(gan, "_STARTS", 2)


def line_of(call: Callable[[], object]) -> str:
    with pytest.raises(GenlabError) as refused:
        call()
    line = str(refused.value)
    assert len(line.splitlines()) == 1
    assert line.endswith(".")
    return line


def named(text: str) -> set[str]:
    return {name for name in MODELS if re.search(rf"\b{name}\b", text)}


@pytest.mark.parametrize("model", MODELS)
def test_what_a_family_cannot_is_said_in_a_line(model: str) -> None:
    family = FAMILIES[model]
    blank = family.__new__(family)  # its class alone decides
    for use in USES.values():
        if use.can(family):
            require(use.name, blank)
            continue
        line = line_of(lambda use=use: CALLS[use.name](blank))
        assert line.startswith(f"The {family.family} family cannot {use.name}: ")
        advised = named(line.partition(" Use ")[2])
        assert advised
        assert all(use.can(FAMILIES[name]) for name in advised)


def test_every_use_that_a_family_can_lack_is_tried() -> None:
    assert {use.name for use in USES.values() if use.needs is not None} == set(CALLS)


@pytest.mark.parametrize("model", sorted({case.model for case in CASES}))
def test_a_model_without_labels_is_told_so_in_a_line(model: str) -> None:
    case = next(case for case in CASES if case.model == model)
    case = Case(model, case.spec, [change for change in case.overrides if change != "conditional=true"])
    line = line_of(lambda: require_labels(shared_model(case)))
    assert line.startswith(f"augment needs samples with labels, but this {model} on {case.spec.name} is not")
    advised = named(line.partition(" Train ")[2])
    assert advised
    assert all("conditional" in read_signature(FAMILIES[name]).parameters for name in advised)


@pytest.mark.parametrize("model", sorted({case.model for case in CASES}))
def test_a_score_that_is_missing_says_why_in_a_line(model: str) -> None:
    case = next(case for case in CASES if case.model == model)
    batch = make_batch(case.spec, 12)
    evidence = Evidence(shared_model(case), Examples("training", batch, 2), batch, 12)
    for name in (name for name, score in SCORES.items() if score.lacks(evidence)):
        line = line_of(lambda name=name: choose_scores(evidence, [name]))
        assert line.startswith(f"This {model} has no score {name}: ")


def test_a_model_without_any_score_says_why_it_lacks_each() -> None:
    case = next(case for case in CASES if case.id == "sngan-tiny_gray-conditional=true")
    batch = make_batch(case.spec, 12)
    line = line_of(lambda: choose_scores(Evidence(shared_model(case), Examples("training", batch, 2), batch, 12)))
    assert line.startswith("This sngan has no score of an example. ")
    assert all(f"no {name}: " in line.lower() for name in SCORES)
