"""Flows on vectors: their inverse finds one dimension after the other, and is zuko's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from genlab.networks.flow.vector_flows import VECTOR_FLOWS, VectorFlow

SPREADS = {"nsf": 3}
"""Of latents: some are beyond the interval of the splines. Wide ones grow without end in affine transforms."""

CASES = [("nsf", 1), ("maf", 1), *((kind, num_dims) for kind in VECTOR_FLOWS for num_dims in (2, 6))]
"""One dimension alone has no other to be coupled to."""


def flow_of(kind: str, num_dims: int, hidden: Sequence[int] = (16, 16), context: int = 0) -> VectorFlow:
    torch.manual_seed(0)
    flow = VectorFlow(kind, num_dims, transforms=3, hidden=hidden, context=context).double()
    for parameter in flow.parameters():
        parameter.data = 0.15 * torch.randn_like(parameter)
    return flow


@pytest.mark.parametrize("hidden", [[], [16, 8]], ids=["one layer", "three layers"])
@pytest.mark.parametrize("context", [0, 3])
@pytest.mark.parametrize(("kind", "num_dims"), CASES)
def test_what_is_decoded_is_what_zuko_decodes(kind: str, num_dims: int, context: int, hidden: list[int]) -> None:
    flow = flow_of(kind, num_dims, hidden, context)
    given = torch.randn(300, context, dtype=torch.float64) if context else None
    z = SPREADS.get(kind, 1) * torch.randn(300, num_dims, dtype=torch.float64)
    x = flow.decode(z, given)
    zukos = flow.standardize.inverse(flow.flow(given).transform.inv(z)[:, :, None, None]).flatten(1)
    assert torch.allclose(x, zukos, rtol=1e-8, atol=1e-8)
    assert torch.allclose(flow.encode(x, given), z, rtol=1e-8, atol=1e-8)
    assert torch.autograd.grad(x.sum(), [flow.standardize.shift])[0].isfinite().all()


class Work(TorchDispatchMode):
    """How many values are computed within it."""

    values = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = function(*args, **(kwargs or {}))
        self.values += sum(part.numel() for part in tree_leaves(found) if isinstance(part, torch.Tensor))
        return found


@pytest.mark.parametrize("kind", ["nsf", "maf"])
def test_twice_the_dimensions_are_about_twice_the_work(kind: str) -> None:
    """Where all were computed anew for each, it was nearly four times."""

    def work(num_dims: int) -> int:
        flow = flow_of(kind, num_dims)
        with Work() as counted, torch.no_grad():
            flow.decode(torch.zeros(100, num_dims, dtype=torch.float64))
        return counted.values

    assert work(16) < 2.5 * work(8)
