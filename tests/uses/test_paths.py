"""Ways between codes, and which latents matter: closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from genlab.core.batch import Batch
from genlab.core.spec import DataSpec
from genlab.uses.interpolate import linear, spherical
from genlab.uses.traverse import importance, traverse

SHARES = torch.linspace(0, 1, 5, dtype=torch.float64)


def test_an_arc_keeps_the_length_and_has_equal_angles() -> None:
    a, b = torch.tensor([2.0, 0.0, 0.0]), torch.tensor([0.0, 2.0, 0.0])
    arc = spherical(a, b, SHARES)
    angles = torch.linspace(0, math.pi / 2, 5)
    expected = 2 * torch.stack([angles.cos(), angles.sin(), torch.zeros(5)], 1)
    assert torch.allclose(arc, expected, atol=1e-6)
    assert torch.equal(linear(a, b, SHARES)[2], torch.tensor([1.0, 1.0, 0.0]))


@pytest.mark.parametrize("b", [[3.0, 0.0], [-2.0, 0.0]], ids=["same", "opposite"])
def test_where_there_is_no_arc_it_is_the_line(b: list[float]) -> None:
    a = torch.tensor([2.0, 0.0])
    assert torch.equal(spherical(a, torch.tensor(b), SHARES), linear(a, torch.tensor(b), SHARES))


def test_the_ends_are_exact() -> None:
    a, b = torch.randn(2, 64, generator=torch.Generator().manual_seed(0))
    for path in (linear, spherical):
        assert torch.equal(path(a, b, SHARES)[[0, -1]], torch.stack([a, b]))


class Linear(nn.Module):
    """Codes of two latents and data of three values, by a matrix."""

    spec = DataSpec("line", "vector", (3,))
    family, name, conditional = "linear", "linear", False
    device = torch.device("cpu")
    matrix = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0]])

    def encode(self, x: Tensor, y: Tensor | None = None, *, mask: Tensor | None = None) -> Tensor:
        return x @ torch.linalg.pinv(self.matrix).T

    def decode(self, z: Tensor, y: Tensor | None = None, *, mask: Tensor | None = None) -> Tensor:
        return z @ self.matrix.T

    def encoding_kind(self) -> str:
        return "inverse of a matrix"

    def encoding_evaluations(self) -> float:
        return 2


def test_importance_is_the_variance_that_is_due_to_a_latent() -> None:
    model = Linear()
    codes = torch.randn(200, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 5.0])
    x = codes @ model.matrix.T
    found, what = importance(model, codes, Batch(x))
    variance = codes.double().var(0, correction=0)
    # Columns of squared lengths 5 and 9, by 8 x 16 random probes: to a few parts of a hundred.
    assert torch.allclose(found, variance * torch.tensor([5.0, 9.0]), rtol=0.4)
    assert "slope" in what
    moved = traverse(model, Batch(x[:1]), Batch(x), latents=2, steps=3, reach=2.0)
    assert moved.latents == [1, 0]
    mean, deviation = codes.mean(0), codes.std(0, correction=0)
    assert torch.allclose(moved.z[0], mean[1] + deviation[1] * torch.tensor([-2.0, 0.0, 2.0]), atol=1e-4)
    # The other latent stays that of the example.
    assert torch.allclose(moved.x[0, :, :2], x[:1, :2].expand(3, -1), atol=1e-4)
    assert list(moved.rows) == ["latent 1", "latent 0"]
