"""Multi-scale coupling flow: a density on real-valued images."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor, nn

from genlab.likelihood import standard_normal_log_prob
from genlab.networks.convolutional import ConvResNet
from genlab.networks.invertible import ActNorm, Chain, Coupling, Invertible, InvertibleConv, Squeeze
from genlab.networks.splines import ElementwiseTransform

__all__ = ["MultiScaleFlow", "checkerboard_couplings", "channel_couplings", "num_scales"]

Conditioner = Callable[[int, int], nn.Module]
"""Makes a network from its numbers of input and output channels."""


def num_scales(height: int, width: int) -> int:
    """How often an image can be squeezed (at most 3 times) while both sides stay at least 2."""
    scales = 0
    while scales < 3 and height % 2 == 0 and width % 2 == 0 and min(height, width) >= 4:
        height, width, scales = height // 2, width // 2, scales + 1
    return scales


def checkerboard_couplings(
    channels: int, steps: int, transform: ElementwiseTransform, conditioner: Conditioner, context: int = 0
) -> list[Invertible]:
    """Couplings on squeezed images that change one colour of a checkerboard, then the other.

    Args:
        channels: Channels after squeezing, a multiple of 4.
        steps: Number of couplings.
        transform: Element-wise transform.
        conditioner: Makes the network of a coupling.
        context: Channels of the context.
    """
    patches = range(channels // 4)
    colours = [[4 * c + i for c in patches for i in offsets] for offsets in ((0, 3), (1, 2))]
    return [
        layer
        for step in range(steps)
        for layer in (
            ActNorm(channels),
            _coupling(colours[step % 2], channels, transform, conditioner, context),
        )
    ]


def channel_couplings(
    channels: int, steps: int, transform: ElementwiseTransform, conditioner: Conditioner, context: int = 0
) -> list[Invertible]:
    """Couplings that change half of the channels, mixed by a 1x1 convolution before each.

    The arguments are those of :func:`checkerboard_couplings`; ``channels`` is any even number.
    """
    changed = range(channels // 2, channels)
    return [
        layer
        for _ in range(steps)
        for layer in (
            ActNorm(channels),
            InvertibleConv(channels),
            _coupling(changed, channels, transform, conditioner, context),
        )
    ]


def _coupling(
    changed: Sequence[int], channels: int, transform: ElementwiseTransform, conditioner: Conditioner, context: int
) -> Coupling:
    inputs = channels - len(changed) + context
    return Coupling(changed, channels, transform, conditioner(inputs, len(changed) * transform.num_params))


class MultiScaleFlow(nn.Module):
    """Normalizing flow that squeezes, couples and factors out half of the channels, scale after scale.

    What is factored out is a Gaussian whose mean and log-scale a network reads from what stays.
    Dinh et al. (2017), "Real NVP", section 3.6; Kingma and Dhariwal (2018), "Glow", figure 2b.

    Args:
        shape: ``(C, H, W)`` of one image; H and W are divisible by 2 at least once.
        transform: Element-wise transform of every coupling.
        hidden: Channels of the coupling networks, one number for each scale, the first the finest.
        blocks: Residual blocks of a coupling network.
        checkerboard_steps: Checkerboard couplings at the finest scale.
        channel_steps: Channel couplings at each scale.
        context: Channels of an optional context image, given at the input's resolution divided by 2^scale.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        transform: ElementwiseTransform,
        hidden: Sequence[int],
        blocks: int,
        checkerboard_steps: int,
        channel_steps: Sequence[int],
    ) -> None:
        super().__init__()
        channels, height, width = shape
        scales = num_scales(height, width)
        self.scales = nn.ModuleList()
        self.priors = nn.ModuleList()
        self.latent_shapes: list[tuple[int, int, int]] = []
        for scale in range(scales):
            channels, height, width = 4 * channels, height // 2, width // 2

            def conditioner(inputs: int, outputs: int, width: int = hidden[min(scale, len(hidden) - 1)]) -> nn.Module:
                return ConvResNet(inputs, outputs, width, blocks)

            layers: list[Invertible] = [Squeeze()]
            if scale == 0:
                layers += checkerboard_couplings(channels, checkerboard_steps, transform, conditioner)
            layers += channel_couplings(channels, channel_steps[min(scale, len(channel_steps)-1)], transform, conditioner)
            layers.append(ActNorm(channels))
            self.scales.append(Chain(layers))
            last = scale == scales - 1
            kept = channels if last else channels // 2
            if not last:
                self.priors.append(ConvResNet(kept, 2 * (channels - kept), hidden[min(scale, len(hidden) - 1)], 1))
                self.latent_shapes.append((channels - kept, height, width))
                channels = kept
        self.latent_shapes.append((channels, height, width))

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-density of real-valued images ``[N, C, H, W]``, nats ``[N]``."""
        log_prob = x.new_zeros(x.shape[0])
        for index, scale in enumerate(self.scales):
            x, log_det = scale(x)
            log_prob = log_prob + log_det
            if index < len(self.priors):
                x, out = x.chunk(2, dim=1)
                mean, log_scale = self._prior(index, x)
                log_prob = log_prob + standard_normal_log_prob((out - mean) * (-log_scale).exp())
                log_prob = log_prob - log_scale.flatten(1).sum(1)
        return log_prob + standard_normal_log_prob(x)

    def _prior(self, index: int, kept: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_scale = self.priors[index](kept).to(kept.dtype).chunk(2, dim=1)
        return mean, 2.0 * torch.tanh(log_scale / 2.0)

    def sample(self, n: int, generator: Generator | None = None, temperature: float = 1.0) -> Tensor:
        device = self.scales[0].layers[1].log_scale.device
        latents = [torch.randn((n, *shape), generator=generator, device=device) for shape in self.latent_shapes]
        x = latents[-1]
        for index in reversed(range(len(self.scales))):
            if index < len(self.priors):
                mean, log_scale = self._prior(index, x)
                x = torch.cat([x, mean + log_scale.exp() * latents[index]], dim=1)
            x = self.scales[index].inverse(x)
        return x
