"""Windows that slide: each symbol is scored once, given what the window has before it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch

from genlab.core.batch import Batch
from genlab.core.contract import ScoresValues
from genlab.core.errors import GenlabError
from genlab.core.spec import DataSpec
from genlab.measure.likelihood import measure_likelihood
from genlab.measure.protocol import EvaluationProtocol
from genlab.measure.result_sections import Likelihood
from genlab.measure.sliding import check_stride

LENGTH, WINDOWS = 6, 5
SPEC = DataSpec("letters", "text", (LENGTH,), levels=50)
TEXT = torch.arange(LENGTH * WINDOWS).view(WINDOWS, LENGTH)
PROTOCOL = EvaluationProtocol("p", "test", 1, None, 100, None, 0)


@dataclass
class Known:
    """A symbol costs its own number, and a hundredth for each symbol that the window has before it."""

    spec = SPEC
    device = torch.device("cpu")
    conditional = False
    has_likelihood = True
    likelihood_examples = None
    family = "known"

    def __post_init__(self) -> None:
        self.likelihood_settings: dict[str, Any] = {}

    def likelihood_kind(self, num_draws: int = 1) -> str:
        return "exact"

    def log_prob_of_values(self, x: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
        return -(x + torch.arange(LENGTH) / 100)

    def log_prob(self, x: torch.Tensor, y: torch.Tensor | None = None, **given: Any) -> torch.Tensor:
        return self.log_prob_of_values(x).sum(1)


def nats(stride: int | None, **change: Any) -> float:
    found = measure_likelihood(Known(), Batch(TEXT), replace(PROTOCOL, stride=stride, **change))
    assert found["examples"] == change.get("max_examples", WINDOWS)
    return found["nats"]


@pytest.mark.parametrize("stride", range(1, LENGTH + 1))
@pytest.mark.parametrize("batch_size", [1, 3, None])
def test_each_symbol_is_scored_once_with_all_that_its_window_has_before_it(stride: int, batch_size: int | None) -> None:
    symbols = LENGTH * WINDOWS
    context = list(range(LENGTH))
    while len(context) < symbols:  # the last window ends where the text does
        new = min(stride, symbols - len(context))
        context += range(LENGTH - new, LENGTH)
    expected = (sum(range(symbols)) + sum(context) / 100) / WINDOWS
    assert nats(stride, batch_size=batch_size) == pytest.approx(expected)


def test_windows_that_do_not_overlap_give_what_no_stride_gives() -> None:
    assert nats(LENGTH) == pytest.approx(nats(None))


def test_some_examples_are_scored_as_among_all() -> None:
    few = measure_likelihood(Known(), Batch(TEXT), replace(PROTOCOL, stride=2, max_examples=3))
    disjoint = measure_likelihood(Known(), Batch(TEXT), replace(PROTOCOL, max_examples=3))
    longer = few["nats"] - disjoint["nats"]
    # The same examples: they differ by their contexts alone, by at most 2 or 4 symbols for each of six.
    assert 0 < longer < 0.01 * 24


def test_a_result_says_the_stride_and_its_protocol_is_another() -> None:
    found = measure_likelihood(Known(), Batch(TEXT), replace(PROTOCOL, stride=2))
    assert (
        Likelihood.model_validate(found).how
        == "windows that slide, each scored on its last 2 symbols given those before"
    )
    assert replace(PROTOCOL, stride=2).hash != PROTOCOL.hash == replace(PROTOCOL, stride=None).hash


def test_a_stride_that_cannot_be_is_refused_in_a_line() -> None:
    known = Known()
    assert isinstance(known, ScoresValues)
    check_stride(None, SPEC, False, object())
    check_stride(LENGTH, SPEC, True, known)
    for stride, sequence, model, line in (
        (2, False, known, "no windows of one text"),
        (7, True, known, r"expected at most the 6 symbols of a window \(data.length\)"),
        (2, True, object(), "which the object family does not tell"),
    ):
        with pytest.raises(GenlabError, match=line):
            check_stride(stride, SPEC, sequence, model)
