"""The rest of an example given a part of it, by a model that carries noise to data."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from genlab.core.noise import normal

__all__ = ["NoiseLevel", "Stepwise", "repaint"]


class NoiseLevel(NamedTuple):
    """Where a path from noise to data is: at ``scale`` times data plus ``deviation`` times standard normal noise."""

    scale: float
    deviation: float


class Stepwise(NamedTuple):
    """A sampler as steps.

    Attributes:
        start: ``[N, ...]`` at the first level.
        levels: From noise to data; the last one's deviation may be 0.
        step: Carries ``x [N, ...]`` from the level of a number to the next.
    """

    start: Tensor
    levels: Sequence[NoiseLevel]
    step: Callable[[Tensor, int], Tensor]


def repaint(
    path: Stepwise,
    data: Tensor,
    kept: Tensor,
    rounds: int,
    generator: Generator | None,
) -> Tensor:
    """Go from noise to data, the kept part being that of the data with fresh noise at each level.

    Each step is repeated: its end gets back the noise that it lost, so that both parts come to fit together. Lugmayr et
    al. (2022), "RePaint", algorithm 1, with jumps of one step, on any path of the form of :class:`NoiseLevel`. Its
    distribution is near that of the model given the kept part, for many levels and rounds, and no more: where a step
    ends, what is drawn does not know the noise that the kept part gets there.

    Args:
        path: The sampler.
        data: ``[N, ...]``; what stands where nothing is kept does not matter, but must be finite.
        kept: ``[N, ...]``, bool.
        rounds: How often each step is taken, at least 1.
        generator: Source of the noise.

    Returns:
        ``[N, ...]`` at the last level.
    """

    start, levels, step = path

    def fresh() -> Tensor:
        return normal(start.shape, generator, start.device, start.dtype)

    def held(x: Tensor, level: NoiseLevel) -> Tensor:
        return torch.where(kept, level.scale * data + level.deviation * fresh(), x)

    x = held(start, levels[0])
    for number, (level, following) in enumerate(itertools.pairwise(levels)):
        for again in range(rounds):
            end = held(step(x, number), following)
            if again + 1 < rounds:
                ratio = level.scale / following.scale
                lost = level.deviation**2 - (ratio * following.deviation) ** 2
                x = ratio * end + math.sqrt(max(lost, 0.0)) * fresh()
        x = end
    return x
