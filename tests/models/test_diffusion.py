"""Diffusion with the best network for normal data, which is known, and its likelihoods against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from genlab.command.targets import instantiate
from genlab.core.batch import Batch
from genlab.core.errors import GenlabError
from genlab.core.likelihood import sum_dims
from genlab.core.spec import DataSpec
from genlab.models.diffusion import Diffusion
from genlab.networks.diffusion.preconditioning import PARAMETERIZATIONS, SIGMA_DATA
from genlab.networks.diffusion.samplers import SAMPLERS
from tests.contract.families import (
    BINARY,
    GRAY,
    PLANE,
    SMALL_DIFFUSION,
    SPACE,
    Case,
    make_batch,
    make_model,
    model_config,
    perturb,
)

MEAN = 0.1
"""Of normal data with standard deviation `SIGMA_DATA`, in the scaled values that the network sees."""


class ExactNetwork(nn.Module):
    """The network that makes a model of this parameterization the best denoiser of normal data.

    Args:
        parameterization: Its name.
        shift: Added to the mean for each label, 0 where none is given.
    """

    def __init__(self, parameterization: str, shift: Tensor | None = None) -> None:
        super().__init__()
        self.coefficients = PARAMETERIZATIONS[parameterization]
        self.shift = shift

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        sigma = (4 * t).exp().view(-1, *[1] * (x.ndim - 1))
        factors = self.coefficients(sigma)
        noisy = x / factors.input
        mean = MEAN if y is None or self.shift is None else MEAN + self.shift[y].view(-1, *[1] * (x.ndim - 1))
        variance = SIGMA_DATA**2
        return factors.value(noisy, (variance * noisy + sigma**2 * mean) / (variance + sigma**2))


def exact_model(spec: DataSpec = SPACE, parameterization: str = "edm", *overrides: str) -> Diffusion:
    model = make_model(Case("diffusion", spec, [*SMALL_DIFFUSION, f"parameterization={parameterization}", *overrides]))
    assert isinstance(model, Diffusion)
    model.network = ExactNetwork(parameterization)
    return model


def data_of(model: Diffusion, n: int, seed: int = 0) -> tuple[Tensor, torch.distributions.Normal]:
    """Normal data in the model's own units, and its distribution."""
    scale, shift = model.scaling.scale, model.scaling.shift
    normal = torch.distributions.Normal((MEAN - shift) / scale, SIGMA_DATA / scale)
    noise = torch.randn((n, *model.spec.shape), generator=torch.Generator().manual_seed(seed))
    return normal.mean + normal.stddev * noise, normal


@pytest.mark.parametrize("parameterization", PARAMETERIZATIONS)
@pytest.mark.parametrize("schedule", ["edm", "linear", "cosine"])
def test_the_likelihood_of_normal_data_is_the_closed_form(parameterization: str, schedule: str) -> None:
    """With data whose dimensions were standardized, so the log-determinant counts too."""
    model = exact_model(SPACE, parameterization, f"noise.schedule={schedule}", "likelihood_ode.steps=50")
    x, normal = data_of(model, 8)
    found, exact = model.log_prob(x), sum_dims(normal.log_prob(x))
    # The lowest noise level, 0.002, widens the density by 1e-5 of its variance.
    torch.testing.assert_close(found, exact, rtol=0, atol=0.01)


@pytest.mark.parametrize("parameterization", PARAMETERIZATIONS)
def test_what_is_not_there_has_no_part_in_the_likelihood(parameterization: str) -> None:
    """With any number of values missing, it is the density of the others."""
    model = exact_model(SPACE, parameterization, "likelihood_ode.steps=50")
    mask = torch.tensor([[True, True, True], [True, True, False], [True, False, False]])
    values = MEAN + SIGMA_DATA * torch.randn(3, 3, generator=torch.Generator().manual_seed(0))
    found = model.log_density(values.where(mask, 0), None, None, mask)
    expected = sum_dims(torch.distributions.Normal(MEAN, SIGMA_DATA).log_prob(values), mask)
    torch.testing.assert_close(found, expected, rtol=0, atol=0.01)


def test_the_adaptive_likelihood_is_the_closed_form() -> None:
    model = exact_model(SPACE, "v", "likelihood_ode.solver=dopri5")
    x, normal = data_of(model, 8)
    torch.testing.assert_close(model.log_prob(x), sum_dims(normal.log_prob(x)), rtol=0, atol=0.01)


@pytest.mark.parametrize("parameterization", PARAMETERIZATIONS)
@pytest.mark.parametrize("weighting", ["edm", "min_snr", "likelihood"])
def test_the_loss_of_the_best_denoiser_is_known(parameterization: str, weighting: str) -> None:
    """Its squared error is the posterior's variance, the same for every parameterization."""
    model = exact_model(SPACE, parameterization, f"weighting={weighting}")
    x, _ = data_of(model, 40_000)
    torch.manual_seed(0)
    u = (torch.arange(10_000) + 0.5) / 10_000
    sigma = model.noise.training_sigmas(u)
    variance = (SIGMA_DATA * sigma) ** 2 / (SIGMA_DATA**2 + sigma**2)
    low, high = model.noise.sigma_min, model.noise.sigma_max
    expected = {
        "edm": 1.0,
        "min_snr": (variance * (1 / sigma**2).clamp_max(5.0)).mean().item(),
        "likelihood": 0.5 * math.log((1 + (SIGMA_DATA / low) ** 2) / (1 + (SIGMA_DATA / high) ** 2)),
    }
    assert model.loss(Batch(x))["loss"].item() == pytest.approx(expected[weighting], rel=0.02)


@pytest.mark.parametrize("parameterization", PARAMETERIZATIONS)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_samples_of_the_best_denoiser_have_the_distribution_of_the_data(parameterization: str, sampler: str) -> None:
    model = exact_model(SPACE, parameterization, f"sampler={sampler}", "steps=100")
    drawn = model.sample(20_000, generator=torch.Generator().manual_seed(0))
    _, normal = data_of(model, 1)
    torch.testing.assert_close(drawn.mean(0), normal.mean, rtol=0, atol=0.02)
    torch.testing.assert_close(drawn.std(0) / normal.stddev, torch.ones(3), rtol=0, atol=0.08)


def test_the_parameterization_does_not_change_a_sample_of_one_denoiser() -> None:
    first, *others = (
        exact_model(SPACE, name).sample(5, generator=torch.Generator().manual_seed(0)) for name in PARAMETERIZATIONS
    )
    for other in others:
        torch.testing.assert_close(other, first, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("sampler", "evaluations"), [("heun", 35), ("dpm_solver_2m", 18), ("ddim", 18), ("ddpm", 18)])
@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_a_sample_costs_the_evaluations_that_it_says(sampler: str, evaluations: int, guidance: float) -> None:
    settings = [f"sampler={sampler}", "steps=18", "conditional=true", f"guidance={guidance}"]
    model = make_model(Case("diffusion", PLANE, [*SMALL_DIFFUSION, *settings]))
    seen = []
    model.network.register_forward_hook(lambda module, inputs, output: seen.append(len(output)))
    model.sample(3)
    assert model.nfe == evaluations * (1 if guidance == 1 else 2)
    assert sum(seen) == 3 * model.nfe


def guided_model(guidance: float) -> Diffusion:
    model = exact_model(PLANE, "edm", "conditional=true", f"guidance={guidance}")
    model.network = ExactNetwork("edm", torch.tensor([-0.2, 0.3, 0.0]))
    return model


def test_guidance_of_one_is_the_plain_conditional_model() -> None:
    model = make_model(Case("diffusion", PLANE, [*SMALL_DIFFUSION, "conditional=true"]))
    perturb(model)
    x, sigma, y = torch.randn(4, 2), torch.tensor(0.7), torch.tensor([0, 1, 1, 0])
    plain = model.denoise(x, sigma, y)
    assert torch.equal(model.guided(model.denoise, y)(x, sigma), plain)
    # The general formula, too, where the weight is all but one.
    model.guidance = 1 + 1e-12
    torch.testing.assert_close(model.guided(model.denoise, y)(x, sigma), plain)
    model.guidance = 0.0
    torch.testing.assert_close(model.guided(model.denoise, y)(x, sigma), model.denoise(x, sigma, None))


@pytest.mark.parametrize("guidance", [0.0, 1.0, 2.5])
def test_guidance_moves_samples_away_from_those_without_a_label(guidance: float) -> None:
    """Means of normal data whose labels shift it: guided denoising shifts it by so many times as much."""
    model = guided_model(guidance)
    y = torch.arange(2).repeat_interleave(4000)
    drawn = model.sample(8000, y, torch.Generator().manual_seed(0))
    scaled = model.scaling(drawn)[0].view(2, 4000, 2).mean((1, 2))
    torch.testing.assert_close(scaled, MEAN + guidance * torch.tensor([-0.2, 0.3]), rtol=0, atol=0.03)


def test_the_likelihood_is_that_of_the_model_without_guidance() -> None:
    x, y = torch.randn(3, 2), torch.tensor([0, 1, 0])
    torch.testing.assert_close(guided_model(3.0).log_prob(x, y), guided_model(1.0).log_prob(x, y))


def test_a_share_of_the_labels_is_dropped_in_training() -> None:
    y = torch.randint(3, (20_000,))
    model = make_model(Case("diffusion", GRAY, [*SMALL_DIFFUSION, "conditional=true", "label_dropout=0.25"]))
    labels = model.training_labels(y)
    dropped = labels == 3
    assert dropped.float().mean().item() == pytest.approx(0.25, abs=0.015)
    assert torch.equal(labels[~dropped], y[~dropped])
    all_kept = make_model(Case("diffusion", GRAY, [*SMALL_DIFFUSION, "conditional=true", "label_dropout=0"]))
    assert torch.equal(all_kept.training_labels(y), y)
    assert make_model(Case("diffusion", GRAY, SMALL_DIFFUSION)).training_labels(y) is None


def test_levels_are_trained_with_noise_in_their_cells_only_where_the_density_needs_it() -> None:
    x = make_batch(GRAY, 500).x
    with_noise, centres = (
        make_model(Case("diffusion", GRAY, [*SMALL_DIFFUSION, f"likelihood={name}"])).training_values(x)
        for name in ("ode", "vlb")
    )
    torch.testing.assert_close(centres, (2 * x + 1) / 17 - 1)
    within = (with_noise - centres) * 17 / 2
    assert within.abs().max() <= 0.5 + 1e-5
    assert within.std().item() == pytest.approx(1 / math.sqrt(12), rel=0.03)


def test_the_probability_of_levels_is_the_mass_of_their_cells() -> None:
    """A density in the plane is integrated over each of the cells of 2 x 2 levels."""
    spec = DataSpec("cells", "vector", (2,), levels=2)
    model = exact_model(spec)
    levels = torch.cartesian_prod(torch.arange(2), torch.arange(2))
    torch.manual_seed(0)
    with torch.no_grad():
        found = model.log_prob(levels.repeat(4000, 1)).double().exp().view(4000, 4).mean(0)
    normal = torch.distributions.Normal(MEAN, SIGMA_DATA)
    low, middle, high = (normal.cdf(torch.tensor(edge)) for edge in (-1.0, 0.0, 1.0))
    mass = torch.stack([middle - low, high - middle])
    torch.testing.assert_close(found, (mass[:, None] * mass).flatten().double(), rtol=0, atol=0.02)


def test_the_bound_of_the_best_denoiser_is_the_probability_of_a_discretized_normal_target() -> None:
    """Through the model: the best denoiser of levels in place of a network."""
    spec = DataSpec("levels", "vector", (2,), levels=5)
    model = exact_model(spec, "edm", "likelihood=vlb", "vlb_steps=60")
    centres = model.level_centres(torch.arange(5)).double()
    log_p = (-0.5 * ((centres - MEAN) / SIGMA_DATA) ** 2).log_softmax(0)

    def denoise(x: Tensor, sigma: Tensor, y: Tensor | None, mask: Tensor | None) -> Tensor:
        weights = (log_p - 0.5 * ((x.double()[..., None] - centres) / sigma.view(-1, 1, 1)) ** 2).softmax(-1)
        return (weights @ centres).float()

    model.denoise = denoise  # type: ignore[method-assign]
    x = torch.multinomial(log_p.exp(), 4000, replacement=True, generator=torch.Generator().manual_seed(0)).view(-1, 2)
    found = model.log_prob(x, generator=torch.Generator().manual_seed(0)).double() - log_p[x].sum(1)
    assert abs(found.mean()) < 4 * found.std() / len(x) ** 0.5
    assert found.std() / len(x) ** 0.5 < 0.04
    assert model.likelihood_kind(16) == "vlb"
    assert model.likelihood_settings == {"vlb": {"noise_levels": 60}}


@pytest.mark.parametrize(
    ("spec", "overrides", "words"),
    [
        (BINARY, ["conditional=true"], "needs labels"),
        (GRAY, ["guidance=2"], "conditional=true"),
        (GRAY, ["guidance=2", "conditional=true", "label_dropout=0"], "label_dropout"),
        (PLANE, ["likelihood=vlb"], "likelihood=ode"),
        (PLANE, ["network=unet"], "network=mlp"),
        (PLANE, ["noise.sigma_min=90"], "sigma_min"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_to_do(spec: DataSpec, overrides: list[str], words: str) -> None:
    config = model_config("diffusion", [*SMALL_DIFFUSION, *overrides])
    with pytest.raises(GenlabError, match=words):
        instantiate(config, spec=spec)


def test_a_result_says_how_the_equation_was_solved() -> None:
    fixed = make_model(Case("diffusion", PLANE, SMALL_DIFFUSION)).likelihood_settings
    assert fixed == {"ode": {"solver": "heun", "steps": 4, "trace": "exact"}}
    big = DataSpec("big", "image", (1, 8, 8), levels=4)
    adaptive = make_model(Case("diffusion", big, [*SMALL_DIFFUSION, "likelihood_ode.solver=dopri5"]))
    expected = {"solver": "dopri5", "rtol": 1e-6, "atol": 1e-6, "trace": "hutchinson", "probes": 1}
    expected["dequantization_draws"] = 1
    assert adaptive.likelihood_settings == {"ode": expected}
