"""Tamed tails against the distribution that they come from, autograd and the area under a density."""

from __future__ import annotations

import math

import pytest
import torch
from torch.autograd.functional import jacobian

from genlab.core.likelihood import standard_normal_log_prob
from genlab.core.tails import Tails, TamedAffine, TamedAmplitude, bend_of

BEND = 0.8


@pytest.fixture
def heavy() -> torch.Tensor:
    """Windows ``[N, 2, 4]``, the first column of Johnson's distribution about 3, the second uniform."""
    source = torch.Generator().manual_seed(0)
    z = torch.randn(20_000, 4, generator=source)
    return torch.stack([torch.sinh(BEND * z) / BEND + 3, torch.rand(20_000, 4, generator=source)], dim=1)


def test_the_bend_is_that_of_the_distribution(heavy: torch.Tensor) -> None:
    found = bend_of((heavy[:, 0] - heavy[:, 0].mean()).flatten())
    assert float(found) == pytest.approx(BEND, rel=0.05)
    assert float(bend_of(1000 * (heavy[:, 0] - 3).flatten())) == pytest.approx(BEND / 1000, rel=0.05)
    assert float(bend_of(torch.linspace(-1, 1, 99))) == 0, "no tails to be tamed"
    assert float(bend_of(torch.zeros(9))) == 0
    assert float(bend_of(torch.full((9,), 1e-9))) == 0, "a constant less its mean, as float32 has it"


def test_a_tamed_column_is_normal_and_one_without_tails_only_standardized(heavy: torch.Tensor) -> None:
    scaling = TamedAffine((2, 4))
    scaling.fit(heavy, 0.5)
    tamed = scaling(heavy)[0]
    assert tamed.mean(0).abs().max() < 1e-4
    assert tamed.std(0) == pytest.approx(torch.full((2, 4), 0.5), rel=1e-3)
    fourth = tamed[:, 0].pow(4).mean() / tamed[:, 0].square().mean().square()
    assert float(fourth) == pytest.approx(3, abs=0.03)
    plain = (heavy[:, 1] - heavy[:, 1].mean(0)) / heavy[:, 1].std(0) / 2
    torch.testing.assert_close(tamed[:, 1], plain, rtol=1e-3, atol=1e-5)


def test_it_is_inverted_and_its_determinants_are_those_of_autograd(heavy: torch.Tensor) -> None:
    scaling = TamedAffine((2, 4))
    scaling.fit(heavy)
    scaling, x = scaling.double(), heavy[:5].double()
    y, log_det = scaling(x)
    back, log_det_back = scaling.inverse(y)
    torch.testing.assert_close(back, x)
    torch.testing.assert_close(log_det_back, -log_det)
    for row, found in zip(x, log_det, strict=True):
        full = jacobian(lambda values: scaling(values[None])[0].flatten(), row).reshape(8, 8)
        torch.testing.assert_close(torch.linalg.slogdet(full).logabsdet, found)
    mask = torch.tensor([True, True, True, False]).expand(5, 2, 4)
    alone = scaling(x, mask)[1] + scaling(x, ~mask)[1]
    torch.testing.assert_close(alone, log_det)


def test_the_area_under_its_density_is_one(heavy: torch.Tensor) -> None:
    scaling = TamedAffine((1,)).double()
    scaling.fit(heavy[:, 0, :1].double())
    grid = torch.linspace(-60, 60, 40_001, dtype=torch.float64)[:, None]
    z, log_det = scaling(grid)
    density = (standard_normal_log_prob(z) + log_det).exp()
    assert float(torch.trapezoid(density, grid[:, 0])) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("mu", [0, 255])
def test_amplitudes_of_levels_are_inverted_and_their_determinants_are_those_of_autograd(mu: float) -> None:
    scaling = TamedAmplitude(mu)
    levels = torch.rand(50, 1, 3, generator=torch.Generator().manual_seed(0)) ** 2
    scaling.fit(levels, 0.5)
    scaling, x = scaling.double(), levels[:5].double()
    y, log_det = scaling(x)
    back, log_det_back = scaling.inverse(y)
    torch.testing.assert_close(back, x)
    torch.testing.assert_close(log_det_back, -log_det)
    for row, found in zip(x, log_det, strict=True):
        full = jacobian(lambda values: scaling(values[None])[0].flatten(), row).reshape(3, 3)
        torch.testing.assert_close(torch.linalg.slogdet(full).logabsdet, found)
    mask = torch.tensor([True, False, True]).expand(5, 1, 3)
    torch.testing.assert_close(scaling(x, mask)[1] + scaling(x, ~mask)[1], log_det)


def test_the_level_of_mu_law_becomes_its_bent_amplitude_and_silence_zero() -> None:
    """ITU-T G.711's formula the other way round: half of full scale is companded to ln(1 + 255 / 2) / ln 256."""
    scaling = TamedAmplitude(255)
    companded = math.log1p(255 * 0.5) / math.log(256)
    values = torch.tensor([[[(1 + companded) / 2, 0.5, (1 - companded) / 2]]])
    half = math.asinh(TamedAmplitude.BEND * 0.5) / TamedAmplitude.BEND
    torch.testing.assert_close(scaling(values)[0], torch.tensor([[[half, 0.0, -half]]]))
    scaling.fit(values, 0.5, torch.tensor([[[True, False, True]]]))
    torch.testing.assert_close(scaling(values)[0], torch.tensor([[[0.5, 0.0, -0.5]]]))
    assert scaling.inverse(torch.full((1, 1, 1), 1e6))[0].isfinite().all(), "no sample overflows"


def test_tails_alone_have_the_slopes_of_autograd(heavy: torch.Tensor) -> None:
    tails = Tails((2, 4))
    tails.fit(heavy)
    tails, x = tails.double(), heavy[:5].double().requires_grad_()
    y = tails(x)
    torch.testing.assert_close(tails.inverse(y), x)
    (slope,) = torch.autograd.grad(y.sum(), x)  # each value depends on its own alone
    torch.testing.assert_close(slope.log(), tails.log_slope(x))
    assert tails.bend[0] > 0
    assert tails.bend[1] == 0, "a uniform column has no tails"


def test_a_state_from_before_there_were_tails_is_one_of_data_as_it_is(heavy: torch.Tensor) -> None:
    tails = Tails((2, 4))
    tails.fit(heavy)
    tails.load_state_dict({})
    torch.testing.assert_close(tails(heavy), heavy)
    assert not tails.log_slope(heavy).any()
