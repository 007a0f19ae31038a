"""What is particular to flows."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from genlab.core.errors import GenlabError
from genlab.core.spec import DataSpec
from tests.contract.families import COUNTS, GRAY, PLANE, SMALL_FLOW, Case, make_batch, make_model, perturb
from tests.tiny import train


@pytest.mark.parametrize(("network", "nfe"), [("nsf", 3), ("maf", 3), ("realnvp", 1)])
def test_autoregressive_flows_say_what_a_sample_costs(network: str, nfe: int) -> None:
    model = make_model(Case("flow", COUNTS, [*SMALL_FLOW, f"network={network}"]))
    assert model.nfe == nfe
    assert model.variant == network


def test_bfloat16_moves_the_likelihood_by_little() -> None:
    """Only the coupling networks run in bfloat16; a log-determinant in it would be off by whole nats."""
    model = make_model(Case("flow", GRAY, SMALL_FLOW))
    perturb(model)
    batch = make_batch(GRAY, 64)
    with torch.no_grad():
        exact = model.log_prob(batch.x, generator=torch.Generator().manual_seed(0))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = model.log_prob(batch.x, generator=torch.Generator().manual_seed(0))
    assert mixed.dtype == torch.float32
    assert (mixed - exact).abs().mean() < 0.02 * GRAY.num_dims


def test_labels_change_a_conditional_model() -> None:
    model = make_model(Case("flow", PLANE, [*SMALL_FLOW, "conditional=true"]))
    perturb(model, 0.2)
    batch = make_batch(PLANE, 8)
    first, second = (model.log_prob(batch.x, torch.full((8,), label)) for label in (0, 1))
    assert not torch.allclose(first, second)
    with pytest.raises(GenlabError, match="class-conditional: give the labels"):
        model.log_prob(batch.x)
    assert "class-conditional" in model.variant


def test_conditional_needs_labels() -> None:
    with pytest.raises(GenlabError, match="needs labels"):
        make_model(Case("flow", COUNTS, [*SMALL_FLOW, "conditional=true"]))


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (
            DataSpec("letters", "text", (8,), levels=65),
            "image, series, table, vector and waveform data, but letters is text",
        ),
        (DataSpec("odd", "image", (1, 5, 5), levels=2), r"sides are even.*model\.network=nsf"),
    ],
)
def test_data_that_it_cannot_take(spec: DataSpec, said: str) -> None:
    with pytest.raises(GenlabError, match=said):
        make_model(Case("flow", spec, SMALL_FLOW))


def test_a_hundred_steps_beat_independent_pixels(tmp_path: Path) -> None:
    """Each pixel's histogram, the best model without dependence between pixels, on the same test digits."""
    from genlab.data.images import Digits

    data = Digits()
    train_x, test_x = (data.tensors(split).x.flatten(1).long() for split in ("train", "test"))
    counts = torch.stack([(train_x == level).sum(0) for level in range(17)]) + 1.0
    log_p = (counts / counts.sum(0)).log().gather(0, test_x)
    independent = -log_p.sum(1).mean().item() / (64 * math.log(2))
    assert 2 < independent < 3, "the digits are not the digits"
    steep = ["model.multiscale.hidden=[16]", "model.lr=1e-2", "budget.examples=3200", "budget.validations=1"]
    result = train(tmp_path, "evaluation.max_examples=null", *steep)
    assert result.likelihood.bits_per_dim < independent
