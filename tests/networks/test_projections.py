"""What tells the blocks of a network the noise level: one product for all, of which each takes its own part."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from genlab.networks.blocks.conditioning import Conditioning
from genlab.networks.diffusion.diffwave import DiffWave
from genlab.networks.diffusion.dit import AdaLNZeroBlock, modulated
from genlab.networks.diffusion.time_mlp import ConditionedLinear
from genlab.networks.diffusion.unet import ConditionedBlock
from tests.networks.denoisers import CASES, Maker, inputs, perturbed


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[tuple[int, ...], Maker]:
    return CASES[request.param]


def told_exactly(network: nn.Module) -> Tensor:
    """Have a network compute its projections exactly, and return the embedding of four examples that it is given.

    Weights are sixteenths, the embedding whole numbers: sums of their products are exact, whatever their order.
    """
    perturbed(network)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "modulate" in name:
                parameter.copy_((16 * parameter).round() / 16)
    (conditioning,) = (module for module in network.modules() if isinstance(module, Conditioning))
    embedding = torch.randint(-3, 4, (4, conditioning.width)).float()
    conditioning.forward = lambda t, y: embedding
    return embedding


def test_projections_of_all_blocks_at_once_are_to_the_bit_those_of_each(case: tuple[tuple[int, ...], Maker]) -> None:
    shape, make = case
    network, (x, t, y) = make(3), inputs(shape)
    embedding = told_exactly(network)
    together = network(x, t, y)
    blocks = [m for m in network.modules() if isinstance(m, ConditionedBlock | ConditionedLinear | AdaLNZeroBlock)]
    for block in blocks:
        block.register_forward_pre_hook(lambda block, given: (given[0], block.modulate(embedding)))
    assert torch.equal(network(x, t, y), together)
    with torch.no_grad():
        # Otherwise equal outputs would not show that each block takes its own.
        for block in blocks:
            block.modulate.bias += 1 / 16
            assert not torch.equal(network(x, t, y), together)
            block.modulate.bias -= 1 / 16


def test_no_block_projects_the_embedding_for_itself(case: tuple[tuple[int, ...], Maker]) -> None:
    """On a GPU a product for each costs its launch and little else."""
    shape, make = case
    network, (x, t, y) = make(3), inputs(shape)
    alone: list[nn.Module] = []
    for name, module in network.named_modules():
        if name.endswith("modulate"):
            module.register_forward_hook(lambda module, _given, _output: alone.append(module))
    network(x, t, y)
    assert alone == []


def test_the_last_normalization_of_a_transformer_takes_a_projection_of_its_own() -> None:
    shape, make = CASES["dit"]
    network, (x, t, y) = make(3), inputs(shape)
    embedding = told_exactly(network)
    seen: list[Tensor] = []
    network.blocks[-1].register_forward_hook(lambda _block, _given, output: seen.append(output))
    network.leave.register_forward_pre_hook(lambda _leave, given: seen.append(given[0]))
    network(x, t, y)
    tokens, last = seen
    scale, shift = network.modulate(embedding)[:, None].chunk(2, dim=-1)
    assert torch.equal(last, modulated(tokens, scale, shift))


def diffwave() -> DiffWave:
    return DiffWave(1, hidden=4, dilations=[1, 2, 4], squeeze=2, num_classes=0, has_mask=False)


def test_each_layer_of_dilated_convolutions_is_told_its_own_projection() -> None:
    """Where nothing enters, and no layer hands on anything, each sees what it is told and no more."""
    network = diffwave()
    embedding, stack = told_exactly(network), network.stack
    seen: list[Tensor] = []
    for layer in (stack.enter, *stack.point):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    for wide in stack.wide:
        wide.register_forward_pre_hook(lambda _wide, given: seen.append(given[0]))
    network(torch.randn(4, 1, 10), torch.zeros(4))
    for told, projection in zip(seen, stack.modulate, strict=True):
        assert torch.equal(told, projection(embedding)[..., None].expand(4, 4, 5))


@pytest.mark.parametrize(
    ("make", "projections"),
    [
        (
            lambda: CASES["dit"][1](0),
            {"blocks.0.modulate": (96, 16), "blocks.1.modulate": (96, 16), "modulate": (32, 16)},
        ),
        (
            lambda: CASES["time_mlp"][1](0),
            {"blocks.0.modulate": (32, 16), "blocks.1.modulate": (32, 16), "blocks.2.modulate": (48, 16)},
        ),
        (diffwave, {f"stack.modulate.{layer}": (4, 8) for layer in range(3)}),
    ],
    ids=["dit", "time_mlp", "diffwave"],
)
def test_states_from_when_each_block_had_a_product_of_its_own_are_loaded(
    make: Callable[[], nn.Module], projections: dict[str, tuple[int, int]]
) -> None:
    """Names, shapes and order: an optimizer's state knows a parameter by its place alone."""
    before: dict[str, Tensor] = {}
    for name, shape in projections.items():
        before |= {f"{name}.weight": torch.randn(shape), f"{name}.bias": torch.randn(shape[0])}
    network = make()
    network.load_state_dict({**network.state_dict(), **before})
    now = {name: parameter for name, parameter in network.named_parameters() if "modulate" in name}
    assert list(now) == list(before)
    assert all(torch.equal(now[name], value) for name, value in before.items())
