"""What is particular to flow matching, most of it against a target whose velocity is known."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from genlab.core.batch import Batch
from genlab.core.likelihood import importance_weighted, standard_normal_log_prob
from genlab.core.noise import normal
from genlab.core.spec import DataSpec
from genlab.models.flow_matching import FlowMatching
from tests.contract.families import (
    BINARY,
    GRAY,
    PLANE,
    SMALL_FLOW_MATCHING,
    SPACE,
    Case,
    make_batch,
    make_model,
    perturb,
)

MEAN, DEVIATION = 0.7, 0.4


class GaussianVelocity(nn.Module):
    """The exact velocity of paths to a Gaussian with independent dimensions of one mean and deviation.

    Points at time t are Gaussian with mean t m and variance s(t)^2, which v = m + s'(t) / s(t) (x - t m) carries along.
    """

    def __init__(self, sigma_min: float = 0.0, width: float = 0.0, scale: float = 1.0) -> None:
        super().__init__()
        self.sigma_min, self.width, self.scale = sigma_min, width, scale

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        t = t.view(-1, *[1] * (x.ndim - 1))
        keep = 1 - self.sigma_min
        variance = (1 - keep * t) ** 2 + (DEVIATION * t) ** 2 + (4 * self.width * t * (1 - t)) ** 2
        half_slope = -keep * (1 - keep * t) + DEVIATION**2 * t + (4 * self.width) ** 2 * t * (1 - t) * (1 - 2 * t)
        return self.scale * (MEAN + half_slope / variance * (x - MEAN * t))


def made(spec: DataSpec, *overrides: str) -> FlowMatching:
    model: Any = make_model(Case("flow_matching", spec, [*SMALL_FLOW_MATCHING, *overrides]))
    perturb(model, 0.1)
    return model.eval()


def exact(spec: DataSpec, *overrides: str) -> FlowMatching:
    model = made(spec, *overrides)
    model.network = GaussianVelocity()
    return model


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("solver", ["dopri5", "heun"])
@pytest.mark.parametrize("trace", ["exact", "hutchinson"])
def test_the_likelihood_of_a_gaussian_target_is_the_closed_form(solver: str, trace: str) -> None:
    """Hutchinson's estimate too: the Jacobian is diagonal, so that probes of signs have no variance."""
    precise = ["likelihood_ode.steps=200", "likelihood_ode.rtol=1e-6", "likelihood_ode.atol=1e-6"]
    model = exact(SPACE, f"likelihood_ode.solver={solver}", f"likelihood_ode.trace={trace}", *precise)
    x = make_batch(SPACE, 50).x
    with torch.no_grad():
        found = model.log_prob(x)
    scaled, log_det = model.scaling(x)
    target = torch.distributions.Normal(MEAN, DEVIATION).log_prob(scaled).sum(1) + log_det
    torch.testing.assert_close(found, target, rtol=1e-3, atol=1e-3)
    assert model.likelihood_kind() == "ode"


@pytest.mark.parametrize("solver", ["euler", "midpoint", "heun", "dopri5"])
def test_every_sampler_draws_from_the_target(solver: str) -> None:
    model = exact(SPACE, f"sampler.solver={solver}", "sampler.steps=200")
    samples = model.sample(2000, generator=seeded())
    noise = normal((2000, 3), seeded(), torch.device("cpu"))
    torch.testing.assert_close(model.scaling(samples)[0], MEAN + DEVIATION * noise, rtol=0.02, atol=0.02)


@pytest.mark.parametrize(("sigma_min", "width"), [(0.0, 0.0), (0.3, 0.0), (0.0, 0.4)])
def test_the_exact_velocity_has_the_least_loss(sigma_min: float, width: float) -> None:
    model = made(SPACE, f"path.sigma_min={sigma_min}", f"path.width={width}")
    data = MEAN + DEVIATION * torch.randn(200_000, 3)
    batch = Batch(model.scaling.inverse(data)[0], None)

    def loss(scale: float) -> float:
        model.network = GaussianVelocity(sigma_min, width, scale)
        torch.manual_seed(0)
        with torch.no_grad():
            return model.loss(batch)["loss"].item()

    below, at, above = loss(0.9), loss(1.0), loss(1.1)
    best = 1 + 0.1 * (below - above) / (2 * (below - 2 * at + above))  # of the parabola through the three
    assert best == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize(("sigma_min", "width"), [(0.0, 0.0), (0.05, 0.0), (0.0, 0.4), (0.05, 0.4)])
def test_the_denoiser_of_a_gaussian_target_is_the_closed_form(sigma_min: float, width: float) -> None:
    model = made(SPACE, f"path.sigma_min={sigma_min}", f"path.width={width}")
    model.network = GaussianVelocity(sigma_min, width)
    clean, noise = torch.randn(2, 5, 3)
    for sigma in (0.1, 1.0, 3.0):
        found = model.denoised(clean, noise, sigma, None, None)
        expected = (DEVIATION**2 * (clean + sigma * noise) + sigma**2 * MEAN) / (DEVIATION**2 + sigma**2)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("solver", "nfe"), [("euler", 4), ("heun", 8), ("midpoint", 8)])
def test_nfe_is_the_number_of_evaluations(solver: str, nfe: int) -> None:
    model, calls = made(PLANE, f"sampler.solver={solver}"), []
    model.network.register_forward_hook(lambda *_: calls.append(1))
    model.sample(3, generator=seeded())
    assert len(calls) == model.nfe == nfe


def test_the_adaptive_sampler_reports_the_mean_over_samples() -> None:
    model, calls = made(PLANE, "sampler.solver=dopri5"), []
    model.network.register_forward_hook(lambda _, inputs, output: calls.append(len(output)))
    model.sample(1, generator=seeded(0))
    first = sum(calls)
    assert model.nfe == first
    model.sampler = type(model.sampler)("dopri5", 1, 1e-6, 1e-6)  # other samples need other numbers of steps
    model.sample(3, generator=seeded(1))
    assert sum(calls) > 4 * first
    assert model.nfe == sum(calls) / 4


def test_guidance_of_one_is_the_conditional_model_and_of_zero_the_unconditional_one() -> None:
    plain, none, nearly_one = (
        made(GRAY, "conditional=true", "label_dropout=0.1", f"guidance={weight}") for weight in (1, 0, 1.000001)
    )
    y, noise = torch.tensor([0, 1, 2, 1]), torch.randn(4, *GRAY.shape)
    with torch.no_grad():
        conditional = plain.generate(noise, y, None)
        torch.testing.assert_close(nearly_one.generate(noise, y, None), conditional, rtol=1e-4, atol=1e-4)
        without_labels = plain.generate(noise, torch.full_like(y, 3), None)
        torch.testing.assert_close(none.generate(noise, y, None), without_labels, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(conditional, without_labels, atol=1e-3)
    assert (plain.nfe, none.nfe) == (8, 16)


def test_optimal_transport_shortens_the_paths_that_are_learned() -> None:
    costs = []
    for coupling in ("independent", "optimal_transport"):
        model = made(PLANE, f"path.coupling={coupling}")
        torch.manual_seed(0)
        costs.append(model.loss(make_batch(PLANE, 64))["path_cost"].item())
    assert costs[1] < 0.7 * costs[0]
    assert "optimal transport" in model.variant


def test_a_conditional_model_couples_within_its_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(
        "genlab.models.flow_matching.optimal_transport", lambda noise, data, y: seen.append(y) or torch.arange(len(y))
    )
    batch = make_batch(PLANE, 8)
    made(PLANE, "conditional=true", "path.coupling=optimal_transport").loss(batch)
    assert seen == [batch.y]


def test_the_adaptive_solver_samples_in_float32() -> None:
    """Rounding to bfloat16 would look like a stiff equation to it."""
    low, full = (
        made(GRAY, "sampler.solver=dopri5", f"sampling_precision={name}") for name in ("bf16-mixed", "32-true")
    )
    noise = torch.randn(2, *GRAY.shape)
    with low._precision():
        assert torch.equal(low.generate(noise, None, None), full.generate(noise, None, None))


def test_the_probabilities_of_levels_are_the_mass_within_their_cells() -> None:
    model = made(BINARY, "network=mlp")
    images = torch.tensor(list(itertools.product([0, 1], repeat=4)), dtype=torch.uint8).view(16, 1, 2, 2)
    torch.manual_seed(0)
    draws = 1000
    with torch.no_grad():
        weights = model.log_prob(images.repeat(draws, 1, 1, 1)).view(draws, 16)
        inside = model.generate(torch.randn(100_000, 1, 2, 2), None, None).flatten(1).abs().amax(1) < 1
    total = importance_weighted(weights).exp().sum().item()
    assert total == pytest.approx(inside.float().mean().item(), rel=0.05)


def test_the_prior_is_where_the_likelihood_starts() -> None:
    """A velocity of zero leaves standard normals as they are."""
    model = made(SPACE)
    model.network = GaussianVelocity(scale=0.0)
    x = make_batch(SPACE, 5).x
    scaled, log_det = model.scaling(x)
    torch.testing.assert_close(model.log_prob(x), standard_normal_log_prob(scaled) + log_det)
