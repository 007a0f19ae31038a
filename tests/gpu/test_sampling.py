"""Noise, samples and likelihoods on a GPU: those of the CPU, replayed as computed plainly."""

from __future__ import annotations

import logging

import pytest
import torch

from genlab.core.hardware import full_float32
from genlab.core.noise import ExampleNoise, integers, normal, uniform
from genlab.measure.likelihood import measure_likelihood
from genlab.measure.protocol import EvaluationProtocol
from genlab.measure.sampling import draw_samples
from tests.contract.families import CASES, Case, make_batch, make_model, perturb

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]

CPU = torch.device("cpu")
NAMES = [
    "diffusion-tiny_binary-network=mlp-likelihood=vlb",
    "diffusion-tiny_gray",
    "flow-tiny_counts",
    "flow-tiny_gray",
    "flow_matching-tiny_gray-network=dit",
    "gan-tiny_gray",
    "gmm-tiny_counts",
    "hvae-tiny_gray",
    "made-tiny_counts",
    "pixelcnn-tiny_gray",
    "pixelrnn-tiny_gray",
    "transformer-tiny_text",
    "vae-tiny_gray",
]
"""How the names of cases begin, one for each way in which a family samples and scores."""
CHOSEN = [next(case for case in CASES if case.id.startswith(name)) for name in NAMES]


@pytest.fixture
def device() -> torch.device:
    return torch.device("cuda", torch.cuda.current_device())


def test_noise_is_that_of_the_cpu(device: torch.device) -> None:
    """Uniform and whole numbers to the bit; normals but for the rounding of logarithm, sine and cosine."""
    for dtype in (torch.float32, torch.float64):
        here, there = ExampleNoise(5, 3), ExampleNoise(5, 3, device)
        assert torch.equal(uniform((7, 5), here, CPU, dtype), uniform((7, 5), there, device, dtype).cpu())
        torch.testing.assert_close(normal((7, 5), here, CPU, dtype), normal((7, 5), there, device, dtype).cpu())
        assert torch.equal(integers(9, 7, here, CPU), integers(9, 7, there, device).cpu())


@pytest.mark.parametrize("case", CHOSEN, ids=lambda case: case.id)
def test_an_evaluation_finds_what_the_cpu_finds(
    case: Case, device: torch.device, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("genlab.models.iterative.fast_bfloat16", lambda _: False)
    monkeypatch.setattr("genlab.core.replaying.FEWEST_CALLS", 1)
    monkeypatch.setattr("genlab.core.replaying._refused", set())
    model = make_model(case)
    perturb(model)
    model.eval().requires_grad_(False)
    data = make_batch(model.spec, 9)
    protocol = EvaluationProtocol("p", "test", 3, None, 9, None, 0)
    found = []
    with caplog.at_level(logging.WARNING, "genlab"), full_float32():
        for place in (CPU, device):
            model.to(place)
            likelihood = measure_likelihood(model, data, protocol) or {"nats": 0.0}
            found.append((torch.tensor(likelihood["nats"]), draw_samples(model, protocol).samples.float()))
    (nats, samples), (there, drawn_there) = found
    torch.testing.assert_close(there, nats, rtol=1e-3, atol=1e-3)
    # A level may fall on the other side of a threshold by rounding, and in order what follows it.
    same = torch.isclose(samples, drawn_there, rtol=1e-2, atol=1e-2).flatten(1).all(1)
    assert same.sum() >= 8
    assert not [record.message for record in caplog.records if "CUDA graph" in record.message]
