"""The flow on signals: a density of what is there, whatever the length."""

from __future__ import annotations

import pytest
import torch

from genlab.networks.flow.signals import SignalFlow
from genlab.networks.flow.splines import AffineTransform, ElementwiseTransform, SplineTransform


def made(
    shape: tuple[int, int], squeeze: int, steps: list[int], transform: ElementwiseTransform | None = None
) -> SignalFlow:
    torch.manual_seed(0)
    flow = SignalFlow(
        shape, transform or AffineTransform(), squeeze=squeeze, steps=steps, hidden=8, dilations=[1, 2], context=0
    )
    for parameter in flow.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return flow


@pytest.mark.parametrize("length", [1, 2, 3])
@pytest.mark.parametrize("transform", [AffineTransform(), SplineTransform(4)], ids=["affine", "spline"])
def test_the_density_of_what_is_there_integrates_to_one(length: int, transform: ElementwiseTransform) -> None:
    """Of 3 values in columns of 2, the second of which is never whole, over two scales."""
    flow = made((1, 3), 2, [2, 1], transform)
    axis = torch.linspace(-9, 9, (361, 121, 41)[length - 1])
    points = torch.cartesian_prod(*[axis] * length).view(-1, length)
    x = torch.full((len(points), 1, 3), float("nan"))
    x[:, 0, :length] = points
    mask = (torch.arange(3) < length).expand_as(x)
    with torch.no_grad():
        mass = flow.log_prob(x, mask=mask).double().exp().sum() * (axis[1] - axis[0]).double() ** length
    assert mass.item() == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("length", [1, 7, 8, 9, 13])
def test_samples_come_from_the_density(length: int) -> None:
    """A sample is a change of variables of its noise: the density is the noise's over the Jacobian of the way there."""
    flow = made((1, 13), 4, [3, 2, 1]).double()
    mask = (torch.arange(13) < length).view(1, 1, 13)
    drawn: list[torch.Tensor] = []

    def values(noise: torch.Tensor) -> torch.Tensor:
        """What is there of a sample, as a function of the noise of what is there."""
        parts = iter(noise.split([int(there.sum()) for there in places]))
        latents = [torch.zeros_like(there).masked_scatter(there > 0, next(parts)) for there in places]
        rest = iter(latents)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("genlab.networks.flow.signals.normal", lambda *_: next(rest))
            return flow.sample(1, mask=mask)[0, 0, :length]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "genlab.networks.flow.signals.normal",
            lambda shape, *_: drawn.append(torch.zeros(shape, dtype=torch.float64)) or drawn[-1],
        )
        flow.sample(1, mask=mask)
    places = where(flow, mask, [part.shape for part in drawn])
    noise = torch.randn(length, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(values, noise)
    x = torch.zeros(1, 1, 13, dtype=torch.float64)
    x[0, 0, :length] = values(noise).detach()
    expected = torch.distributions.Normal(0, 1).log_prob(noise).sum() - torch.linalg.slogdet(jacobian)[1]
    assert flow.log_prob(x, mask=mask).item() == pytest.approx(expected.item(), rel=1e-8)


def where(flow: SignalFlow, mask: torch.Tensor, shapes: list[torch.Size]) -> list[torch.Tensor]:
    """Where the noise of each scale is used: columns hold values in order, and their upper half is factored out."""
    there, found = mask.double(), []
    for factor, shape in zip(flow.factors, shapes, strict=True):
        there = torch.nn.functional.pad(there, (0, -there.shape[-1] % factor))
        there = there.view(1, there.shape[1], -1, factor).transpose(2, 3).flatten(1, 2)
        last = len(found) == len(shapes) - 1
        kept, out = there.chunk(2, dim=1)
        found.append(there if last else out)
        there = kept
        assert found[-1].shape == shape
    return found


def test_what_is_not_there_is_neither_read_nor_changed() -> None:
    flow = made((2, 11), 4, [2, 2])
    mask = (torch.arange(11) < 6).expand(3, 2, 11)
    x = torch.randn(3, 2, 11)
    other = x.where(mask, torch.randn(3, 2, 11))
    assert torch.equal(flow.log_prob(x, mask=mask), flow.log_prob(other, mask=mask))
    with torch.no_grad():
        assert (flow.sample(3, mask=mask)[~mask] == 0).all()
