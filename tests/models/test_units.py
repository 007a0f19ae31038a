"""The unit of the data changes a density by the logarithm of the unit alone, however small its numbers are."""

from __future__ import annotations

import pytest
import torch

from genlab.command.targets import instantiate
from genlab.core.batch import Batch
from genlab.core.noise import ExampleNoise
from genlab.core.spec import DataSpec, Field
from genlab.models.base import GenerativeModel
from tests.contract.families import (
    SERIES,
    SMALL_DIFFUSION,
    SMALL_FLOW,
    SMALL_FLOW_MATCHING,
    SMALL_GAN,
    SMALL_GMM,
    SMALL_HVAE,
    SMALL_TRANSFORMER,
    SMALL_VAE,
    SPACE,
    Case,
    make_batch,
    model_config,
    perturb,
)

LENGTHS = DataSpec("lengths", "table", (3,), fields=(Field("a"), Field("b"), Field("c")))
UNIT = 2.0**-30
"""Of the first column: numbers of some 1e-9 beside numbers of 1."""

CASES = [
    Case("flow", SPACE, SMALL_FLOW),
    Case("flow", LENGTHS, SMALL_FLOW),
    Case("flow", SERIES, SMALL_FLOW),
    Case("vae", SPACE, SMALL_VAE),
    Case("vae", SERIES, SMALL_VAE),
    Case("hvae", SPACE, SMALL_HVAE),
    Case("made", LENGTHS, ["hidden=64"]),
    Case("made", SERIES, ["hidden=64"]),
    Case("transformer", SPACE, SMALL_TRANSFORMER),
    Case("transformer", SERIES, SMALL_TRANSFORMER),
    Case("diffusion", SPACE, SMALL_DIFFUSION),
    Case("diffusion", LENGTHS, SMALL_DIFFUSION),
    Case("diffusion", SERIES, SMALL_DIFFUSION),
    Case("flow_matching", SPACE, SMALL_FLOW_MATCHING),
    Case("flow_matching", SERIES, [*SMALL_FLOW_MATCHING, "tails=none"]),
    Case("gan", SPACE, SMALL_GAN),
    Case("gan", SERIES, SMALL_GAN),
    *(
        Case("gmm", spec, [*SMALL_GMM, f"covariance={covariance}"])
        for spec in (SPACE, LENGTHS, SERIES)
        for covariance in ("diagonal", "low_rank", "full")
    ),
]


def fitted(case: Case, x: torch.Tensor) -> GenerativeModel:
    torch.manual_seed(0)
    model: GenerativeModel = instantiate(model_config(case.model, case.overrides), spec=case.spec)
    perturb(model, 0.02)  # before it is told the data, whose unit it then has
    torch.manual_seed(0)
    model.initialize(Batch(x))
    return model.eval()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
@torch.no_grad()
def test_another_unit_changes_a_density_by_its_logarithm(case: Case) -> None:
    x = make_batch(case.spec, 64).x
    unit = torch.ones(case.spec.shape)
    unit[0] = UNIT
    model, other = fitted(case, x), fitted(case, unit * x)
    drawn, in_other = (each.sample(8, generator=ExampleNoise(1)) for each in (model, other))
    torch.testing.assert_close(in_other / unit, drawn, rtol=1e-2, atol=1e-2)
    if model.has_likelihood:
        nats, in_other = (
            each.log_prob(values[:16], generator=ExampleNoise(2)) for each, values in ((model, x), (other, unit * x))
        )
        torch.testing.assert_close(in_other + unit.log().sum(), nats, rtol=1e-3, atol=1e-2)
