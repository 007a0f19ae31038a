"""All that can be observed has a probability of one together, or of less where it is bounded from below."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
import torch

from tests.contract.capabilities import ESTIMATED, KINDS, MASKED, TIGHTENED, WITH_LIKELIHOOD
from tests.contract.families import BINARY, FINE, Case, make_model, perturb

BINARY_IMAGES = torch.tensor(list(itertools.product([0, 1], repeat=4)), dtype=torch.uint8).view(16, 1, 2, 2)


@pytest.mark.parametrize(
    "case", [c for c in WITH_LIKELIHOOD if c.spec == BINARY and c not in ESTIMATED], ids=lambda case: case.id
)
def test_the_probabilities_of_all_binary_images_sum_to_one(case: Case) -> None:
    """16 images; a bound over noise approaches the exact value with the number of draws."""
    model = make_model(fine(case))
    perturb(model, 0.1)
    draws = 1 if model.likelihood_kind() == "exact" else 4000
    torch.manual_seed(0)
    with torch.no_grad():
        log_prob = model.log_prob(BINARY_IMAGES, num_draws=draws)
    assert log_prob.double().exp().sum().item() == pytest.approx(1.0, abs=1e-5 if draws == 1 else 0.03)


def fine(case: Case) -> Case:
    """A case whose likelihood takes as many steps as it needs to be one."""
    return replace(case, overrides=[FINE.get(override, override) for override in case.overrides])


@pytest.mark.parametrize("case", [c for c in MASKED if KINDS[c.id] == "exact"], ids=lambda case: case.id)
def test_the_probabilities_of_all_short_waveforms_sum_to_one(case: Case) -> None:
    """All waveforms of 3 samples at 4 levels, of each length that a mask can say."""
    model = make_model(replace(case, spec=replace(case.spec, shape=(1, 3), levels=4)))
    perturb(model, 0.1)
    for x, mask in map(short_waveforms, (1, 2, 3)):
        with torch.no_grad():
            log_prob = model.log_prob(x, torch.zeros(len(x), dtype=torch.int64), mask=mask)
        assert log_prob.double().exp().sum().item() == pytest.approx(1.0, abs=1e-5)


def short_waveforms(length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """All waveforms ``[4^length, 1, 3]`` of 4 levels that have so many samples, and their mask."""
    x = torch.zeros(4**length, 1, 3, dtype=torch.int64)
    x[:, 0, :length] = torch.tensor(list(itertools.product(range(4), repeat=length)))
    return x, (torch.arange(3) < length).expand_as(x)


@pytest.mark.parametrize("case", [c for c in MASKED if c in TIGHTENED + ESTIMATED], ids=lambda case: case.id)
def test_bounds_of_all_short_waveforms_leave_them_no_more_than_one(case: Case) -> None:
    """Draws that tighten a bound have the probabilities for their mean; estimates may lose some of the density."""
    model = make_model(replace(fine(case), spec=replace(case.spec, shape=(1, 3), levels=4)))
    perturb(model, 0.1)
    torch.manual_seed(0)
    for x, mask in map(short_waveforms, (1, 3)):
        many = (160 if case in ESTIMATED else 16_000) // (4 if len(x) == 4 else 16)
        with torch.no_grad():
            y = torch.zeros(many * len(x), dtype=torch.int64)
            values = model.log_prob(x.repeat(many, 1, 1), y, mask=mask.repeat(many, 1, 1)).double().view(many, -1)
        total = (values.mean(0).exp() if KINDS[case.id] == "vlb" else values.exp().mean(0)).sum().item()
        assert total < 1.05
        assert total > (0 if case in ESTIMATED else 0.95)


@pytest.mark.parametrize("case", [c for c in ESTIMATED if c.spec == BINARY], ids=lambda case: case.id)
def test_estimates_for_all_binary_images_leave_them_no_more_than_one(case: Case) -> None:
    """Each takes one draw, so the images come many times; some of the density may lie outside of all cells."""
    model = make_model(fine(case))
    perturb(model, 0.1)
    torch.manual_seed(0)
    with torch.no_grad():
        values = model.log_prob(BINARY_IMAGES.repeat(500, 1, 1, 1)).double().view(500, 16)
    # The expectation is the bound itself; of a density at a random place in a cell, it is the cell's mass.
    probabilities = values.mean(0).exp() if KINDS[case.id] == "vlb" else values.exp().mean(0)
    assert 0 < probabilities.sum().item() < 1.05


PLANES = [case for case in WITH_LIKELIHOOD if case.spec.shape == (2,) and KINDS[case.id] in ("exact", "ode")]


@pytest.mark.parametrize("case", PLANES, ids=lambda case: case.id)
def test_the_density_on_the_plane_integrates_to_one(case: Case) -> None:
    model = make_model(fine(case))
    perturb(model)
    # An equation to solve for each point costs more, and its densities are smoother than a spline's.
    points = 121 if KINDS[case.id] == "ode" else 401
    axes = [torch.linspace(-12, 12, points)] * 2
    for place, column in enumerate(case.spec.fields):
        if column.rounded:  # to whole numbers, which have probabilities
            axes[place] = torch.arange(-12.0, 13.0)
    grid = torch.cartesian_prod(*axes)
    y = torch.zeros(len(grid), dtype=torch.int64) if getattr(model, "conditional", False) else None
    with torch.no_grad():
        mass = model.log_prob(grid, y).double().exp().sum() * math.prod(float(axis[1] - axis[0]) for axis in axes)
    assert mass.item() == pytest.approx(1.0, abs=0.01)
