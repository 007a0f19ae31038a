"""Paths from noise to data, and the pairs of noise and data that they join."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["LinearPath", "PathPoint", "logit_normal", "optimal_transport", "stratified_uniform"]

_HALVINGS = 50
"""Of the interval in which a time is looked for."""


class PathPoint(NamedTuple):
    """Where paths are at a time.

    Attributes:
        x: The points, ``[N, ...]``.
        velocity: Their derivatives with respect to time, ``[N, ...]``.
    """

    x: Tensor
    velocity: Tensor


class LinearPath:
    """Straight paths from noise at time 0 to data at time 1, of some width.

    x_t = (1 - (1 - sigma_min) t) noise + t data + 4 width t (1 - t) z, with standard normal z. At width 0 the optimal
    transport path of Lipman et al. (2023), "Flow Matching for Generative Modeling", section 4.1, example II, and at
    sigma_min 0 as well the rectified flow of Liu et al. (2023), "Flow Straight and Fast", equation 1. The noise on the
    way is that of the stochastic interpolants of Albergo, Boffi and Vanden-Eijnden (2023).

    Args:
        sigma_min: Standard deviation of the noise that is left around the data at time 1.
        width: Standard deviation of the noise z halfway; there is none at either end.
    """

    def __init__(self, sigma_min: float, width: float) -> None:
        self.sigma_min = sigma_min
        self.width = width

    def deviation(self, t: float) -> float:
        """Return the standard deviation of the noise around t times the data at time t."""
        return math.hypot(1 - (1 - self.sigma_min) * t, 4 * self.width * t * (1 - t))

    def growth(self, t: float) -> float:
        """Return the derivative of the logarithm of :meth:`deviation` at time t, where that is not 0."""
        shrinking = 1 - self.sigma_min
        half_slope = 16 * self.width**2 * t * (1 - t) * (1 - 2 * t) - shrinking * (1 - shrinking * t)
        return half_slope / self.deviation(t) ** 2

    def time_of(self, ratio: float) -> float:
        """Return the time at which the noise is so many times as wide as the data, which t has shrunk."""
        if self.width == 0:
            return 1 / (ratio + 1 - self.sigma_min)
        low, high = 0.0, 1.0  # the ratio falls all the way
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if self.deviation(middle) > ratio * middle else (low, middle)
        return high

    def at(self, t: Tensor, noise: Tensor, data: Tensor) -> PathPoint:
        """Return points and velocities at times ``[N]`` of the paths from noise to data, both ``[N, ...]``."""
        t = t.view(-1, *[1] * (data.ndim - 1)).to(data)
        shrinking = 1 - self.sigma_min
        x, velocity = (1 - shrinking * t) * noise + t * data, data - shrinking * noise
        if self.width > 0:
            z = torch.randn_like(data)
            x, velocity = x + 4 * self.width * t * (1 - t) * z, velocity + 4 * self.width * (1 - 2 * t) * z
        return PathPoint(x, velocity)


def stratified_uniform(n: int, device: torch.device | str = "cpu") -> Tensor:
    """Draw numbers ``[n]`` in ``[0, 1]``, one from each of n equal intervals, in random order.

    Each is uniform, and together they cover the interval evenly, which lowers the variance of a mean over them.
    """
    return (torch.randperm(n, device=device) + torch.rand(n, device=device)) / n


def logit_normal(uniform: Tensor, mean: float, deviation: float) -> Tensor:
    """Turn uniform numbers into times whose logits are normal.

    Esser et al. (2024), "Scaling Rectified Flow Transformers for High-Resolution Image Synthesis", section 3.1.

    Args:
        uniform: ``[N]`` in ``[0, 1]``.
        mean: Mean of the logits; above 0 for times nearer to 1.
        deviation: Standard deviation of the logits.
    """
    return torch.sigmoid(mean + deviation * torch.special.ndtri(uniform))


def optimal_transport(noise: Tensor, data: Tensor, y: Tensor | None = None) -> Tensor:
    """Pair noise with data so that the sum of squared distances is least; minibatch optimal transport.

    Pooladian et al. (2023), "Multisample Flow Matching"; Tong et al. (2024), "Improving and Generalizing Flow-Based
    Generative Models with Minibatch Optimal Transport", section 3.2. Solved exactly, on the CPU. With labels, noise is
    exchanged between examples of the same label only: pairs across labels would make the noise depend on the label,
    and samples start from noise that does not.

    Args:
        noise: ``[N, ...]``.
        data: ``[N, ...]``.
        y: Labels ``[N]`` of the data, or None.

    Returns:
        ``[N]``, int64: a permutation; ``noise[permutation]`` belongs to ``data``.
    """
    from scipy.optimize import linear_sum_assignment  # takes most of a second

    # The squared distances but for a constant, which every permutation has in common; in float64 autocast leaves it be.
    cost = -(data.flatten(1).double() @ noise.flatten(1).double().T).cpu()
    groups = torch.zeros(len(data), dtype=torch.int64) if y is None else y.cpu()
    permutation = torch.empty(len(data), dtype=torch.int64)
    for label in groups.unique():
        rows = (groups == label).nonzero()[:, 0]
        _, columns = linear_sum_assignment(cost[rows][:, rows].numpy())
        permutation[rows] = rows[torch.from_numpy(columns)]
    return permutation.to(data.device)
