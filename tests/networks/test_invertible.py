"""Every invertible part round-trips in float64, and its log-determinant is that of its Jacobian."""

from __future__ import annotations

import pytest
import torch
import zuko
from torch import Tensor

from genlab.networks.blocks.convolutional import ConvResNet
from genlab.networks.flow.invertible import ActNorm, Chain, Coupling, InvertibleConv, Squeeze, data_dependent_init
from genlab.networks.flow.multiscale import MultiScaleFlow, channel_couplings, checkerboard_couplings
from genlab.networks.flow.splines import AffineTransform, SplineTransform

CONTEXT = 3


def conditioner(inputs: int, outputs: int) -> ConvResNet:
    return ConvResNet(inputs, outputs, hidden=6, blocks=1)


def coupling(transform: AffineTransform | SplineTransform) -> Coupling:
    network = conditioner(2 + CONTEXT, 2 * transform.num_params)
    return Coupling([0, 2], 4, transform=transform, network=network)


PARTS = {
    "squeeze": Squeeze,
    "actnorm": lambda: ActNorm(4),
    "conv": lambda: InvertibleConv(4),
    "affine coupling": lambda: coupling(AffineTransform()),
    "spline coupling": lambda: coupling(SplineTransform(bins=5)),
    "checkerboard": lambda: Chain(checkerboard_couplings(4, 2, SplineTransform(bins=4), conditioner, CONTEXT)),
    "channels": lambda: Chain(channel_couplings(4, 2, AffineTransform(), conditioner, CONTEXT)),
}


def randomize(module: torch.nn.Module) -> None:
    """Move every parameter away from its start, where couplings are the identity and hide mistakes."""
    torch.manual_seed(0)
    for parameter in module.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)


@pytest.fixture(params=PARTS, ids=lambda name: name.replace(" ", "-"))
def part(request: pytest.FixtureRequest) -> torch.nn.Module:
    module = PARTS[request.param]().double()
    randomize(module)
    return module


def test_round_trip(part: torch.nn.Module) -> None:
    x = 2 * torch.randn(3, 4, 4, 4, dtype=torch.float64)
    context = torch.randn(3, CONTEXT, 4, 4, dtype=torch.float64)
    y, _ = part(x, context)
    torch.testing.assert_close(part.inverse(y, context), x, rtol=1e-9, atol=1e-9)


def test_log_determinant_is_that_of_the_jacobian(part: torch.nn.Module) -> None:
    x = 2 * torch.randn(2, 4, 2, 2, dtype=torch.float64)
    context = torch.randn(2, CONTEXT, 2, 2, dtype=torch.float64)
    _, log_det = part(x, context)

    for row in range(2):

        def flat(v: Tensor, row: int = row) -> Tensor:
            return part(v.view(1, 4, 2, 2), context[row : row + 1])[0].flatten()

        jacobian = torch.autograd.functional.jacobian(flat, x[row].flatten())
        torch.testing.assert_close(torch.linalg.slogdet(jacobian).logabsdet, log_det[row], rtol=1e-8, atol=1e-8)


def test_gradient_of_the_spline_is_that_of_its_values() -> None:
    """It is written out by hand, so differences decide, inside the interval, at its ends and outside it."""
    torch.manual_seed(0)
    spline = SplineTransform(bins=4, bound=2.0)
    params = torch.randn(9, spline.num_params, 1, dtype=torch.float64, requires_grad=True)
    x = torch.linspace(-2.4, 2.4, 9, dtype=torch.float64)[:, None].requires_grad_()
    assert torch.autograd.gradcheck(spline.forward, (x, params))


def test_spline_equals_an_independent_one() -> None:
    """zuko parameterizes knots otherwise, so its spline is built from the knots that ours implies."""
    torch.manual_seed(0)
    spline = SplineTransform(bins=6, bound=5.0)
    params = torch.randn(200, spline.num_params, 1, dtype=torch.float64)
    params[:, :2] = 0  # leave out the scale and shift that follow the spline
    x = 3 * torch.randn(200, 1, dtype=torch.float64)
    y, log_slope = spline.forward(x, params)

    sizes = params[:, 2 : 2 + 12, 0].view(200, 2, 6).softmax(-1) * (1 - 6 * spline.min_size) + spline.min_size
    knots = torch.nn.functional.pad(10 * sizes.cumsum(-1) - 5, (1, 0), value=-5)
    inner = torch.nn.functional.softplus(params[:, 14:, 0] + spline._slope_offset) + spline.min_slope
    theirs = zuko.transforms.MonotonicRQSTransform(torch.zeros(200, 6), torch.zeros(200, 6), torch.zeros(200, 5))
    theirs.horizontal, theirs.vertical = knots[:, 0], knots[:, 1]
    theirs.derivatives = torch.nn.functional.pad(inner, (1, 1), value=1.0)
    expected, expected_log_slope = theirs.call_and_ladj(x[:, 0])
    torch.testing.assert_close(y[:, 0], expected)
    torch.testing.assert_close(log_slope[:, 0], expected_log_slope)


@pytest.mark.parametrize("transform", [AffineTransform(), SplineTransform(bins=4)], ids=["affine", "spline"])
def test_zero_parameters_are_the_identity(transform: AffineTransform | SplineTransform) -> None:
    x = torch.linspace(-8, 8, 101, dtype=torch.float64)[:, None]
    y, log_slope = transform.forward(x, torch.zeros(101, transform.num_params, 1, dtype=torch.float64))
    torch.testing.assert_close(y, x)
    torch.testing.assert_close(log_slope, torch.zeros_like(x))


def test_spline_is_continuous_at_its_border() -> None:
    spline = SplineTransform(bins=4, bound=2.0)
    params = torch.randn(1, spline.num_params, 1, dtype=torch.float64)
    for border in (-2.0, 2.0):
        x = torch.tensor([[border - 1e-9], [border + 1e-9]], dtype=torch.float64)
        y, log_slope = spline.forward(x, params.expand(2, -1, -1))
        torch.testing.assert_close(y[0], y[1], rtol=0, atol=1e-7)
        torch.testing.assert_close(log_slope[0], log_slope[1], rtol=0, atol=1e-6)


def test_squeeze_puts_a_patch_into_channels() -> None:
    x = torch.arange(16.0).view(1, 1, 4, 4)
    y, log_det = Squeeze()(x)
    assert y[0, :, 0, 0].tolist() == [0.0, 1.0, 4.0, 5.0]
    assert log_det.item() == 0.0


def test_checkerboard_changes_one_colour() -> None:
    """The first coupling leaves every second pixel of the image as it was, in a checkerboard."""
    board = checkerboard_couplings(4, 1, AffineTransform(), conditioner)[1]
    randomize(board)
    image = torch.randn(1, 1, 6, 6)
    squeeze = Squeeze()
    changed = squeeze.inverse(board(squeeze(image)[0])[0]) != image
    rows, columns = torch.meshgrid(torch.arange(6), torch.arange(6), indexing="ij")
    assert torch.equal(changed[0, 0], (rows + columns) % 2 == 0)


def test_actnorm_starts_with_mean_zero_and_variance_one() -> None:
    norm = ActNorm(3)
    x = 5 + 2 * torch.randn(64, 3, 4, 4)
    with data_dependent_init(norm):
        norm(x)
    y, _ = norm(x)
    torch.testing.assert_close(y.mean((0, 2, 3)), torch.zeros(3), rtol=0, atol=1e-5)
    torch.testing.assert_close(y.std((0, 2, 3)), torch.ones(3), rtol=0, atol=1e-5)
    assert not norm.initializing


@pytest.mark.parametrize("context", [0, CONTEXT])
def test_multi_scale_flow_is_a_change_of_variables(context: int) -> None:
    """Its density is that of its latents times the Jacobian of the map from data to latents."""
    flow = MultiScaleFlow(
        (1, 8, 8),
        SplineTransform(bins=4),
        hidden=[6],
        blocks=1,
        checkerboard_steps=2,
        channel_steps=[1, 2],
        context=context,
    ).double()
    randomize(flow)
    given = torch.randn(1, context, dtype=torch.float64) if context else None

    def to_latents(v: Tensor) -> Tensor:
        x, latents = v.view(1, 1, 8, 8), []
        for index, scale in enumerate(flow.scales):
            image = None if given is None else given[:, :, None, None].expand(-1, -1, x.shape[2] // 2, x.shape[3] // 2)
            x, _ = scale(x, image)
            if index < len(flow.priors):
                x, out = x.chunk(2, dim=1)
                mean, log_scale = flow._prior(index, x, given)
                latents.append(((out - mean) / log_scale.exp()).flatten())
        return torch.cat([*latents, x.flatten()])

    x = torch.randn(64, dtype=torch.float64)
    latents = to_latents(x)
    normal = torch.distributions.Normal(0.0, 1.0)
    jacobian = torch.autograd.functional.jacobian(to_latents, x)
    expected = normal.log_prob(latents).sum() + torch.linalg.slogdet(jacobian).logabsdet
    torch.testing.assert_close(flow.log_prob(x.view(1, 1, 8, 8), given)[0], expected, rtol=1e-8, atol=1e-8)


def test_samples_come_from_the_density() -> None:
    """Pushing samples back gives standard normal latents: moments within four standard errors."""
    flow = MultiScaleFlow((1, 4, 4), AffineTransform(), hidden=[4], blocks=1, checkerboard_steps=2, channel_steps=[1])
    randomize(flow)
    with torch.no_grad():
        x = flow.sample(4000, generator=torch.Generator().manual_seed(0))
        z = flow.scales[0](x)[0]
    assert z.mean().abs() < 4 / (4000 * 16) ** 0.5
    assert (z.var() - 1).abs() < 4 * (2 / (4000 * 16)) ** 0.5


def channel_chain() -> Chain:
    torch.manual_seed(0)
    chain = Chain([Squeeze(), *channel_couplings(4, 2, AffineTransform(), conditioner, CONTEXT), ActNorm(4)]).double()
    randomize(chain)
    return chain


def by_layers(chain: Chain, x: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
    total = x.new_zeros(len(x))
    for layer in chain.layers:
        x, log_det = layer(x, context)
        total = total + log_det
    return x, total


def test_a_chain_is_its_layers_one_after_the_other() -> None:
    """Whatever it computes in one product: values, log-determinants, gradients and the way back."""
    chain, x = channel_chain(), torch.randn(3, 1, 8, 8, dtype=torch.float64)
    context, weight = torch.randn(3, CONTEXT, 4, 4, dtype=torch.float64), torch.randn(3, 4, 4, 4, dtype=torch.float64)
    found = []
    for y, log_det in (chain(x, context), by_layers(chain, x, context)):
        gradients = torch.autograd.grad((weight * y).sum() + log_det.sum(), list(chain.parameters()))
        found.append([y, log_det, *gradients])
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-9)
    back = y
    for layer in reversed(chain.layers):
        back = layer.inverse(back, context)
    torch.testing.assert_close(chain.inverse(y, context), back, rtol=1e-9, atol=1e-9)


def test_a_chain_starts_and_is_saved_as_its_layers() -> None:
    chains = [channel_chain(), channel_chain()]
    x, context = 5 + 2 * torch.randn(64, 1, 8, 8).double(), torch.randn(64, CONTEXT, 4, 4).double()
    for chain, run in zip(chains, (Chain.__call__, by_layers), strict=True):
        with data_dependent_init(chain):
            run(chain, x, context)
    states = [chain.state_dict() for chain in chains]
    torch.testing.assert_close(*states, rtol=1e-9, atol=1e-9)
    assert {name.split(".")[0] for name in states[0]} == {"layers"}
    names = ["layers.1.log_scale", "layers.1.shift", "layers.2.permutation", "layers.2.lower"]
    assert not set(names) - set(states[0])


def test_log_determinants_stay_in_float32_under_autocast() -> None:
    """The networks may run in bfloat16; everything that enters the density directly may not."""
    conv = InvertibleConv(4)
    randomize(conv)
    x = torch.randn(2, 4, 4, 4)
    exact = conv(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = conv(x)
        y, log_det = coupling(SplineTransform(bins=4))(x, torch.randn(2, CONTEXT, 4, 4))
    assert torch.equal(mixed[0], exact[0])
    assert torch.equal(mixed[1], exact[1])
    assert y.dtype == log_det.dtype == torch.float32
