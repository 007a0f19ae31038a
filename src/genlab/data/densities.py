"""Distributions in the plane whose densities and entropies are known: closed forms and quadrature, no sampling.

All computation is in float64. Angles are in radians, densities and entropies in nats.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

__all__ = ["DENSITIES", "Checkerboard", "Density", "NoisyCurves", "RotatedGaussians"]

_TAIL = 8.0  # standard deviations after which a Gaussian is cut off: less than 1e-14 of its mass lies beyond
_CHUNK = 1024  # points per evaluation: bounds the memory of points x nodes


class Density(ABC):
    """A distribution in the plane.

    Attributes:
        num_classes: Number of components that serve as labels, or None.
    """

    num_classes: int | None = None

    @abstractmethod
    def sample(self, n: int, random: np.random.RandomState) -> tuple[np.ndarray, np.ndarray | None]:
        """Draw ``n`` points: ``[n, 2]`` float64 and their labels ``[n]`` int64, or None."""

    @abstractmethod
    def log_density(self, x: Tensor) -> Tensor:
        """Return the log density in nats, ``[N]`` float64, at the points ``x`` ``[N, 2]``."""

    @property
    @abstractmethod
    def entropy(self) -> float:
        """The differential entropy in nats, to an error below 1e-6."""


def _rotate(x: Tensor, angle: Tensor | float) -> Tensor:
    angle = torch.as_tensor(angle, dtype=torch.float64)
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([cos * x[..., 0] - sin * x[..., 1], sin * x[..., 0] + cos * x[..., 1]], dim=-1)


def _grid_entropy(log_density: Callable[[Tensor], Tensor], box: tuple[float, ...], step: float) -> float:
    """Integrate ``-p log p`` over ``box`` (left, right, bottom, top) on a square grid.

    For a smooth density that vanishes at the border this simple sum converges faster than any power of ``step``.
    """
    left, right, bottom, top = box
    horizontal = torch.arange(left, right + step, step, dtype=torch.float64)
    vertical = torch.arange(bottom, top + step, step, dtype=torch.float64)
    log_p = log_density(torch.cartesian_prod(horizontal, vertical))
    return -(log_p.exp() * log_p).sum().item() * step**2


class RotatedGaussians(Density):
    """Gaussians at equal angles around the origin, the plane then twisted by an angle proportional to the radius.

    The twist turns each circle around the origin in itself, so it keeps areas: its Jacobian determinant is 1, and
    neither the density along it nor the entropy changes.

    Args:
        count: Number of Gaussians, all of equal weight.
        radius: Distance of their means from the origin.
        radial_sd: Standard deviation along the radius through the mean.
        tangential_sd: Standard deviation across it.
        twist: Radians per unit of radius.
    """

    def __init__(self, count: int, radius: float, radial_sd: float, tangential_sd: float, twist: float = 0.0) -> None:
        self.num_classes = count
        self.radius = radius
        self.sd = torch.tensor([radial_sd, tangential_sd], dtype=torch.float64)
        self.twist = twist
        self._angles = torch.arange(count, dtype=torch.float64) * (2 * math.pi / count)

    def sample(self, n: int, random: np.random.RandomState) -> tuple[np.ndarray, np.ndarray | None]:
        labels = random.randint(len(self._angles), size=n)
        x = torch.from_numpy(random.standard_normal((n, 2))) * self.sd
        x[:, 0] += self.radius
        x = _rotate(x, self._angles[labels])
        return _rotate(x, self.twist * x.norm(dim=1)).numpy(), labels

    def log_density(self, x: Tensor) -> Tensor:
        x = x.double()
        return self._log_untwisted(_rotate(x, -self.twist * x.norm(dim=1)))

    @cached_property
    def entropy(self) -> float:
        reach = self.radius + _TAIL * self.sd.max().item()
        return _grid_entropy(self._log_untwisted, (-reach, reach, -reach, reach), self.sd.min().item() / 4)

    def _log_untwisted(self, x: Tensor) -> Tensor:
        local = _rotate(x.unsqueeze(1), -self._angles)
        local = (local - torch.tensor([self.radius, 0.0], dtype=torch.float64)) / self.sd
        log_norm = math.log(2 * math.pi * len(self._angles)) + self.sd.log().sum()
        return (-0.5 * local.square().sum(-1)).logsumexp(1) - log_norm


class Checkerboard(Density):
    """The uniform distribution on the eight unit squares of one colour of a 4x4 board around the origin."""

    def sample(self, n: int, random: np.random.RandomState) -> tuple[np.ndarray, np.ndarray | None]:
        column, half = random.randint(4, size=n), random.randint(2, size=n)
        corner = np.stack([column, 2 * half + column % 2], axis=1)
        return corner - 2.0 + random.random_sample((n, 2)), None

    def log_density(self, x: Tensor) -> Tensor:
        cell = (x.double() + 2).floor()
        inside = ((cell >= 0) & (cell < 4)).all(1) & (cell.sum(1) % 2 == 0)
        return torch.full_like(cell[:, 0], -math.log(8)).masked_fill(~inside, -math.inf)

    @property
    def entropy(self) -> float:
        return math.log(8)


class NoisyCurves(Density):
    """Points on curves plus isotropic Gaussian noise; the density is an integral along the curves.

    A point has a curve drawn uniformly, a parameter ``v = u ** (1 / power)`` with ``u`` uniform in [0, 1], and noise.
    The integral over ``v`` is done by Gauss-Legendre quadrature in panels.

    Args:
        curves: Maps parameters ``[V]`` in [0, 1] to points ``[curves, V, 2]``.
        noise_sd: Standard deviation of the noise in each direction.
        panels: Panels of 16 nodes for each curve, such that none is longer than 5 ``noise_sd``.
        power: The parameter has the density ``power * v ** (power - 1)``.
    """

    def __init__(
        self, curves: Callable[[np.ndarray], np.ndarray], noise_sd: float, panels: int, power: int = 1
    ) -> None:
        self.curves = curves
        self.noise_sd = noise_sd
        self.panels = panels
        self.power = power
        self.num_classes = len(curves(np.zeros(1)))

    def sample(self, n: int, random: np.random.RandomState) -> tuple[np.ndarray, np.ndarray | None]:
        labels = random.randint(self.num_classes, size=n)
        points = self.curves(random.random_sample(n) ** (1 / self.power))
        return points[labels, np.arange(n)] + self.noise_sd * random.standard_normal((n, 2)), labels

    def log_density(self, x: Tensor) -> Tensor:
        nodes, log_weights = self._quadrature
        variance = self.noise_sd**2
        # |x - c|^2 expanded, so that the nodes meet the points in one matrix product: float64 has digits to spare.
        offsets = log_weights - 0.5 * nodes.square().sum(1) / variance
        scaled = nodes.T / variance
        x = x.double()
        parts = [torch.addmm(offsets, chunk, scaled).logsumexp(1) for chunk in x.split(_CHUNK)]
        return torch.cat(parts) - 0.5 * x.square().sum(1) / variance - math.log(2 * math.pi * variance)

    @cached_property
    def entropy(self) -> float:
        nodes, _ = self._quadrature
        (left, bottom), (right, top) = nodes.amin(0).tolist(), nodes.amax(0).tolist()
        margin = _TAIL * self.noise_sd
        box = (left - margin, right + margin, bottom - margin, top + margin)
        return _grid_entropy(self.log_density, box, self.noise_sd / 2)

    @cached_property
    def _quadrature(self) -> tuple[Tensor, Tensor]:
        """Nodes ``[curves * panels * 16, 2]`` and the logs of their weights, which sum to 1."""
        abscissas, weights = np.polynomial.legendre.leggauss(16)
        v = ((np.arange(self.panels)[:, None] + (abscissas + 1) / 2) / self.panels).ravel()
        weights = np.tile(weights / 2, self.panels) / self.panels * self.power * v ** (self.power - 1)
        log_weights = np.tile(np.log(weights / self.num_classes), self.num_classes)
        return torch.from_numpy(self.curves(v).reshape(-1, 2)), torch.from_numpy(log_weights)


def _two_moons(v: np.ndarray) -> np.ndarray:
    cos, sin = np.cos(math.pi * v), np.sin(math.pi * v)
    return np.stack([np.stack([cos, sin], -1), np.stack([1 - cos, 0.5 - sin], -1)])


def _two_spirals(v: np.ndarray) -> np.ndarray:
    angle = 3 * math.pi * v
    arm = np.stack([3 * v * np.cos(angle), 3 * v * np.sin(angle)], -1)
    return np.stack([arm, -arm])


DENSITIES: dict[str, Density] = {
    "two_moons": NoisyCurves(_two_moons, noise_sd=0.1, panels=8),
    "eight_gaussians": RotatedGaussians(8, radius=2.0, radial_sd=0.2, tangential_sd=0.2),
    "checkerboard": Checkerboard(),
    "pinwheel": RotatedGaussians(5, radius=2.0, radial_sd=0.6, tangential_sd=0.2, twist=0.5),
    # The square root of a uniform number spreads the points evenly along the arm, but for its innermost turn.
    "two_spirals": NoisyCurves(_two_spirals, noise_sd=0.1, panels=64, power=2),
}
"""The distributions of ``Toy2D`` by name."""
