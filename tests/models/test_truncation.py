"""Temperature, top-k and top-p: what samples come from, and that the likelihood does not."""

from __future__ import annotations

import pytest
import torch

from genlab.core.errors import GenlabError
from genlab.models.truncation import TruncationConfig
from tests.contract.families import (
    GRAY,
    SMALL_MASKED_DIFFUSION,
    SMALL_TRANSFORMER,
    TEXT,
    Case,
    make_batch,
    make_model,
    perturb,
)

PROBABILITIES = torch.tensor([[0.5, 0.3, 0.15, 0.05], [0.1, 0.2, 0.3, 0.4]])


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [[0.5, 0.3, 0.15, 0.05], [0.1, 0.2, 0.3, 0.4]]),
        ({"temperature": 0.5}, [[50 / 73, 18 / 73, 4.5 / 73, 0.5 / 73], [1 / 30, 4 / 30, 9 / 30, 16 / 30]]),
        ({"top_k": 2}, [[0.625, 0.375, 0, 0], [0, 0, 3 / 7, 4 / 7]]),
        ({"top_k": 9}, [[0.5, 0.3, 0.15, 0.05], [0.1, 0.2, 0.3, 0.4]]),
        ({"top_p": 0.6}, [[0.625, 0.375, 0, 0], [0, 0, 3 / 7, 4 / 7]]),
        ({"top_p": 0.01}, [[1, 0, 0, 0], [0, 0, 0, 1]]),
        ({"top_k": 3, "top_p": 0.5}, [[1, 0, 0, 0], [0, 0, 3 / 7, 4 / 7]]),
    ],
)  # fmt: skip
def test_the_distribution_is_that_of_the_definition(settings: dict[str, float], expected: list[list[float]]) -> None:
    found = TruncationConfig(**settings)(PROBABILITIES.log()).softmax(1)
    torch.testing.assert_close(found, torch.tensor(expected).float(), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("family", "settings", "variant"),
    [
        ("transformer", SMALL_TRANSFORMER, "categorical"),
        ("masked_diffusion", [*SMALL_MASKED_DIFFUSION, "steps=1"], "masked, ancestral-1"),  # all symbols at once
    ],
)
def test_samples_change_and_say_so_and_the_likelihood_does_not(family: str, settings: list[str], variant: str) -> None:
    plain = make_model(Case(family, TEXT, settings)).eval()
    narrow = make_model(Case(family, TEXT, [*settings, "sampling.top_k=1", "sampling.temperature=0.5"]))
    perturb(plain, 0.5)
    narrow.eval().load_state_dict(plain.state_dict())
    x = make_batch(TEXT, 8).x
    log_prob = (model.log_prob(x, generator=torch.Generator().manual_seed(2)) for model in (plain, narrow))
    assert torch.equal(*log_prob)
    assert len(narrow.sample(50, generator=torch.Generator().manual_seed(0)).unique(dim=0)) == 1
    assert len(plain.sample(50, generator=torch.Generator().manual_seed(0)).unique(dim=0)) > 1
    assert narrow.variant == f"{variant}, temperature 0.5, top-k 1"
    assert narrow.sampling_settings == {"temperature": 0.5, "top_k": 1}
    assert plain.sampling_settings == {}


def test_it_needs_a_probability_for_each_level() -> None:
    with pytest.raises(GenlabError, match=r"model.sampling has top-k 2, .* Use model.observation=categorical."):
        make_model(Case("transformer", GRAY, [*SMALL_TRANSFORMER, "sampling.top_k=2", "observation=logistic_mixture"]))
