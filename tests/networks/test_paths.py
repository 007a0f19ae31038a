"""Paths from noise to data, and their pairs, against brute force and autograd."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from genlab.networks.diffusion.paths import LinearPath, logit_normal, optimal_transport, stratified_uniform


def pairs(n: int = 6, shape: tuple[int, ...] = (2, 3)) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(n, *shape, dtype=torch.float64), 2 + torch.randn(n, *shape, dtype=torch.float64)


def total_cost(noise: Tensor, data: Tensor) -> float:
    return (noise - data).square().sum().item()


@pytest.mark.parametrize(("sigma_min", "width"), [(0.0, 0.0), (0.1, 0.0), (0.0, 0.5), (0.1, 0.5)])
def test_the_velocity_is_the_derivative_of_the_path(sigma_min: float, width: float) -> None:
    noise, data = pairs()
    path = LinearPath(sigma_min, width)

    def at(t: Tensor) -> tuple[Tensor, Tensor]:
        torch.manual_seed(1)  # the same noise on the way
        return path.at(t, noise, data)

    t = torch.linspace(0.05, 0.95, 6, dtype=torch.float64)
    h = 1e-6
    slope = (at(t + h)[0] - at(t - h)[0]) / (2 * h)
    torch.testing.assert_close(at(t)[1], slope, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("width", [0.0, 0.5])
def test_a_path_goes_from_the_noise_to_the_data(width: float) -> None:
    noise, data = pairs()
    assert torch.equal(LinearPath(0.1, width).at(torch.zeros(6), noise, data).x, noise)
    torch.testing.assert_close(LinearPath(0.1, width).at(torch.ones(6), noise, data).x, data + 0.1 * noise)
    torch.testing.assert_close(LinearPath(0.0, width).at(torch.ones(6), noise, data).x, data)


def test_the_width_is_the_deviation_halfway() -> None:
    still = torch.zeros(50_000, 1)
    halfway = LinearPath(0.0, 0.3).at(torch.full((50_000,), 0.5), still, still).x
    assert halfway.std().item() == pytest.approx(0.3, rel=0.02)


def test_the_coupling_is_the_cheapest_of_all_permutations() -> None:
    noise, data = pairs()
    found = noise[optimal_transport(noise, data)]
    costs = [total_cost(noise[list(order)], data) for order in itertools.permutations(range(6))]
    assert total_cost(found, data) == pytest.approx(min(costs))
    assert total_cost(found, data) < total_cost(noise, data)


def test_the_coupling_keeps_every_noise_once() -> None:
    noise, data = pairs(100)
    assert torch.equal(optimal_transport(noise, data).sort().values, torch.arange(100))


def test_labels_exchange_noise_among_themselves_only() -> None:
    """Otherwise a class of data at one side would be learned from noise at that side, and sampled from all noise."""
    noise, data = pairs(60)
    y = torch.randint(3, (60,))
    data = data + 5.0 * y.view(-1, 1, 1)
    permutation = optimal_transport(noise, data, y)
    assert torch.equal(y[permutation], y)
    assert not torch.equal(y[optimal_transport(noise, data)], y)
    for label in range(3):
        rows = y == label
        alone = noise[rows][optimal_transport(noise[rows], data[rows])]
        assert torch.equal(noise[permutation][rows], alone)


def test_stratified_numbers_fall_into_each_interval_once() -> None:
    numbers = stratified_uniform(1000)
    assert torch.equal((numbers * 1000).floor().sort().values, torch.arange(1000.0))
    assert not torch.equal(numbers, numbers.sort().values)
    assert ((numbers * 1000) % 1).std().item() == pytest.approx(12**-0.5, rel=0.1)


def test_the_logits_of_times_are_normal() -> None:
    logits = logit_normal(stratified_uniform(10_000), 0.7, 1.5).double().logit()
    assert logits.mean().item() == pytest.approx(0.7, abs=0.01)
    assert logits.std().item() == pytest.approx(1.5, rel=0.01)
    ends = logit_normal(torch.tensor([0.0, 1.0]), 0.0, 1.0)
    assert ends.tolist() == [0.0, 1.0]


def test_the_coupling_does_not_depend_on_the_precision_of_training() -> None:
    noise, data = (values.float() for values in pairs(200))
    with torch.autocast("cpu", torch.bfloat16):
        mixed = optimal_transport(noise, data)
    assert torch.equal(mixed, optimal_transport(noise, data))
