"""A training in a few lines, and families to train: for tests of steps that are replayed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from genlab.core.batch import Batch
from genlab.models.base import GenerativeModel
from genlab.models.steps import Progress
from genlab.training.capturable import StepsInGraph
from genlab.training.captured_step import CapturedSteps
from tests.contract.families import (
    BINARY,
    COUNTS,
    GRAY,
    PLANE,
    SMALL_DIFFUSION,
    SMALL_FLOW,
    SMALL_FLOW_MATCHING,
    SMALL_HVAE,
    SMALL_PIXELCNN,
    SMALL_PIXELRNN,
    SMALL_TRANSFORMER,
    SMALL_VAE,
    Case,
    make_batch,
)

__all__ = ["FAMILIES", "VAE", "Training", "assert_same"]

VAE = Case("vae", BINARY, SMALL_VAE)
FAMILIES = [
    Case("flow", GRAY, [*SMALL_FLOW, "multiscale.dequantization=variational", "grad_clip=0.01"]),
    Case("flow", PLANE, [*SMALL_FLOW, "network=maf", "conditional=true"]),
    VAE,
    Case("vae", GRAY, [*SMALL_VAE, "objective.kl_warmup=0.5", "objective.free_bits=0.1"]),
    Case("hvae", BINARY, [*SMALL_HVAE, "objective.free_bits=0.1"]),
    Case("flow_matching", GRAY, [*SMALL_FLOW_MATCHING, "conditional=true", "label_dropout=0.2"]),
    Case("made", BINARY, ["hidden=16"]),
    Case("pixelcnn", GRAY, SMALL_PIXELCNN),
    Case("pixelrnn", BINARY, SMALL_PIXELRNN),
    Case("transformer", COUNTS, SMALL_TRANSFORMER),
    Case("diffusion", GRAY, [*SMALL_DIFFUSION, "network=dit"]),
    Case("gmm", PLANE, ["components=3"]),
]


class Counts:
    """What Lightning counts, in small."""

    def __init__(self) -> None:
        self.steps = {"optimizer": {"completed": 0}}

    def state_dict(self) -> dict[str, Any]:
        return self.steps

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.steps = state_dict


class Training:
    """What Lightning's loop does with a family of one optimizer, in a few lines.

    Args:
        model: What it trains.
        make_graph: Makes graphs; None trains by plain steps that a graph could hold.
    """

    def __init__(self, model: GenerativeModel, make_graph: Callable[..., Any] | None) -> None:
        self.model = model
        (self.optimizer,) = model.configure_optimizers()
        self.counts = Counts()
        # On a GPU sums may have another order each time.
        rounding = 1e-5 if model.device.type == "cpu" else 1e-3
        self.captured = make_graph and CapturedSteps(model, [self.optimizer], self.counts, make_graph, rounding)
        self.outputs: list[dict[str, Tensor]] = []  # as they are, so that a later step may not change them
        self.norms: list[float] = []

    def plain(self, batch: Batch) -> dict[str, Tensor]:
        parts = self.model.training_step(batch, 0)
        self.optimizer.zero_grad()
        parts["loss"].backward()
        self.model.on_before_optimizer_step(self.optimizer)
        self.optimizer.step()
        self.counts.steps["optimizer"]["completed"] += 1
        return {name: value.detach() for name, value in parts.items()}

    def steps(self, first: int, last: int, size: int = 6) -> None:
        for number in range(first, last):
            self.model.progress = Progress(size * number, number, 0.5 * number, number / 20)
            torch.manual_seed(number)
            self.optimizer.param_groups[0]["lr"] = 0.01 / (1 + number)
            batch = make_batch(self.model.spec, size, seed=number).to(self.model.device)
            if self.captured:
                parts = self.captured.train(batch, self.plain)
            else:
                with StepsInGraph([self.optimizer], self.model.device).capturable():
                    parts = self.plain(batch)
            self.outputs.append(parts)
            self.norms.append(float(self.model.grad_norm))


def assert_same(one: Training, other: Training, rounding: float = 0.0) -> None:
    for ours, theirs in zip(one.model.state_dict().values(), other.model.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=rounding, atol=rounding)
    for ours, theirs in zip(one.outputs, other.outputs, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=rounding, atol=rounding)
    assert one.norms == pytest.approx(other.norms, rel=rounding)
    assert one.counts.steps == other.counts.steps
    assert not any(group["capturable"] for group in one.optimizer.param_groups), "a graph's setting, and no other's"
    one_state, other_state = one.optimizer.state_dict(), other.optimizer.state_dict()
    assert one_state["param_groups"] == other_state["param_groups"]
    for ours, theirs in zip(one_state["state"].values(), other_state["state"].values(), strict=True):
        assert list(ours) == list(theirs)
        assert all(torch.allclose(ours[name], theirs[name], rounding, rounding) for name in ours)
