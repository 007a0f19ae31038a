"""Losses and gradient penalties against formulas by hand."""

from __future__ import annotations

import math

import pytest
import torch

from genlab.networks.adversarial.losses import LOSSES, input_gradient, one_centered_penalty, zero_centered_penalty

REAL, FAKE = [2.0, -0.5, 0.3], [0.1, -3.0, 1.5]


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


BY_HAND = {
    "non_saturating": (
        # Minus the log-probabilities that a sigmoid gives to "real" and to "generated".
        mean([-math.log(1 / (1 + math.exp(-r))) for r in REAL])
        + mean([-math.log(1 - 1 / (1 + math.exp(-f))) for f in FAKE]),
        mean([-math.log(1 / (1 + math.exp(-f))) for f in FAKE]),
    ),
    "wasserstein": (mean(FAKE) - mean(REAL), -mean(FAKE)),
    "hinge": (mean([max(0, 1 - r) for r in REAL]) + mean([max(0, 1 + f) for f in FAKE]), -mean(FAKE)),
    "relativistic": (
        mean([softplus(f - r) for r, f in zip(REAL, FAKE, strict=True)]),
        mean([softplus(r - f) for r, f in zip(REAL, FAKE, strict=True)]),
    ),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_the_formulas(name: str) -> None:
    real, fake = torch.tensor(REAL, dtype=torch.float64), torch.tensor(FAKE, dtype=torch.float64)
    loss = LOSSES[name]
    assert loss.discriminator(real, fake).item() == pytest.approx(BY_HAND[name][0], rel=1e-12)
    assert loss.generator(real, fake).item() == pytest.approx(BY_HAND[name][1], rel=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_the_players_pull_a_generated_score_in_opposite_directions(name: str) -> None:
    real = torch.zeros(4)
    pulls = []
    for player in (LOSSES[name].discriminator, LOSSES[name].generator):
        fake = torch.zeros(4, requires_grad=True)
        player(real, fake).backward()
        pulls.append(fake.grad)
    assert (pulls[0] > 0).all()
    assert (pulls[1] < 0).all()


def test_a_linear_discriminator_has_penalties_in_closed_form() -> None:
    """D(x) = w x + b has the slope w everywhere: R1 = |w|^2 / 2, and the Wasserstein penalty is (|w| - 1)^2."""
    torch.manual_seed(0)
    weight = torch.randn(12, dtype=torch.float64, requires_grad=True)
    x = torch.randn(5, 3, 4, dtype=torch.float64, requires_grad=True)
    gradient = input_gradient(x.flatten(1) @ weight + 7, x)
    assert gradient.shape == (5, 12)
    r1, one = zero_centered_penalty(gradient), one_centered_penalty(gradient)
    norm = weight.detach().norm()
    assert r1.item() == pytest.approx(norm.item() ** 2 / 2, rel=1e-9)
    assert one.item() == pytest.approx((norm.item() - 1) ** 2, rel=1e-9)
    # Their own gradients, for which the input gradient must be differentiable: w, and 2 (|w| - 1) w / |w|.
    torch.testing.assert_close(torch.autograd.grad(r1, weight, retain_graph=True)[0], weight.detach())
    torch.testing.assert_close(torch.autograd.grad(one, weight)[0], 2 * (norm - 1) * weight.detach() / norm)


def test_penalties_are_means_over_examples() -> None:
    """D(x) = |x|^2 / 2 has the slope x."""
    x = torch.tensor([[3.0, 4.0], [0.0, 1.0]], requires_grad=True)
    gradient = input_gradient(0.5 * x.square().sum(1), x)
    assert zero_centered_penalty(gradient).item() == pytest.approx((25 + 1) / 4)
    assert one_centered_penalty(gradient).item() == pytest.approx((16 + 0) / 2)


def test_a_discriminator_that_ignores_its_input_has_a_finite_slope_of_the_penalty() -> None:
    weight = torch.zeros(3, requires_grad=True)
    x = torch.ones(2, 3, requires_grad=True)
    penalty = one_centered_penalty(input_gradient(x @ weight, x))
    assert penalty.item() == pytest.approx(1, abs=1e-5)
    penalty.backward()
    assert torch.isfinite(weight.grad).all()
