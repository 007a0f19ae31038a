"""Kernel distance against brute force and torchmetrics, and its expectation on equal distributions."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor, nn
from torchmetrics.image.kid import KernelInceptionDistance

from genlab.measure.figures import FIGURES
from genlab.measure.metrics import kernel
from genlab.measure.metrics.kernel import KernelDistance
from genlab.measure.metrics.rows import canonical_order
from tests.measure.metrics.common import D, normals


def measured(real: Tensor, fake: Tensor, **settings: int) -> dict[str, Tensor]:
    metric = KernelDistance(real.shape[1], **settings)
    metric.update(real, real=True)
    metric.update(fake, real=False)
    return metric.compute()


def brute_force(real: Tensor, fake: Tensor) -> float:
    def k(x: Tensor, y: Tensor) -> float:
        return (float(x.double() @ y.double()) / len(x) + 1) ** 3

    n = len(real)
    among = sum(k(s[i], s[j]) for s in (real, fake) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    return among - 2 * sum(k(x, y) for x in real for y in fake) / n**2


def test_it_equals_brute_force(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "ROWS_AT_ONCE", 7)
    real, fake = normals(24, seed=1), normals(24, seed=2) * 1.5
    figures = measured(real, fake, num_subsets=3, subset_size=24)
    assert figures["kid"].item() == pytest.approx(brute_force(real, fake), rel=1e-10)
    assert figures["kid_sd"].item() < 1e-12


@pytest.mark.filterwarnings("ignore:Metric `Kernel Inception Distance`")
def test_it_equals_torchmetrics_on_the_same_subsets() -> None:
    real, fake = normals(90, seed=1).double(), normals(80, seed=2).double() * 1.5
    theirs = KernelInceptionDistance(feature=nn.Identity(), subsets=5, subset_size=40)
    theirs.update(canonical_order(real.float()).double(), real=True)
    theirs.update(canonical_order(fake.float()).double(), real=False)
    torch.manual_seed(3)
    mean, sd = theirs.compute()
    figures = measured(real.float(), fake.float(), num_subsets=5, subset_size=40, seed=3)
    torch.testing.assert_close(figures["kid"], mean, rtol=1e-4, atol=0)
    torch.testing.assert_close(figures["kid_sd"], sd, rtol=1e-4, atol=0)


def test_it_is_unbiased_on_equal_distributions() -> None:
    repeats = torch.stack(
        [
            measured(normals(25, 2 * seed), normals(25, 2 * seed + 1), num_subsets=1, subset_size=25)["kid"]
            for seed in range(400)
        ]
    )
    error = repeats.std() / len(repeats) ** 0.5
    assert repeats.mean().abs() < 3 * error
    # The biased estimate, which counts each example's kernel with itself, would lie far above.
    self_kernels = 2 * (normals(1000, 1).double().square().sum(1) / D + 1).pow(3).mean() / 25
    assert self_kernels > 10 * error


def test_it_grows_with_the_difference() -> None:
    real = normals(200, seed=1)
    near, far = (measured(real, normals(200, seed=2) + shift, subset_size=100)["kid"] for shift in (0.5, 1.0))
    assert 0 < near < far


def test_the_seed_chooses_the_subsets() -> None:
    real, fake = normals(90, seed=1), normals(80, seed=2)
    first, second = (measured(real, fake, num_subsets=2, subset_size=40, seed=seed)["kid"] for seed in (0, 1))
    assert first != second


@pytest.mark.parametrize("settings", [{"num_subsets": 0}, {"subset_size": 1}])
def test_settings_out_of_range_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        KernelDistance(3, **settings)


@pytest.mark.parametrize(("shift", "size", "most"), [(1.0, 100, 1.3), (1.0, 20, 1.3), (0.0, 100, 3.0), (0.0, 20, 5.0)])
def test_the_standard_error_of_the_mean_over_subsets_is_never_too_small(shift: float, size: int, most: float) -> None:
    """Against the deviation over sets of examples drawn afresh; for equal distributions it is a bound."""
    figure = dataclasses.replace(FIGURES["kid"], subsets=(100, size))
    values, errors = [], []
    for seed in range(40):
        generator = torch.Generator().manual_seed(seed)
        metric = KernelDistance(D, *figure.subsets)
        metric.update(torch.randn(200, D, generator=generator), real=True)
        metric.update(torch.randn(200, D, generator=generator) + shift, real=False)
        found = {name: float(value) for name, value in metric.compute().items()} | {"n_real": 200, "n_fake": 200}
        values.append(found["kid"])
        errors.append(figure.standard_error(found.get))
    assert 0.8 < torch.tensor(errors).mean() / torch.tensor(values).std() < most
