"""Networks that are told a noise level, small, for tests of what all of them keep."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from genlab.networks.diffusion.dit import DiT
from genlab.networks.diffusion.time_mlp import TimeMLP
from genlab.networks.diffusion.unet import UNet
from genlab.networks.diffusion.wave_unet import WaveUNet

Maker = Callable[[int], nn.Module]
"""Makes a network for a number of classes."""


def unet(
    shape: tuple[int, ...],
    channels: list[int],
    attention: list[int],
    *,
    blocks: int = 1,
    num_classes: int = 0,
    dropout: float = 0.0,
    patch: int = 1,
) -> UNet:
    return UNet(
        shape,
        channels=channels,
        blocks=blocks,
        attention=attention,
        num_classes=num_classes,
        dropout=dropout,
        patch=patch,
    )


def wave_unet(shape: tuple[int, int], *, num_classes: int = 0, has_mask: bool = False) -> WaveUNet:
    return WaveUNet(
        shape,
        channels=[8, 16],
        blocks=1,
        attention=[3],
        squeeze=4,
        num_classes=num_classes,
        dropout=0.0,
        has_mask=has_mask,
    )


CASES: dict[str, tuple[tuple[int, ...], Maker]] = {
    "unet": ((1, 8, 8), lambda classes: unet((1, 8, 8), [16, 32], [4], num_classes=classes)),
    "unet_odd_sides": ((3, 7, 9), lambda classes: unet((3, 7, 9), [8, 16, 8], [7, 2], blocks=2, num_classes=classes)),
    "unet_patches": ((3, 8, 12), lambda classes: unet((3, 8, 12), [16, 32], [4], num_classes=classes, patch=2)),
    "unet_one_scale": ((2, 5, 4), lambda classes: unet((2, 5, 4), [24], [], num_classes=classes)),
    "wave_unet": ((2, 21), lambda classes: wave_unet((2, 21), num_classes=classes)),
    "dit": ((3, 4, 6), lambda classes: DiT((3, 4, 6), patch=2, hidden=16, layers=2, heads=2, num_classes=classes)),
    "time_mlp": ((5,), lambda classes: TimeMLP(5, [16, 16, 24], classes)),
}


def perturbed(network: nn.Module) -> nn.Module:
    """Move all parameters, so that no dependence hides behind a zero."""
    torch.manual_seed(0)
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return network


def inputs(shape: tuple[int, ...], n: int = 4, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    """Noisy examples, their levels and labels below 3."""
    torch.manual_seed(1)
    return torch.randn(n, *shape, dtype=dtype), torch.randn(n, dtype=dtype), torch.arange(n) % 3
