"""Networks that are told a noise level: what all of them keep, then what is particular to each."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genlab.core.errors import GenlabError
from genlab.networks.blocks.attention import self_attention
from genlab.networks.blocks.conditioning import Conditioning, FourierFeatures
from genlab.networks.diffusion.dit import AdaLNZeroBlock, DiT, position_codes
from genlab.networks.diffusion.time_mlp import ConditionedLinear, TimeMLP
from genlab.networks.diffusion.unet import ConditionedBlock, SelfAttention
from tests.networks.denoisers import CASES, Maker, inputs, perturbed, unet, wave_unet


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[tuple[int, ...], Maker]:
    return CASES[request.param]


@pytest.mark.parametrize("classes", [0, 3])
def test_every_parameter_gets_a_gradient(case: tuple[tuple[int, ...], Maker], classes: int) -> None:
    shape, make = case
    network, (x, t, y) = perturbed(make(classes)), inputs(shape)
    network(x, t, y if classes else None).square().sum().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_the_output_has_the_inputs_shape_and_dtype_and_starts_at_zero(case: tuple[tuple[int, ...], Maker]) -> None:
    shape, make = case
    network, (x, t, _) = make(0), inputs(shape)
    assert torch.equal(network(x, t), torch.zeros_like(x))
    with torch.autocast("cpu", torch.bfloat16):
        moved = perturbed(network)(x, t)
    assert moved.shape == x.shape
    assert moved.dtype == x.dtype
    assert moved.any()


def test_every_output_depends_on_every_input_the_level_and_the_label(case: tuple[tuple[int, ...], Maker]) -> None:
    shape, make = case
    network, (x, t, y) = perturbed(make(3)).double(), inputs(shape, 1, torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda x: network(x, t, y), x)
    assert jacobian.reshape(x.numel(), x.numel()).all()
    before = network(x, t, y)
    assert (network(x, t + 0.1, y) != before).all()
    assert (network(x, t, y + 1) != before).all()


def test_no_label_is_one_label_more(case: tuple[tuple[int, ...], Maker]) -> None:
    shape, make = case
    network, (x, t, y) = perturbed(make(3)), inputs(shape)
    assert torch.equal(network(x, t), network(x, t, torch.full_like(y, 3)))
    assert not torch.equal(network(x, t), network(x, t, y))
    without_classes = perturbed(make(0))
    assert torch.equal(without_classes(x, t), without_classes(x, t, y))


def test_an_example_does_not_depend_on_its_batch_and_no_noise_is_drawn(case: tuple[tuple[int, ...], Maker]) -> None:
    shape, make = case
    network, (x, t, y) = perturbed(make(3)).double(), inputs(shape, dtype=torch.float64)
    state = torch.get_rng_state()
    together = network(x, t, y)
    assert torch.equal(torch.get_rng_state(), state)
    alone = torch.cat([network(x[i : i + 1], t[i : i + 1], y[i : i + 1]) for i in range(len(x))])
    torch.testing.assert_close(together, alone)


def test_weights_survive_a_state_dict(case: tuple[tuple[int, ...], Maker]) -> None:
    shape, make = case
    network, other, (x, t, y) = perturbed(make(3)), make(3), inputs(shape)
    other.load_state_dict(network.state_dict())
    assert torch.equal(network(x, t, y), other(x, t, y))


def test_noise_levels_stay_apart_and_near_ones_are_alike() -> None:
    """Over the levels that models use, none 0.01 apart share an embedding, and a thousandth moves it little."""
    features = FourierFeatures()
    levels = torch.linspace(-3, 3, 601)
    # A sine and a cosine of each frequency: all levels are as large.
    norm = (features.num_features / 2) ** 0.5
    torch.testing.assert_close(features(levels).norm(dim=1), torch.full((601,), norm))
    assert F.pdist(features(levels)).min() > 0.1 * norm
    assert (features(levels + 0.001) - features(levels)).norm(dim=1).max() < 0.05 * norm


def test_the_label_moves_the_embedding_of_its_own_example_alone() -> None:
    conditioning = Conditioning(8, 3)
    t = torch.zeros(2)
    before, after = conditioning(t, torch.tensor([0, 1])), conditioning(t, torch.tensor([0, 2]))
    assert torch.equal(before[0], after[0])
    assert not torch.equal(before[1], after[1])


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_attention_is_a_weighted_mean_of_values(dtype: torch.dtype) -> None:
    """Head by head and place by place, written out; both ways to compute it."""
    torch.manual_seed(0)
    projected = torch.randn(2, 5, 3 * 6).to(dtype)
    query, key, value = projected.double().split(6, dim=-1)
    expected = torch.empty(2, 5, 6, dtype=torch.float64)
    for head in (slice(0, 3), slice(3, 6)):
        for place in range(5):
            scores = (query[:, place, None, head] * key[:, :, head]).sum(-1) / math.sqrt(3)
            expected[:, place, head] = (scores.softmax(-1)[..., None] * value[:, :, head]).sum(1)
    tolerance = 1e-12 if dtype == torch.float64 else 0.03
    taken = self_attention(projected, heads=2)
    assert taken.dtype == dtype
    torch.testing.assert_close(taken.double(), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("shape", "channels", "heights"),
    [
        ((1, 28, 28), [8, 8, 8], [28, 14, 7]),
        ((3, 64, 64), [4, 4, 4, 4], [64, 32, 16, 8]),
        ((1, 9, 5), [4] * 6, [9, 5, 3, 2, 1, 1]),
    ],
)
def test_scales_are_halved_rounding_up(shape: tuple[int, int, int], channels: list[int], heights: list[int]) -> None:
    network, (x, t, _) = unet(shape, channels, []), inputs(shape, 1)
    seen: list[int] = []
    for layers in network.down:
        layers[0].register_forward_hook(lambda _module, _inputs, output: seen.append(output.shape[2]))
    assert network(x, t).shape == x.shape
    assert seen == heights


def test_attention_stands_at_the_heights_that_are_named() -> None:
    def heights(attention: list[int]) -> list[int]:
        network, (x, t, _) = unet((1, 12, 8), [8, 8, 8], attention, blocks=2), inputs((1, 12, 8), 1)
        seen: list[int] = []
        for module in network.modules():
            if isinstance(module, SelfAttention):
                module.register_forward_hook(lambda _module, _inputs, output: seen.append(output.shape[2]))
        network(x, t)
        return seen

    assert heights([]) == []
    assert heights([6, 7]) == [6] * 4
    assert heights([3, 12]) == [12] * 2 + [3] * 4 + [12] * 2


def test_over_time_attention_stands_at_the_lengths_that_are_named_and_a_mask_is_seen() -> None:
    network, (x, t, _) = perturbed(wave_unet((2, 21), has_mask=True)), inputs((2, 21), 1)
    seen: list[tuple[int, ...]] = []
    for module in network.modules():
        if isinstance(module, SelfAttention):
            module.register_forward_hook(lambda _module, _inputs, output: seen.append(tuple(output.shape[2:])))
    mask = torch.arange(21).expand_as(x) < 15
    full, cut = network(x, t), network(x, t, None, mask)
    assert seen == [(1, 3)] * 4, "six columns are halved once"
    torch.testing.assert_close(network(x, t, None, torch.ones_like(mask)), full)
    assert not torch.equal(cut, full)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_feature_maps_keep_the_memory_format_of_the_weights(channels: int, layout: torch.memory_format) -> None:
    """A single one in the other format is converted there and back, and costs more than its convolution."""
    shape = (channels, 12, 12)
    network, (x, t, _) = unet(shape, [16, 32, 32], [3]), inputs(shape)
    if layout is not torch.channels_last:
        network.to(memory_format=layout)
    other: list[str] = []

    def look(module: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        kept = output.is_contiguous(memory_format=layout) and given[0].is_contiguous(memory_format=layout)
        if not kept and module is not network.enter:
            other.append(str(module))

    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.GroupNorm):
            module.register_forward_hook(look)
    with torch.autocast("cpu", torch.bfloat16):
        network(x, t)
    assert other == []


def test_memory_formats_give_equal_values() -> None:
    network, (x, t, _) = perturbed(unet((3, 12, 12), [16, 32], [6])), inputs((3, 12, 12))
    last = network(x, t)
    torch.testing.assert_close(network.to(memory_format=torch.contiguous_format)(x, t), last, rtol=1e-4, atol=1e-5)


def test_dropout_acts_in_training_alone() -> None:
    network, (x, t, _) = perturbed(unet((1, 8, 8), [16], [], dropout=0.5)), inputs((1, 8, 8))
    assert not torch.equal(network(x, t), network(x, t))
    network.eval()
    assert torch.equal(network(x, t), network(x, t))


def test_patches_are_cut_in_raster_order_and_put_together_again() -> None:
    network = DiT((2, 4, 6), patch=2, hidden=8, layers=1, heads=1, num_classes=0)
    x = torch.arange(2 * 2 * 4 * 6.0).view(2, 2, 4, 6)
    patches = network.to_patches(x)
    assert torch.equal(patches[1, 4], x[1, :, 2:4, 2:4].flatten())
    assert torch.equal(network.from_patches(patches), x)


def test_places_have_codes_of_their_own_by_row_and_by_column() -> None:
    codes = position_codes(3, 5, 8).view(3, 5, 8)
    assert torch.equal(codes[0, 0], torch.tensor([0.0, 0, 1, 1, 0, 0, 1, 1]))
    assert torch.equal(codes[2, 1, :4], codes[2, 3, :4])
    assert torch.equal(codes[0, 4, 4:], codes[2, 4, 4:])
    assert F.pdist(codes.flatten(0, 1)).min() > 0.1


def test_a_transformer_tells_places_apart() -> None:
    """Without codes of places, moving the patches would move the output alike."""
    shape, make = CASES["dit"]
    network, (x, t, y) = perturbed(make(3)), inputs(shape)
    moved = network(x.roll(2, dims=3), t, y)
    assert (moved - network(x, t, y).roll(2, dims=3)).abs().max() > 0.01


def test_a_transformer_refuses_sizes_that_do_not_divide() -> None:
    with pytest.raises(GenlabError, match=r"patch is 3, but images are 28 x 28.*1, 2, 4, 7"):
        DiT((1, 28, 28), patch=3, hidden=16, layers=1, heads=1, num_classes=0)
    with pytest.raises(GenlabError, match="patch is 2, but images are 4 x 5"):
        DiT((1, 4, 5), patch=2, hidden=16, layers=1, heads=1, num_classes=0)
    with pytest.raises(GenlabError, match="hidden is 18 and heads 4"):
        DiT((1, 4, 4), patch=2, hidden=18, layers=1, heads=4, num_classes=0)
    with pytest.raises(GenlabError, match="hidden is 18 and heads 2"):
        DiT((1, 4, 4), patch=2, hidden=18, layers=1, heads=2, num_classes=0)


def test_a_unet_refuses_patches_that_do_not_divide() -> None:
    with pytest.raises(GenlabError, match=r"patch is 3, but images are 8 x 8.*1, 2, 4, 8"):
        unet((1, 8, 8), [16], [], patch=3)


def test_a_unet_of_patches_is_the_unet_of_their_pixels_as_channels() -> None:
    patches = perturbed(unet((2, 4, 6), [16, 16], [2], patch=2))
    pixels = unet((8, 2, 3), [16, 16], [2])
    pixels.load_state_dict(patches.state_dict())
    x, t = torch.randn(3, 2, 4, 6), torch.randn(3)
    # Channel 4 c + 2 i + j of a place is the pixel in row i and column j of channel c of its square.
    cut = torch.stack([x[:, c, i::2, j::2] for c in range(2) for i in range(2) for j in range(2)], dim=1)
    made = pixels(cut, t)
    expected = torch.empty_like(x)
    for channel in range(8):
        expected[:, channel // 4, channel // 2 % 2 :: 2, channel % 2 :: 2] = made[:, channel]
    torch.testing.assert_close(patches(x, t), expected)


@pytest.mark.parametrize(
    ("block", "shape", "embedding"),
    [
        (ConditionedBlock(16, 16, embedding=4, dropout=0.0), (2, 16, 5, 5), 4),
        (SelfAttention(16), (2, 16, 3, 5), None),
        (ConditionedLinear(16, 16, 4), (2, 16), 4),
        (AdaLNZeroBlock(4, 2), (2, 5, 4), 4),
        (DiT((1, 4, 4), patch=2, hidden=8, layers=1, heads=2, num_classes=0).blocks[0], (2, 4, 8), 8),
    ],
)
def test_blocks_start_as_their_shortcut(block: nn.Module, shape: tuple[int, ...], embedding: int | None) -> None:
    torch.manual_seed(0)
    h = torch.randn(shape)
    told = [block.modulate(torch.randn(2, embedding))] if embedding else []
    assert torch.equal(block(h, *told), h)


def test_networks_without_a_layer_are_refused() -> None:
    with pytest.raises(GenlabError, match="channels is empty"):
        unet((1, 8, 8), [], [])
    with pytest.raises(GenlabError, match="hidden is empty"):
        TimeMLP(2, [], 0)


@pytest.mark.parametrize(
    ("block", "last", "shape"),
    [
        (ConditionedBlock(16, 16, embedding=4, dropout=0.0), "conv_out", (4, 16, 8, 8)),
        (ConditionedLinear(16, 16, 4), "leave", (4, 16)),
    ],
)
def test_scales_and_shifts_act_on_what_the_last_layer_sees(block: nn.Module, last: str, shape: tuple[int, ...]) -> None:
    """With all scales at minus one, the last layer sees the shifts alone."""
    perturbed(block)
    h, shifts = torch.randn(shape), torch.randn(16)
    with torch.no_grad():
        block.modulate.weight.zero_()
        block.modulate.bias.copy_(torch.cat([torch.full((16,), -1.0), shifts]))
        expected = h + getattr(block, last)(F.silu(shifts.view(1, 16, *[1] * (h.ndim - 2)).expand_as(h)))
        torch.testing.assert_close(block(h, block.modulate(torch.randn(4, 4))), expected)
