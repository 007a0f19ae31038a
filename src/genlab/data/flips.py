"""Pictures mirrored at random, as a part of the draw of training batches."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

__all__ = ["HorizontalFlip"]


class HorizontalFlip:
    """Mirrors each picture left to right with probability one half; a `DrawTransform` with one number for each."""

    noise_shape: ClassVar[tuple[int, ...]] = (1, 1, 1)

    def __call__(self, x: Tensor, uniform: Tensor) -> Tensor:
        """Return pictures ``[N, C, H, W]``, mirrored where the noise ``[N, 1, 1, 1]`` is below one half."""
        return x.flip(3).where(uniform < 0.5, x)
