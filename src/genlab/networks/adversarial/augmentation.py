"""Random changes of images that a gradient passes through."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

__all__ = ["AugmentationName", "augment"]

AugmentationName = Literal["color", "translation", "cutout"]


def augment(x: Tensor, names: Sequence[AugmentationName]) -> Tensor:
    """Change each image at random, real and generated ones alike, before a discriminator sees them.

    Zhao et al. (2020), "Differentiable augmentation for data-efficient GAN training", section 3.2.

    Args:
        x: ``[N, C, H, W]`` in [-1, 1].
        names: What changes, in this order: ``color`` (brightness, saturation, contrast), ``translation`` (by up to an
            eighth of the size), ``cutout`` (of a square of half the size).

    Returns:
        ``[N, C, H, W]``; what comes in from outside or is cut out is 0.
    """
    for name in names:
        x = _AUGMENTATIONS[name](x)
    return x


def _color(x: Tensor) -> Tensor:
    brightness, saturation, contrast = torch.rand(3, len(x), 1, 1, 1, device=x.device)
    x = x + brightness - 0.5
    gray = x.mean(1, keepdim=True)
    x = gray + 2 * saturation * (x - gray)
    level = x.mean((1, 2, 3), keepdim=True)
    return level + (0.5 + contrast) * (x - level)


def _translation(x: Tensor) -> Tensor:
    return _shifted(_shifted(x, 2), 3)


def _shifted(x: Tensor, dim: int) -> Tensor:
    """Move each image along one axis by its own number of pixels."""
    size = x.shape[dim]
    reach = (size + 4) // 8
    shift = torch.randint(-reach, reach + 1, (len(x), 1), device=x.device)
    source = torch.arange(size, device=x.device) - shift
    shape = [1, 1, 1, 1]
    shape[0], shape[dim] = source.shape
    inside = ((source >= 0) & (source < size)).view(shape)
    return x.gather(dim, source.clamp(0, size - 1).view(shape).expand_as(x)) * inside


def _cutout(x: Tensor) -> Tensor:
    rows, columns = (_covered(len(x), size, x.device) for size in x.shape[2:])
    hole = rows[:, None, :, None] & columns[:, None, None, :]
    return x * ~hole


def _covered(n: int, size: int, device: torch.device) -> Tensor:
    """For each image, the part of one axis that the square covers: ``[n, size]``."""
    side = size // 2
    first = torch.randint(size, (n, 1), device=device) - side // 2
    position = torch.arange(size, device=device)
    return (position >= first) & (position < first + side)


_AUGMENTATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "color": _color,
    "translation": _translation,
    "cutout": _cutout,
}
