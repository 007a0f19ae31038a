"""Hierarchical autoencoders: the ladder of conditionals is a joint density, bounds, reports for each layer."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from genlab.core.contract import Encodes
from genlab.core.errors import GenlabError
from genlab.core.spec import DataSpec
from genlab.models.hvae import HVae
from tests.contract.families import BINARY, COUNTS, GRAY, PLANE, SMALL_HVAE, Case, make_batch, make_model, perturb


def make(spec: DataSpec, *overrides: str) -> HVae:
    made = make_model(Case("hvae", spec, [*SMALL_HVAE, *overrides]))
    perturb(made)
    return made


def noise(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_weights_are_those_of_the_joint_density() -> None:
    """The log-ratio from layer to layer equals log p(z) - log q(z | x) from the Jacobians of noise to latents.

    Both ways down turn noise into latents by triangular maps, so the densities follow by change of variables.
    """
    model = make(COUNTS).double()
    batch = make_batch(COUNTS, 1)
    inputs, observed, _ = model._embed(batch.x)
    features = model.infer(inputs)
    eps = torch.randn(1, model.num_latents, dtype=torch.float64)

    def down(flat: Tensor, seen: list[Tensor] | None) -> Tensor:
        parts = model._parts(flat[None])

        def pick(index: int, prior: object, posterior: object) -> Tensor:
            return (prior if seen is None else posterior).transform(parts[index])

        return torch.cat([step.z.flatten(1) for step in model.top_down(1, pick, seen)[1]], dim=1)[0]

    def log_density(flat: Tensor, seen: list[Tensor] | None) -> Tensor:
        jacobian = torch.autograd.functional.jacobian(lambda e: down(e, seen), flat)
        normal = torch.distributions.Normal(0.0, 1.0).log_prob(flat).sum()
        return normal - torch.linalg.slogdet(jacobian).logabsdet

    z = down(eps[0], features).detach()
    # The noise from which the prior would have made the same latents, by Newton's method on the triangular map.
    prior_eps = torch.zeros_like(z)
    for _ in range(20):
        jacobian = torch.autograd.functional.jacobian(lambda e: down(e, None), prior_eps)
        prior_eps = prior_eps - torch.linalg.solve(jacobian, down(prior_eps, None).detach() - z)
    expected = log_density(prior_eps, None) - log_density(eps[0], features)
    judged = model.draw(observed, features, eps[None])
    torch.testing.assert_close(judged.log_ratio[0, 0], expected, rtol=1e-8, atol=1e-8)


def test_divergences_are_the_expected_log_ratio() -> None:
    model, batch = make(GRAY), make_batch(GRAY, 4)
    perturb(model, 0.15)
    with torch.no_grad():
        inputs, observed, _ = model._embed(batch.x)
        judged = model.draw(observed, model.infer(inputs), model._noise(4000, inputs, noise()))
    assert judged.kl.shape == (4, 3)
    assert judged.kl.sum(1).mean() > 0.1
    error = judged.log_ratio.std(0) / math.sqrt(4000)
    assert ((judged.kl.sum(1) + judged.log_ratio.mean(0)).abs() < 5 * error).all()


def test_the_density_on_the_plane_integrates_to_one() -> None:
    model = make(PLANE)
    axis = torch.linspace(-12, 12, 61)
    with torch.no_grad():
        density = model.log_prob(torch.cartesian_prod(axis, axis), num_draws=100, generator=noise()).double().exp()
    assert density.sum().item() * 0.4**2 == pytest.approx(1, abs=0.02)


def test_what_it_samples_has_the_probabilities_that_it_states() -> None:
    """Frequencies of all 16 binary images against their importance-sampled probabilities."""
    model = make(BINARY)
    images = torch.tensor([[int(bit) for bit in f"{i:04b}"] for i in range(16)], dtype=torch.uint8).view(16, 1, 2, 2)
    with torch.no_grad():
        probability = model.log_prob(images, num_draws=3000, generator=noise()).exp()
        draws = model.sample(30_000, generator=noise(1)).flatten(1).long()
    frequency = torch.bincount(draws @ torch.tensor([8, 4, 2, 1]), minlength=16) / 30_000
    torch.testing.assert_close(probability.sum(), torch.tensor(1.0), rtol=0, atol=0.01)
    assert ((frequency - probability).abs() < 5 * (probability / 30_000).sqrt() + 0.002).all()


def test_the_divergence_of_each_layer_is_reported() -> None:
    model = make(GRAY)
    parts = model.loss(make_batch(GRAY, 16))
    layers = [parts[f"kl_layer_{index:02d}_nats"] for index in range(3)]
    assert sum(layers).item() == pytest.approx(parts["kl_nats"].item(), rel=1e-5)
    assert "kl_layer_03_nats" not in parts
    assert model.variant == "top-down, 3 layers, categorical"


def test_active_units_are_those_that_the_data_moves_off_the_prior() -> None:
    model = make(GRAY)
    batch = make_batch(GRAY, 64)
    shifts = [p for name, p in model.named_parameters() if "posterior" in name and p.ndim > 1]
    for scale in (1.0, 0.0):
        with torch.no_grad():
            for weight in shifts:
                weight.normal_().mul_(scale)
        # Below the top layer the prior varies in either case, with the draws above it.
        assert (model.loss(batch)["active_units"].item() > 0) == (scale > 0)


@pytest.mark.parametrize("change", ["beta=4.0", "free_bits=5.0", "kl_warmup=0.5", "draws=3"])
def test_the_objective_changes_the_loss_and_never_the_reported_elbo(change: str) -> None:
    batch, parts = make_batch(GRAY, 64), []
    for overrides in ([], [f"objective.{change}"]):
        model = make(GRAY, *overrides)
        torch.manual_seed(0)
        parts.append(model.loss(batch))
    assert abs(parts[0]["loss"] - parts[1]["loss"]).item() > 1e-4
    # Other draws are other estimates of the same ELBO.
    tolerance = 0.05 if change == "draws=3" else 0.0
    torch.testing.assert_close(parts[0]["elbo_nats"], parts[1]["elbo_nats"], rtol=tolerance, atol=0)


def test_the_start_has_no_divergence() -> None:
    """Each posterior starts as its prior, so that training starts from the decoder alone."""
    model = make_model(Case("hvae", GRAY, SMALL_HVAE))
    assert model.loss(make_batch(GRAY, 8))["kl_nats"].item() == pytest.approx(0, abs=1e-4)


def test_decoding_what_was_encoded_follows_the_same_way_down() -> None:
    model, batch = make(GRAY), make_batch(GRAY, 3)
    assert isinstance(model, Encodes)
    with torch.no_grad():
        z = model.encode(batch.x)
        features = model.infer(model._embed(batch.x)[0])
        params, _ = model.top_down(3, lambda _, __, posterior: posterior.mean, features)
        torch.testing.assert_close(model.decode(z), model.observation.mean(params))
    assert z.shape == (3, model.num_latents)


def test_figures_stay_float32_under_autocast() -> None:
    model, batch = make(GRAY), make_batch(GRAY, 64)
    exact = model.log_prob(batch.x, num_draws=20, generator=noise())
    with torch.autocast("cpu", torch.bfloat16):
        rounded = model.log_prob(batch.x, num_draws=20, generator=noise())
        assert all(value.dtype == torch.float32 for value in model.loss(batch).values())
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded.mean(), exact.mean(), rtol=0.01, atol=0)


@pytest.mark.parametrize("shape", [(1, 7, 5), (3, 1, 1), (2, 28, 28)])
def test_images_of_any_size(shape: tuple[int, int, int]) -> None:
    spec = DataSpec("odd", "image", shape, levels=4)
    model, batch = make(spec, "channels=[4,4,4]", "layers=[1,0,1]"), make_batch(spec, 3)
    assert model.log_prob(batch.x).shape == (3,)
    assert model.sample(2, generator=noise()).shape == (2, *shape)


@pytest.mark.parametrize("layers", ["[1]", "[0,0]", "[1,2,3]"])
def test_scales_that_do_not_fit_are_refused(layers: str) -> None:
    with pytest.raises(GenlabError, match="expected as many numbers in both"):
        make(GRAY, f"layers={layers}")


@pytest.mark.parametrize("change", ["channels=[8,12]", "layers=[2,2]", "latents=3", "blocks=0"])
def test_every_size_changes_the_model(change: str) -> None:
    sizes = [sum(p.numel() for p in model.parameters()) for model in (make(GRAY), make(GRAY, change))]
    assert sizes[0] != sizes[1]
