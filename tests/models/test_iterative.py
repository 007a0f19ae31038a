"""What diffusion and flow matching share, on whichever of them."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from genlab.core.batch import Batch
from genlab.core.errors import GenlabError
from genlab.core.likelihood import standard_normal_log_prob
from genlab.core.spec import DataSpec
from genlab.core.tails import TamedAffine, TamedAmplitude
from genlab.measure.likelihood import measure_likelihood
from genlab.measure.protocol import EvaluationProtocol
from genlab.models.iterative import IterativeModel
from tests.contract.families import (
    GRAY,
    PLANE,
    SERIES,
    SMALL_DIFFUSION,
    SMALL_FLOW_MATCHING,
    SOUND,
    Case,
    make_batch,
    make_model,
    perturb,
)


def made(spec: DataSpec, *overrides: str) -> IterativeModel:
    model = make_model(Case("diffusion", spec, [*SMALL_DIFFUSION, *overrides]))
    assert isinstance(model, IterativeModel)
    perturb(model)
    return model


def precisions(model: IterativeModel) -> set[bool]:
    """Whether the network runs in bfloat16, filled in as it is called."""
    seen: set[bool] = set()
    model.network.register_forward_pre_hook(lambda *_: seen.add(torch.is_autocast_enabled("cpu")))
    return seen


@pytest.mark.parametrize(("precision", "expected"), [("bf16-mixed", True), ("32-true", False)])
def test_images_are_sampled_in_the_precision_that_was_asked_for(precision: str, expected: bool) -> None:
    model = made(GRAY, f"sampling_precision={precision}")
    seen = precisions(model)
    model.sample(2)
    assert seen == {expected}
    assert model.sampling_settings == {"precision": precision}


def test_likelihoods_and_vectors_stay_in_float32() -> None:
    image, vector = made(GRAY), made(PLANE, "sampling_precision=bf16-mixed")
    seen = precisions(image), precisions(vector)
    with torch.autocast("cpu", torch.bfloat16):
        image.log_prob(make_batch(GRAY, 2).x)
        vector.loss(make_batch(PLANE, 2))
        vector.sample(2)
    assert seen == ({False}, {False})
    assert vector.sampling_settings == {"precision": "32-true"}


def test_images_train_in_the_trainers_precision_with_a_loss_in_float32() -> None:
    model = made(GRAY)
    seen = precisions(model)
    with torch.autocast("cpu", torch.bfloat16):
        loss = model.loss(make_batch(GRAY, 2))["loss"]
    assert seen == {True}
    assert loss.dtype == torch.float32


def test_samples_choose_the_checkpoint_although_there_is_a_likelihood() -> None:
    model = made(GRAY)
    assert model.has_likelihood
    assert model.monitor == "val/fid"
    assert model.likelihood_examples == 250
    assert made(GRAY, "likelihood_images=null").likelihood_examples is None
    assert made(PLANE).likelihood_examples is None


MANY = DataSpec("many", "vector", (24,), levels=4)
ADAPTIVE = ["network=mlp", "likelihood_ode.solver=dopri5", "likelihood_ode.rtol=1e-5", "likelihood_ode.atol=1e-5"]


def test_an_ode_on_levels_is_the_estimate_of_a_bound_and_says_so() -> None:
    assert made(PLANE).likelihood_kind(16) == "ode"
    model = made(MANY)
    assert model.likelihood_kind(16) == "dequantized-ode"
    said = model.likelihood_settings["ode"]
    assert (said["trace"], said["probes"], said["dequantization_draws"]) == ("hutchinson", 1, 1)
    assert "dequantization_draws" not in made(PLANE).likelihood_settings["ode"]


@pytest.mark.parametrize("name", ["diffusion", "flow_matching"])
@pytest.mark.parametrize("spec", [MANY, GRAY, PLANE], ids=lambda spec: spec.name)
def test_a_likelihood_by_an_ode_does_not_depend_on_the_batch(name: str, spec: DataSpec) -> None:
    """Steps, probes and dequantization noise are an example's own, to nats; what is left is rounding in float32."""
    small = SMALL_DIFFUSION if name == "diffusion" else SMALL_FLOW_MATCHING
    conditional = [] if spec.num_classes is None else ["conditional=true"]
    model = make_model(Case(name, spec, [*small, *ADAPTIVE, *conditional])).eval()
    perturb(model)
    batch = make_batch(spec, 5)
    y = batch.y if conditional else None

    def log_prob(count: int) -> torch.Tensor:
        labels = None if y is None else y[:count]
        return model.log_prob(batch.x[:count], labels, generator=torch.Generator().manual_seed(0)).detach()

    torch.testing.assert_close(log_prob(2), log_prob(5)[:2], rtol=0, atol=5e-3)


def test_the_standard_error_takes_in_probes_and_dequantization() -> None:
    """Of one example many times nothing but this noise scatters, within an evaluation as from one to another."""
    model = made(MANY).eval()
    copies = Batch(make_batch(MANY, 1).x.expand(60, 24), None)

    def measured(seed: int) -> tuple[float, float]:
        protocol = EvaluationProtocol("p", "test", 1, None, num_samples=1, batch_size=60, seed=seed)
        figures = measure_likelihood(model, copies, protocol)
        assert figures is not None
        return figures["nats"], figures["nats_se"]

    nats, errors = (torch.tensor(values) for values in zip(*map(measured, range(40)), strict=True))
    assert errors.mean() > 0.01
    assert nats.std().item() == pytest.approx(errors.mean().item(), rel=0.4)


def test_a_model_without_a_likelihood_says_so() -> None:
    model = made(PLANE, "likelihood=none")
    assert not model.has_likelihood
    with pytest.raises(NotImplementedError, match="no likelihood"):
        model.log_prob(torch.zeros(1, 2))


def test_labels_are_asked_for_and_drawn() -> None:
    model = made(PLANE, "conditional=true")
    with pytest.raises(GenlabError, match="labels"):
        model.log_prob(torch.zeros(2, 2))
    given: list[Any] = []
    model.network.register_forward_pre_hook(lambda _, inputs: given.append(inputs[2]))
    model.sample(500, generator=torch.Generator().manual_seed(0))
    assert set(given[0].tolist()) == {0, 1}
    model.sample(2, torch.tensor([1, 1]))
    assert given[-1].tolist() == [1, 1]


def test_continuous_data_is_standardized_and_samples_return_to_its_units() -> None:
    model = made(PLANE)
    x = torch.randn(5000, 2) * torch.tensor([3.0, 0.2]) + torch.tensor([100.0, -1.0])
    model.initialize(make_batch(PLANE, 1)._replace(x=x))
    scaled = model.training_values(x)
    torch.testing.assert_close(scaled.std(0), torch.full((2,), model.deviation), rtol=0, atol=0.01)
    drawn = model.sample(500, generator=torch.Generator().manual_seed(0))
    assert ((drawn - x.mean(0)).abs() / x.std(0) < 20).all()


def test_the_variant_names_network_labels_and_guidance() -> None:
    assert made(GRAY).variant.startswith("unet, edm")
    words = made(GRAY, "network=dit", "conditional=true", "guidance=1.5").variant
    assert words.startswith("dit")
    assert words.endswith("class-conditional, guidance 1.5")


def test_an_untrained_model_of_series_has_the_density_of_its_tamed_values() -> None:
    """Its network is zero, so that its scaled data is normal, and that of x is Johnson's distribution, to nats."""
    windows = torch.sinh(torch.randn(400, 2, 3, generator=torch.Generator().manual_seed(0)))
    model = make_model(Case("diffusion", SERIES, [*SMALL_DIFFUSION, "noise.sigma_min=0.0005"]))
    model.initialize(Batch(windows))
    scaling = model.eval().scaling
    assert isinstance(scaling, TamedAffine)
    assert "tamed tails" in model.variant
    z, log_det = scaling(windows[:4])
    expected = standard_normal_log_prob(z / model.deviation) - 6 * math.log(model.deviation) + log_det
    torch.testing.assert_close(model.log_prob(windows[:4]), expected, rtol=0, atol=0.02)


def test_the_bound_of_levels_is_there_where_amplitudes_are_tamed_too() -> None:
    model, batch = made(SOUND, "likelihood=vlb", "tails=asinh").eval(), make_batch(SOUND, 3)
    with torch.no_grad():
        assert model.log_prob(batch.x, mask=batch.mask).isfinite().all()


def test_tails_are_tamed_where_that_suits_the_data_or_is_asked_for() -> None:
    assert isinstance(made(PLANE, "tails=asinh").scaling, TamedAffine)
    assert isinstance(made(SOUND, "tails=asinh").scaling, TamedAmplitude)
    for model in (made(PLANE), made(SERIES, "tails=none"), made(GRAY)):
        assert not isinstance(model.scaling, TamedAffine)
        assert "tamed" not in model.variant
    with pytest.raises(GenlabError, match=r"tails is asinh, which is for .* amplitudes, but tiny_gray has 17"):
        made(GRAY, "tails=asinh")
