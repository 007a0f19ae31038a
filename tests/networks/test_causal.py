"""Autoregressive networks: what each output may see, what it must see, and steps that agree with full passes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from genlab.core.errors import GenlabError
from genlab.core.spec import DataSpec
from genlab.networks.causal.base import CausalNetwork, ChannelHead, from_raster, to_raster
from genlab.networks.causal.masked import MaskedMLP
from genlab.networks.causal.pixelcnn import GatedPixelCNN
from genlab.networks.causal.pixelrnn import DiagonalBiLSTM, skew, unskew
from genlab.networks.causal.transformer import CausalTransformer
from genlab.networks.causal.wavenet import WaveNet
from tests.replaying import recorded_graphs

IMAGE = DataSpec("image", "image", (1, 7, 9), num_classes=2)
COLOUR = DataSpec("colour", "image", (3, 4, 3))
VECTOR = DataSpec("vector", "vector", (5,))
LEVELS = DataSpec("levels", "image", (2, 3, 4), levels=6, num_classes=3)
TEXT = DataSpec("text", "text", (6,), levels=4)
SOUND = DataSpec("sound", "waveform", (1, 8), num_classes=2)
STEREO = DataSpec("stereo", "waveform", (2, 7), levels=6, num_classes=2)

MAKERS: dict[str, Callable[[DataSpec, int], CausalNetwork]] = {
    "masked": lambda spec, classes: MaskedMLP(spec, 2, classes, hidden=400, blocks=2, direct=False),
    "direct": lambda spec, classes: MaskedMLP(spec, 2, classes, hidden=3, blocks=1, direct=True),
    "pixelcnn": lambda spec, classes: GatedPixelCNN(spec, 2, classes, hidden=6, dilations=[1, 2, 4]),
    "pixelrnn": lambda spec, classes: DiagonalBiLSTM(spec, 2, classes, hidden=5, layers=2),
    "transformer": lambda spec, classes: CausalTransformer(spec, 2, classes, hidden=8, layers=2, heads=2),
    "wavenet": lambda spec, classes: WaveNet(spec, 2, classes, hidden=5, skip=6, dilations=[1, 2, 4]),
}
SPECS = {"pixelcnn": (IMAGE, COLOUR, LEVELS), "pixelrnn": (IMAGE, COLOUR, LEVELS), "wavenet": (SOUND, STEREO)}
PAIRS = [(name, spec) for name in MAKERS for spec in SPECS.get(name, (IMAGE, COLOUR, VECTOR, LEVELS, TEXT))]
CONTINUOUS = [pair for pair in PAIRS if pair[1].levels is None]


def make(name: str, spec: DataSpec, classes: int = 0) -> CausalNetwork:
    """A network in float64 whose parameters are all far from zero, so that no dependence hides."""
    torch.manual_seed(0)
    network = MAKERS[name](spec, classes).double()
    for parameter in network.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return network


def values(spec: DataSpec, n: int) -> torch.Tensor:
    torch.manual_seed(1)
    shape = (n, *spec.shape)
    x = torch.randn(shape, dtype=torch.float64) if spec.levels is None else torch.randint(spec.levels, shape)
    return to_raster(x, spec)


def ids(pair: tuple[str, DataSpec]) -> str:
    return f"{pair[0]}-{pair[1].name}"


@pytest.mark.parametrize("pair", CONTINUOUS, ids=ids)
def test_outputs_see_all_earlier_inputs_and_no_others(pair: tuple[str, DataSpec]) -> None:
    """The Jacobian is strictly triangular, and full below its diagonal: no blind spot."""
    network, dims = make(*pair), pair[1].num_dims
    # At several points, for a rectifier may be off at one; the sum keeps them apart, as each moves its own output only.
    by_point = torch.autograd.functional.jacobian(lambda x: network(x).sum(0), values(pair[1], 8))
    jacobian = by_point.abs().sum((0, 3)).reshape(dims, dims)
    earlier = torch.ones(dims, dims).tril(-1).bool()
    assert (jacobian[earlier] > 0).all()
    assert (jacobian[~earlier] == 0).all()


@pytest.mark.parametrize("pair", [pair for pair in PAIRS if pair[1].levels], ids=ids)
def test_a_changed_value_moves_later_outputs_alone(pair: tuple[str, DataSpec]) -> None:
    network, x = make(*pair), values(pair[1], 16)
    levels, channels = pair[1].levels, x.shape[2]
    before = network(x).flatten(2)
    for dim in range(pair[1].num_dims - 1):
        changed = x.clone()
        site = changed[:, dim // channels, dim % channels]
        changed[:, dim // channels, dim % channels] = (site + 1) % levels
        moved = (network(changed).flatten(2) != before).any(1).any(0)
        assert not moved[: dim + 1].any()
        assert moved[dim + 1 :].all()


@pytest.mark.parametrize("classes", [0, 2])
@pytest.mark.parametrize("pair", PAIRS, ids=ids)
def test_steps_yield_what_full_passes_do(pair: tuple[str, DataSpec], classes: int) -> None:
    """Fed with given values, the cached steps return the parameters of the full pass, value by value."""
    network, x = make(*pair, classes), values(pair[1], 3)
    y = torch.tensor([0, 1, 1]) if classes else None
    with torch.no_grad():
        expected = network(x, y).flatten(2)
        for steps in (network.steps(3, y), network.naive_steps(3, y)):
            params = [next(steps)]
            params += [steps.send(value) for value in x.flatten(1).T[:-1]]
            # Float32 for the naive ones: they hold continuous data as it is kept.
            torch.testing.assert_close(torch.stack(params, 2), expected, rtol=1e-5, atol=1e-5)
            with pytest.raises(StopIteration):
                steps.send(x.flatten(1)[:, -1])


@pytest.mark.parametrize("pair", [pair for pair in PAIRS if pair[1] in (LEVELS, TEXT, VECTOR)], ids=ids)
@torch.no_grad()
def test_replayed_steps_yield_what_plain_ones_do(
    pair: tuple[str, DataSpec], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One graph serves all places: it is found by a number on the device, and all buffers keep their shapes."""
    network, x = make(*pair, 2), values(pair[1], 3)
    y = torch.tensor([0, 1, 1])

    def params() -> torch.Tensor:
        steps = network.steps(3, y)
        return torch.stack([next(steps), *(steps.send(value) for value in x.flatten(1).T[:-1])])

    expected = params()
    with recorded_graphs(monkeypatch, caplog) as graphs:
        torch.testing.assert_close(params(), expected)
    assert 1 <= len(graphs) <= 3


@pytest.mark.parametrize("name", MAKERS)
def test_every_output_depends_on_the_label(name: str) -> None:
    spec = SPECS.get(name, (IMAGE,))[0]
    network, x = make(name, spec, 2), values(spec, 1)
    a, b = (network(x, torch.tensor([label])) for label in (0, 1))
    assert (a != b).all()


def test_skewing_puts_diagonals_into_columns() -> None:
    x = torch.arange(1, 2 * 3 * 4 * 2 + 1).view(2, 3, 4, 2)
    skewed = skew(x)
    for row in range(3):
        for diagonal in range(6):
            column = diagonal - row
            expected = x[:, row, column] if 0 <= column < 4 else torch.zeros(2, 2)
            assert torch.equal(skewed[:, row, diagonal], expected.to(x.dtype))
    assert torch.equal(unskew(skewed), x)


def test_a_layer_of_lstms_is_a_loop_over_the_pixels() -> None:
    """Equation 3 of the paper, one pixel after another, written without skewing."""
    network = make("pixelrnn", IMAGE)
    lstm, x = network.layers[0].left, torch.randn(2, 4, 5, 5, dtype=torch.float64)
    forget, write, read, content = lstm.enter.weight.chunk(4)
    biases = lstm.enter.bias.chunk(4)
    found, zero = {}, (torch.zeros(2, 5, dtype=torch.float64),) * 2
    for row in range(4):
        for column in range(5):
            left, above = found.get((row, column - 1), zero), found.get((row - 1, column), zero)[0]
            pulled = torch.cat([left[0], above], 1) @ lstm.turn.weight.T
            f, i, o, g = (
                x[:, row, column] @ part.T + bias + turned
                for part, bias, turned in zip((forget, write, read, content), biases, pulled.chunk(4, 1), strict=True)
            )
            cell = f.sigmoid() * left[1] + i.sigmoid() * g.tanh()
            found[row, column] = (o.sigmoid() * cell.tanh(), cell)
    states = lstm(x)
    for (row, column), (hidden, _) in found.items():
        torch.testing.assert_close(states[:, row, column], hidden)


def test_raster_order_goes_along_rows_with_channels_last() -> None:
    x = torch.arange(2 * 3 * 2 * 2).view(2, 3, 2, 2)
    spec = DataSpec("image", "image", (3, 2, 2))
    raster = to_raster(x, spec)
    assert raster[0].tolist() == [[0, 4, 8], [1, 5, 9], [2, 6, 10], [3, 7, 11]]
    assert torch.equal(from_raster(raster, spec), x)
    text = torch.arange(6).view(2, 3)
    assert torch.equal(from_raster(to_raster(text, TEXT), DataSpec("t", "text", (3,), levels=9)), text)


def test_the_masks_of_a_small_network_are_those_of_a_loop() -> None:
    """A path from input to output exists exactly where the input is earlier; counted without any network code."""
    network = MaskedMLP(VECTOR, 1, 0, hidden=9, blocks=2, direct=False)
    masks = [layer.mask.double() for layer in (network.enter, network.inner[0], network.outer[0], network.leave)]
    paths = masks[0]
    for mask in masks[1:]:
        paths = mask @ paths
    for output in range(5):
        for source in range(5):
            assert bool(paths[output, source]) == (source < output)


def test_too_few_units_without_direct_connections_are_refused() -> None:
    with pytest.raises(GenlabError, match=r"hidden is 3.*Use at least 4 hidden units"):
        MaskedMLP(VECTOR, 1, 0, hidden=3, blocks=1, direct=False)


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(GenlabError, match="hidden is 10 and heads 4"):
        CausalTransformer(VECTOR, 1, 0, hidden=10, layers=1, heads=4)


def test_channels_of_a_site_see_the_earlier_ones() -> None:
    torch.manual_seed(0)
    head = ChannelHead(5, 3, 2)
    for leave in head.leave:
        torch.nn.init.normal_(leave.weight)
    features = torch.randn(1, 1, 5)
    jacobian = torch.autograd.functional.jacobian(lambda x: head(features, x), torch.randn(1, 1, 3))
    seen = jacobian.abs().sum(1)[0, 0, :, 0, 0]
    assert torch.equal(seen > 0, torch.ones(3, 3).tril(-1).bool())
