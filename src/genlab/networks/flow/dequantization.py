"""Variational dequantization: noise whose distribution a flow learns."""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from genlab.core.codec import levels_to_signed
from genlab.core.likelihood import Dequantized, standard_normal_log_prob, sum_dims
from genlab.core.noise import normal
from genlab.networks.blocks.convolutional import ConvResNet
from genlab.networks.flow.invertible import Chain, Squeeze
from genlab.networks.flow.multiscale import checkerboard_couplings
from genlab.networks.flow.splines import AffineTransform

__all__ = ["VariationalDequantizer"]


class VariationalDequantizer(nn.Module):
    """Noise u in ``(0, 1)`` from a conditional coupling flow that sees the image.

    Ho et al. (2019), "Flow++", section 3.1: maximizing E[log p(x + u) - log q(u | x)] tightens the
    bound that uniform noise gives.

    Args:
        channels: Channels of an image.
        hidden: Channels of the networks.
        steps: Number of checkerboard couplings.
    """

    def __init__(self, channels: int, hidden: int, steps: int) -> None:
        super().__init__()
        self.features = ConvResNet(4 * channels, hidden, hidden=hidden, blocks=1, zero_output=False)

        def conditioner(inputs: int, outputs: int) -> nn.Module:
            return ConvResNet(inputs, outputs, hidden=hidden, blocks=1)

        self.flow = Chain(
            [Squeeze(), *checkerboard_couplings(4 * channels, steps, AffineTransform(), conditioner, context=hidden)]
        )

    def forward(self, x: Tensor, levels: int, generator: Generator | None = None) -> Dequantized:
        """Draw noise for integers ``x [N, C, H, W]`` and return ``(x + u) / levels`` with log q(u | x)."""
        return self.of_noise(x, self.noise(x, generator), levels)

    def noise(self, x: Tensor, generator: Generator | None = None) -> Tensor:
        """Return standard normal values in the shape of ``x``."""
        return normal(x.shape, generator, x.device)

    def of_noise(self, x: Tensor, noise: Tensor, levels: int) -> Dequantized:
        """Do as :meth:`forward` with what :meth:`noise` returned."""
        image = levels_to_signed(x, levels, noise.dtype)
        context = self.features(F.pixel_unshuffle(image, 2)).to(noise.dtype)
        y, log_det = self.flow(noise, context)
        y = F.pixel_shuffle(y, 2)
        log_q = standard_normal_log_prob(noise) - log_det - sum_dims(F.logsigmoid(y) + F.logsigmoid(-y))
        return Dequantized((x + torch.sigmoid(y)) / levels, log_q)
