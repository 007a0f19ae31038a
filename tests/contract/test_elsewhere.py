"""Every family computes on the device that it lies on: on a second one it finds what it finds on the CPU."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

import genlab
from genlab.command.targets import instantiate
from genlab.core.batch import Batch
from genlab.core.contract import Encodes, Inpaints
from genlab.core.noise import ExampleNoise
from genlab.models.base import GenerativeModel
from tests.contract.families import CASES, Case, labels, make_batch, make_model, model_config, perturb
from tests.elsewhere import ELSEWHERE, elsewhere

CPU = torch.device("cpu")
GENLAB = Path(genlab.__file__).parent
pytestmark = pytest.mark.filterwarnings("ignore:for .* copying from a non-meta parameter")
"""PyTorch takes the other device for one without numbers, see :data:`tests.elsewhere.ELSEWHERE`."""


class Repeated:
    """Work that is done anew each time, and refused where it copies from the CPU or to it, as a graph would refuse it.

    Args:
        copies: Those that were made, as they happen.
    """

    def __init__(self, copies: list[str]) -> None:
        self._copies = copies
        self._replay: Callable[[], None] = lambda: None

    def warm_up(self, work: Callable[[], Any]) -> Any:
        return work()

    def capture(self, work: Callable[[], Any]) -> Any:
        before = len(self._copies)
        kept = work()
        if made := self._copies[before:]:
            raise RuntimeError(f"it copies between devices: {made[0]}")

        def again() -> None:
            for old, new in zip(*map(_tensors, (kept, work())), strict=True):
                old.copy_(new)

        self._replay = again
        return kept

    def replay(self) -> None:
        self._replay()


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


@contextmanager
def with_graphs(copies: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Within it the other device has graphs, and they pay at once."""
    with monkeypatch.context() as patch:
        patch.setattr("genlab.core.replaying.graphs_for", lambda device: lambda: Repeated(copies))
        patch.setattr("genlab.core.replaying.FEWEST_CALLS", 1)
        patch.setattr("genlab.core.replaying._refused", set())
        yield


@torch.no_grad()
def evaluated(model: GenerativeModel, batch: Batch, device: torch.device) -> dict[str, Tensor]:
    """What a model that was trained says of a batch and draws, on the CPU."""
    model, noise = model.eval(), ExampleNoise(3, device=device)
    found = {"samples": model.sample(3, generator=noise)}
    if model.has_likelihood:
        known = {"mask": batch.mask, "num_draws": 2, "generator": noise}
        found["log_prob"] = model.log_prob(batch.x, labels(model, batch), **known)
    return {name: value.cpu() for name, value in found.items()}


def gradients(model: GenerativeModel, batch: Batch) -> list[Tensor]:
    """The gradients of a training step, on the CPU; of what no step trains its loss."""
    torch.manual_seed(5)
    loss = model.train().loss(batch)["loss"]
    if not model.learns_by_steps:
        return [loss.cpu()]
    loss.backward()
    return [parameter.grad.cpu() for parameter in model.parameters() if parameter.grad is not None]


def used(model: GenerativeModel, batch: Batch, device: torch.device) -> dict[str, Tensor]:
    """What a model makes of a batch where it encodes and fills in, on the CPU."""
    found, y = {}, labels(model, batch)
    if isinstance(model, Encodes):
        found["codes"] = model.encode(batch.x, y, mask=batch.mask)
        found["decoded"] = model.decode(found["codes"], y, mask=batch.mask)
    if isinstance(model, Inpaints):
        mask = torch.zeros(model.spec.shape, dtype=torch.bool, device=device)
        mask[..., :1] = True
        found["filled in"] = model.inpaint(batch.x, mask, y, ExampleNoise(4, device=device), rounds=2)
    return {name: value.detach().cpu() for name, value in found.items()}


def smallest_of_each_kind() -> list[Case]:
    """The case with the fewest values of each model and kind of data, for what takes seconds of others."""
    by_size = sorted(CASES, key=lambda case: -case.spec.num_dims)
    return list({(case.model, case.spec.modality): case for case in by_size}.values())


def elsewhere_from(trained: GenerativeModel, case: Case) -> GenerativeModel:
    """Make the model of a case anew, on the other device, and load what was trained."""
    model: GenerativeModel = instantiate(model_config(case.model, case.overrides), spec=case.spec).to(ELSEWHERE)
    model.load_state_dict(trained.state_dict())
    return model


@pytest.fixture
def trained(case: Case) -> GenerativeModel:
    made = make_model(case)
    perturb(made)
    return made


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_step_on_another_device_has_the_gradients_of_one_here(case: Case, trained: GenerativeModel) -> None:
    """And copies nothing between that device and the CPU, unless it says that it cannot be a graph."""
    batch = make_batch(case.spec, 3)
    with elsewhere() as copies:
        model, moved = elsewhere_from(trained, case), batch.to(ELSEWHERE)
        copies.clear()
        found = gradients(model, moved)
        copied = [copy for copy in copies if f" in {GENLAB}" in copy]  # and not those of this file
    assert not copied or model.not_captured
    torch.testing.assert_close(found, gradients(trained, batch), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("case", smallest_of_each_kind(), ids=lambda case: case.id)
def test_a_model_on_another_device_finds_what_it_finds_here(
    case: Case, trained: GenerativeModel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And what is replayed as a graph copies nothing between that device and the CPU."""
    monkeypatch.setattr("genlab.models.iterative.fast_bfloat16", lambda _: False)
    monkeypatch.setattr("genlab.models.gan._SEARCH_STEPS", 2)
    batch = make_batch(case.spec, 3)
    with elsewhere() as copies, with_graphs(copies, monkeypatch), caplog.at_level(logging.WARNING, "genlab"):
        model, moved = elsewhere_from(trained, case), batch.to(ELSEWHERE)
        found = evaluated(model, moved, ELSEWHERE), used(model, moved, ELSEWHERE)
    assert not [record.message for record in caplog.records if "CUDA graph" in record.message]
    expected = evaluated(trained, batch, CPU), used(trained, batch, CPU)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
