"""Weights of bounded gain."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

__all__ = ["SpectralNorm", "normalize_spectrally"]

FIRST_ITERATIONS = 15


class SpectralNorm(nn.Module):
    """Divide a weight by its largest singular value, as a matrix of one row for each output.

    Miyato et al. (2018), "Spectral normalization for generative adversarial networks", algorithm 1: the singular vector
    is part of the state and takes one step of power iteration at each use in training mode. All in float32 or better,
    which torch's own parametrization leaves to autocast.

    Args:
        weight: The weight at its start, ``[outputs, ...]``.
    """

    left: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("left", F.normalize(torch.randn(len(weight)), dim=0))
        matrix = weight.detach().flatten(1)
        for _ in range(FIRST_ITERATIONS):
            self._iterate(matrix)

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight with a largest singular value of about 1."""
        with torch.autocast(weight.device.type, enabled=False):
            matrix = weight.flatten(1)
            if self.training:
                self._iterate(matrix.detach())
            # The graph must not see the buffer, which the next use changes.
            left = self.left.clone()
            right = F.normalize(matrix.detach().t() @ left, dim=0)
            return weight / (left @ (matrix @ right))

    @torch.no_grad()
    def _iterate(self, matrix: Tensor) -> None:
        right = F.normalize(matrix.t() @ self.left, dim=0)
        self.left.copy_(F.normalize(matrix @ right, dim=0))


def normalize_spectrally(network: nn.Module) -> None:
    """Put :class:`SpectralNorm` on every matrix, kernel and embedding of a network."""
    for module in list(network.modules()):
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Embedding):
            parametrize.register_parametrization(module, "weight", SpectralNorm(module.weight))
