"""Inversion of a generator: the noise from which it makes what is nearest to a given example."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from genlab.core.likelihood import sum_dims

__all__ = ["invert"]

_LR = 0.1
_FIRST_MOMENT, _SECOND_MOMENT, _EPSILON = 0.9, 0.99, 1e-8


def invert(
    generate: Callable[[Tensor], Tensor],
    target: Tensor,
    candidates: Tensor,
    steps: int,
    mask: Tensor | None = None,
) -> Tensor:
    """Search for the noise whose image is nearest to a target, by the squared error over its values.

    Each example begins at the best of the candidates, and goes down the gradient by Adam, Kingma and Ba (2015), with a
    rate that falls to zero along half a cosine; the best point on the way is kept. So Zhu et al. (2016), "Generative
    visual manipulation on the natural image manifold", section 4.1, project an image. It need not find the nearest,
    and nothing keeps it near the noise's distribution.

    Args:
        generate: Maps noise ``[N, Z]`` to ``[N, *shape]``, each row by itself.
        target: ``[N, *shape]``.
        candidates: Noise ``[K, Z]``.
        steps: Of Adam.
        mask: ``[N, *shape]``, bool, true where there is a value; None: all is there.

    Returns:
        ``[N, Z]``.
    """
    target = target.detach()

    def error(z: Tensor) -> Tensor:
        return sum_dims((generate(z) - target).square(), mask)

    with torch.inference_mode(False), torch.no_grad():
        best = candidates[:1].expand(len(target), -1).clone()
        lowest = error(best)
        for candidate in candidates[1:]:
            best, lowest = _better(candidate.expand_as(best), error, best, lowest)
        z, mean, square = best, torch.zeros_like(best), torch.zeros_like(best)
        for step in range(1, steps + 1):
            with torch.enable_grad():
                point = z.detach().requires_grad_()
                errors = error(point)
                (slope,) = torch.autograd.grad(errors.sum(), point)
            best, lowest = _lower(z, errors.detach(), best, lowest)
            mean = _FIRST_MOMENT * mean + (1 - _FIRST_MOMENT) * slope
            square = _SECOND_MOMENT * square + (1 - _SECOND_MOMENT) * slope.square()
            size = (square / (1 - _SECOND_MOMENT**step)).sqrt() + _EPSILON
            rate = _LR * (1 + math.cos(math.pi * (step - 1) / steps)) / 2
            z = z - rate * mean / (1 - _FIRST_MOMENT**step) / size
        return _better(z, error, best, lowest)[0]


def _better(z: Tensor, error: Callable[[Tensor], Tensor], best: Tensor, lowest: Tensor) -> tuple[Tensor, Tensor]:
    return _lower(z, error(z), best, lowest)


def _lower(z: Tensor, errors: Tensor, best: Tensor, lowest: Tensor) -> tuple[Tensor, Tensor]:
    is_lower = errors < lowest
    return torch.where(is_lower[:, None], z, best), torch.where(is_lower, errors, lowest)
