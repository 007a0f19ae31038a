"""Fréchet distances against closed forms, an independent computation in float64, and torchmetrics."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.mifid import MemorizationInformedFrechetInceptionDistance

from genlab.measure.metrics import distances
from genlab.measure.metrics.frechet import FrechetDistance, MemorizationInformedFrechetDistance, frechet_distance
from tests.measure.metrics.common import normals


class Identity(nn.Identity):
    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features


def measured(real: Tensor, fake: Tensor) -> Tensor:
    metric = FrechetDistance(real.shape[1])
    metric.update(real, real=True)
    metric.update(fake, real=False)
    return metric.compute()


def by_scipy(real: Tensor, fake: Tensor) -> float:
    """The textbook formula with a matrix root, from moments of centred features."""
    a, b = real.double().numpy(), fake.double().numpy()
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = scipy.linalg.sqrtm(first @ second).real
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(first + second - 2 * root))


def like_a_network(count: int, seed: int, num_features: int = 64) -> Tensor:
    """Rectified, correlated features with means far from zero, in float32."""
    mix = normals(num_features, seed=99, num_features=num_features)
    return 10 + (normals(count, seed, num_features) @ mix).relu()


@pytest.mark.parametrize("shift", [0.0, 0.3, 30.0])
def test_it_equals_an_independent_computation(shift: float) -> None:
    real, fake = like_a_network(900, seed=1), like_a_network(700, seed=2) * 1.1 + shift
    assert measured(real, fake).item() == pytest.approx(by_scipy(real, fake), rel=1e-6)


def test_it_equals_torchmetrics_up_to_the_float32_that_this_returns() -> None:
    real, fake = like_a_network(900, seed=1), like_a_network(700, seed=2)
    theirs = FrechetInceptionDistance(feature=Identity(64))
    theirs.update(real, real=True)
    theirs.update(fake, real=False)
    assert measured(real, fake).item() == pytest.approx(theirs.compute().item(), rel=1e-5)


def test_it_equals_the_closed_form_of_gaussians() -> None:
    # With diagonal covariances the distance is that of each axis: (m1 - m2)^2 + (s1 - s2)^2.
    means, sds = (
        torch.tensor([[0.0, 1.0, -2.0], [0.5, 1.0, 4.0]]).double(),
        torch.tensor([[1.0, 2.0, 0.0], [3.0, 2, 5]]),
    )
    expected = (means[0] - means[1]).square().sum() + (sds[0] - sds[1]).double().square().sum()
    covs = [torch.diag(sd.double().square()) for sd in sds]
    turn = torch.linalg.qr(normals(3, seed=1, num_features=3).double()).Q
    turned = [turn @ cov @ turn.T for cov in covs]
    for first, second in (covs, turned):
        torch.testing.assert_close(frechet_distance(means[0], first, means[1], second), expected, rtol=1e-12, atol=0)


def test_gaussians_without_a_common_direction_overlap_nowhere() -> None:
    """Rounding leaves tiny variances in the empty directions, whose roots must not count."""
    turn = torch.linalg.qr(normals(64, seed=1, num_features=64).double()).Q
    first, second = (turn[:, half] @ turn[:, half].T for half in (slice(0, 30), slice(30, 64)))
    zero = torch.zeros(64).double()
    assert frechet_distance(zero, first, zero, second).item() == pytest.approx(64, rel=1e-11)


def test_samples_of_gaussians_come_near_the_closed_form() -> None:
    real, fake = normals(20_000, seed=1, num_features=2), 2 * normals(20_000, seed=2, num_features=2) + 1
    assert measured(real, fake).item() == pytest.approx(2 * (1 + 1), rel=0.03)


def test_it_is_symmetric() -> None:
    real, fake = like_a_network(300, seed=1), like_a_network(200, seed=2)
    torch.testing.assert_close(measured(real, fake), measured(fake, real), rtol=1e-9, atol=0)


@pytest.mark.parametrize("count", [500, 20], ids=["full rank", "fewer examples than features"])
def test_it_is_zero_on_identical_sets(count: int) -> None:
    real = like_a_network(count, seed=1)
    assert 0 <= measured(real, real.clone()).item() <= 1e-9 * real.double().var(0).sum().item()


def test_it_is_exact_with_fewer_examples_than_features() -> None:
    """Shifted copies are as far as their shift, which eigenvalues of the product of the covariances would blur."""
    real = like_a_network(20, seed=1) * 100
    assert measured(real, real + 0.125).item() == pytest.approx(64 * 0.125**2, rel=1e-4)


def test_a_feature_that_never_varies_adds_its_shift_only() -> None:
    real, fake = like_a_network(300, seed=1), like_a_network(300, seed=2)
    assert measured(
        torch.cat([real, torch.zeros(300, 1)], 1), torch.cat([fake, torch.ones(300, 1)], 1)
    ).item() == pytest.approx(measured(real, fake).item() + 1, rel=1e-9)


def memorization_informed(training: Tensor, samples: Tensor, threshold: float = 0.1) -> Tensor:
    metric = MemorizationInformedFrechetDistance(training.shape[1], threshold)
    metric.update(training, real=True)
    metric.update(samples, real=False)
    return metric.compute()


def test_the_penalty_equals_brute_force(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distances, "BLOCK", 16)
    training, samples = normals(60, seed=1), normals(50, seed=2) + 0.5
    a, b = samples.double(), training.double()
    cosines = torch.stack([nn.functional.cosine_similarity(x[None], b).abs().max() for x in a])
    expected = measured(training, samples) / (1 - cosines).mean()
    assert (1 - cosines).mean() < 0.1
    torch.testing.assert_close(memorization_informed(training, samples), expected, rtol=1e-9, atol=0)


def test_torchmetrics_gives_it_with_the_sets_exchanged() -> None:
    training, samples = normals(60, seed=1), normals(50, seed=2) + 0.5
    theirs = MemorizationInformedFrechetInceptionDistance(feature=Identity(5))
    theirs.update(samples, real=True)
    theirs.update(training, real=False)
    assert memorization_informed(training, samples).item() == pytest.approx(theirs.compute().item(), rel=1e-5)


def test_there_is_no_penalty_from_the_threshold_on() -> None:
    training, samples = normals(60, seed=1), normals(50, seed=2) + 0.5
    plain = measured(training, samples)
    torch.testing.assert_close(memorization_informed(training, samples, threshold=1e-4), plain, rtol=1e-9, atol=0)
    assert memorization_informed(training, samples, threshold=1.0) > 10 * plain


def test_copies_of_few_examples_are_penalized_without_bound() -> None:
    training = normals(60, seed=1)
    assert memorization_informed(training, training[:20]) > 1e6
    assert memorization_informed(training, training.clone()) == 0


@pytest.mark.parametrize("threshold", [0.0, 1.5])
def test_a_threshold_out_of_range_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match=r"threshold must be in \(0, 1\]"):
        MemorizationInformedFrechetDistance(3, threshold)
