"""Every family that takes pictures takes colour ones of 32 and 64 pixels in its own size, or says why not."""

from __future__ import annotations

import math
from contextlib import suppress

import pytest
import torch

from genlab.command.targets import instantiate, locate
from genlab.core.batch import Batch
from genlab.core.errors import GenlabError
from genlab.core.spec import DataSpec
from genlab.models import made
from genlab.models.base import GenerativeModel
from tests.contract.families import model_config
from tests.tiny import ROOT

SPECS = {size: DataSpec(f"colour_{size}", "image", (3, size, size), levels=256, num_classes=10) for size in (32, 64)}
FAMILIES = sorted(
    name
    for name in (path.stem for path in (ROOT / "conf" / "model").glob("*.yaml"))
    if not (family := locate(model_config(name)["_target_"])).unsupported(SPECS[32]) and not family.comes_trained
)

MOST_PARAMETERS = 8_000_000
"""Of a family of its own size, of pictures up to 64 pixels: what a training of minutes can fill."""
TOO_LARGE = {"made"}
"""Families with weights for each pair of values."""
QUICK = ["diffusion", "flow_matching", "hvae", "sngan", "vae"]
"""Families of each kind that take little of a second to a step of two pictures of 64 pixels."""
STEPS = [*((family, 32) for family in FAMILIES if family not in TOO_LARGE), *((family, 64) for family in QUICK)]


def test_these_are_all_that_take_pictures() -> None:
    assert len(FAMILIES) == 15
    assert {"vae", "flow", "gmm", "pixelcnn", "gan", "diffusion", "flow_matching"} <= set(FAMILIES)


@pytest.mark.parametrize("size", SPECS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_takes_them(family: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(made, "memory_bytes", lambda: math.inf)  # whatever machine this is
    # Without weights; where a layer cannot do without, it comes after what a model checks.
    with torch.device("meta"), suppress(NotImplementedError, RuntimeError):
        instantiate(model_config(family), spec=SPECS[size])


@pytest.mark.parametrize(("family", "size"), STEPS)
def test_a_family_of_its_own_size_takes_a_step_of_them(family: str, size: int) -> None:
    torch.manual_seed(0)
    model: GenerativeModel = instantiate(model_config(family), spec=SPECS[size])
    assert model.num_parameters < MOST_PARAMETERS
    batch = Batch(torch.randint(256, (2, 3, size, size), dtype=torch.uint8), torch.tensor([0, 1]))
    model.initialize(batch)
    before = model.loss(batch)
    assert all(value.isfinite().all() for value in before.values())
    before["loss"].backward()
    for optimizer in model.configure_optimizers():
        optimizer.step()
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    assert all(value.isfinite().all() for value in model.loss(batch).values())


def test_weights_for_each_pair_of_values_are_told_before_they_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(made, "memory_bytes", lambda: 16e9)
    with pytest.raises(GenlabError, match=r"12,288 values of colour_64 .* 4.9 billion weights, 78.5 GB .* 16 GB"):
        instantiate(model_config("made"), spec=SPECS[64])
