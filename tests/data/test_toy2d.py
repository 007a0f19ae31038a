"""The toy distributions: the density integrates to one, is that of the samples, and its entropy is right."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest
import torch

from genlab.core.errors import GenlabError
from genlab.data import densities
from genlab.data.densities import DENSITIES, Checkerboard, NoisyCurves, RotatedGaussians
from genlab.data.toy2d import Toy2D, ToyName

NAMES = get_args(ToyName)
REACH = 6.0  # every density has all but 1e-10 of its mass in [-REACH, REACH]^2


@pytest.fixture(scope="module", params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def samples(name: str) -> tuple[np.ndarray, np.ndarray | None]:
    return DENSITIES[name].sample(40_000, np.random.RandomState(123))


@pytest.fixture(scope="module")
def mass(name: str) -> np.ndarray:
    """Probability of each cell of a 48 x 48 board on [-6, 6]^2, from a grid of 5 x 5 points in each."""
    cells, points = 48, 5
    axis = (torch.arange(cells * points, dtype=torch.float64) + 0.5) * (2 * REACH / (cells * points)) - REACH
    density = DENSITIES[name].log_density(torch.cartesian_prod(axis, axis)).exp()
    return density.view(cells, points, cells, points).sum((1, 3)).numpy() * (2 * REACH / (cells * points)) ** 2


def test_the_density_integrates_to_one(mass: np.ndarray) -> None:
    assert mass.sum() == pytest.approx(1, abs=1e-6)


def test_the_density_is_that_of_the_samples(samples: tuple[np.ndarray, np.ndarray | None], mass: np.ndarray) -> None:
    points = samples[0]
    edges = np.linspace(-REACH, REACH, len(mass) + 1)
    counts, _, _ = np.histogram2d(points[:, 0], points[:, 1], bins=[edges, edges])
    expected = mass * len(points)
    large = expected > 10
    chi2 = ((counts - expected)[large] ** 2 / expected[large]).sum()
    cells = large.sum()
    assert abs(chi2 - cells) < 5 * math.sqrt(2 * cells)
    assert counts[~large].sum() == pytest.approx(expected[~large].sum(), abs=5 * math.sqrt(expected[~large].sum()) + 5)


def test_the_entropy_is_the_mean_surprise(name: str, samples: tuple[np.ndarray, np.ndarray | None]) -> None:
    surprise = -DENSITIES[name].log_density(torch.from_numpy(samples[0]))
    error = surprise.std().item() / math.sqrt(len(surprise))
    assert DENSITIES[name].entropy == pytest.approx(surprise.mean().item(), abs=4 * error + 1e-9)


def test_the_density_has_no_holes_far_away(name: str) -> None:
    far = DENSITIES[name].log_density(torch.tensor([[1e3, -2e3], [50.0, 50.0]]))
    assert far.dtype == torch.float64
    assert not far.isnan().any()
    assert name == "checkerboard" or far.isfinite().all()


def test_known_entropies() -> None:
    assert Checkerboard().entropy == pytest.approx(math.log(8))
    one = RotatedGaussians(1, radius=0.0, radial_sd=0.5, tangential_sd=0.1, twist=0.7)
    assert one.entropy == pytest.approx(1 + math.log(2 * math.pi * 0.5 * 0.1), abs=1e-9)
    apart = RotatedGaussians(8, radius=50.0, radial_sd=1.0, tangential_sd=1.0)
    assert apart.entropy == pytest.approx(math.log(8) + 1 + math.log(2 * math.pi), abs=1e-9)
    point = NoisyCurves(lambda v: np.zeros((1, len(v), 2)), noise_sd=0.3, panels=1)
    assert point.entropy == pytest.approx(1 + math.log(2 * math.pi * 0.3**2), abs=1e-9)


@pytest.mark.parametrize("name", ["two_moons", "two_spirals"])
def test_twice_the_nodes_give_the_same_density(name: str) -> None:
    coarse = DENSITIES[name]
    fine = NoisyCurves(coarse.curves, coarse.noise_sd, 2 * coarse.panels, coarse.power)
    axis = torch.linspace(-4, 4, 31, dtype=torch.float64)
    expected, found = (density.log_density(torch.cartesian_prod(axis, axis)) for density in (fine, coarse))
    reached = expected > -50
    assert reached.sum() > 100
    assert torch.allclose(found[reached], expected[reached], rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["two_moons", "eight_gaussians", "pinwheel"])
def test_a_coarser_grid_gives_the_same_entropy(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected, steps, grid = DENSITIES[name].entropy, [], densities._grid_entropy

    def coarser(log_density: Callable, box: tuple[float, ...], step: float) -> float:
        steps.append(1.2 * step)
        return grid(log_density, box, steps[-1])

    monkeypatch.setattr(densities, "_grid_entropy", coarser)
    again = type(DENSITIES[name]).entropy.func(DENSITIES[name])  # past the cache
    assert steps
    assert again == pytest.approx(expected, abs=1e-6)


def test_labels_are_components() -> None:
    x, y, *_ = Toy2D(dataset="eight_gaussians").tensors("test")
    angle = torch.atan2(x[:, 1], x[:, 0])
    nearest = (angle / (math.pi / 4)).round().long() % 8
    assert (nearest == y).double().mean() > 0.999
    assert Toy2D(dataset="eight_gaussians").spec.num_classes == 8
    assert Toy2D(dataset="checkerboard").tensors("test").y is None
    assert Toy2D(dataset="checkerboard").spec.num_classes is None


def test_what_a_datamodule_gives(name: str) -> None:
    data = Toy2D(dataset=name, train_size=500, seed=1)
    assert data.spec.name == f"toy2d_{name}"
    assert (data.spec.modality, data.spec.shape, data.spec.levels) == ("vector", (2,), None)
    assert [len(data.tensors(split).x) for split in ("train", "validation", "test")] == [500, 10_000, 10_000]
    x, y, *_ = data.tensors("train")
    assert x.dtype == torch.float32
    assert y is None or (y.dtype == torch.int64 and set(y.tolist()) == set(range(data.spec.num_classes)))
    assert data.log_density(x).shape == (500,)
    assert data.log_density(x).isfinite().all()
    assert data.true_entropy() == DENSITIES[name].entropy


def test_the_points_depend_on_the_split_but_not_on_the_seed() -> None:
    first, second = Toy2D(seed=0), Toy2D(seed=1)
    assert torch.equal(first.tensors("test").x, second.tensors("test").x)
    assert not torch.equal(first.tensors("test").x, first.tensors("validation").x)
    assert len(Toy2D().tensors("train").x) == 50_000
    assert first.tensors("test").x[0].tolist() == pytest.approx([-0.2335516, 0.7011641], abs=1e-6)


def test_bad_arguments_are_named() -> None:
    with pytest.raises(
        GenlabError, match=r"data\.dataset is 'two_moon', expected two_moons, .* Did you mean 'two_moons'"
    ):
        Toy2D(dataset="two_moon")
    with pytest.raises(GenlabError, match=r"data\.train_size is 0"):
        Toy2D(train_size=0)
