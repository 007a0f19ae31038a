"""Multi-scale coupling flow: a density on real-valued images."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Generator, Tensor, nn

from genlab.core.likelihood import standard_normal_log_prob, sum_dims
from genlab.core.noise import normal
from genlab.core.replaying import kept
from genlab.networks.blocks.convolutional import ConvResNet
from genlab.networks.flow.invertible import ActNorm, Chain, Coupling, Invertible, InvertibleConv, Squeeze
from genlab.networks.flow.splines import ElementwiseTransform

__all__ = ["MultiScaleFlow", "channel_couplings", "checkerboard_couplings", "num_scales"]

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
    network = conditioner(inputs, len(changed) * transform.num_params)
    return Coupling(changed, channels, transform=transform, network=network)


class MultiScaleFlow(nn.Module):
    """Normalizing flow that squeezes, couples and factors out half of the channels, scale after scale.

    What is factored out is a Gaussian whose mean and log-scale a network reads from what stays.
    Dinh et al. (2017), "Real NVP", section 3.6; Kingma and Dhariwal (2018), "Glow", figure 2b.

    Args:
        shape: ``(C, H, W)`` of one image; H and W even and at least 4.
        transform: Element-wise transform of every coupling.
        hidden: Channels of the coupling networks at each scale, finest first; the last is repeated.
        blocks: Residual blocks of a coupling network.
        checkerboard_steps: Checkerboard couplings at the finest scale.
        channel_steps: Channel couplings at each scale, finest first; the last is repeated.
        context: Length of an optional context vector.

    Attributes:
        nfe: Network evaluations that a sample costs: couplings invert as fast as they run.
    """

    nfe = 1

    def __init__(
        self,
        shape: tuple[int, ...],
        transform: ElementwiseTransform,
        *,
        hidden: Sequence[int],
        blocks: int,
        checkerboard_steps: int,
        channel_steps: Sequence[int],
        context: int = 0,
    ) -> None:
        super().__init__()
        channels, height, width = shape
        count = num_scales(height, width)
        self.scales = nn.ModuleList()
        self.priors = nn.ModuleList()
        self.latent_shapes: list[tuple[int, int, int]] = []
        for scale in range(count):
            channels, height, width = 4 * channels, height // 2, width // 2
            width_here = _at(hidden, scale)
            conditioner = partial(ConvResNet, hidden=width_here, blocks=blocks)
            layers: list[Invertible] = [Squeeze()]
            if scale == 0:
                layers += checkerboard_couplings(channels, checkerboard_steps, transform, conditioner, context)
            layers += channel_couplings(channels, _at(channel_steps, scale), transform, conditioner, context)
            self.scales.append(Chain([*layers, ActNorm(channels)]))
            if scale < count - 1:
                channels //= 2
                self.priors.append(ConvResNet(channels + context, 2 * channels, hidden=width_here, blocks=1))
                self.latent_shapes.append((channels, height, width))
        self.latent_shapes.append((channels, height, width))

    @property
    def num_latents(self) -> int:
        """Length of a code: the number of dimensions."""
        return sum(map(math.prod, self.latent_shapes))

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Log-density ``[N]``, nats, of real-valued images ``[N, C, H, W]`` given context ``[N, context]``."""
        log_prob = x.new_zeros(x.shape[0])
        for latents, log_det, log_scale in self._latents(x, context):
            log_prob = log_prob + log_det + standard_normal_log_prob(latents)
            if log_scale is not None:
                log_prob = log_prob - sum_dims(log_scale)
        return log_prob

    def encode(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the standard normal latents ``[N, C H W]`` of images ``[N, C, H, W]``, those of the finest first."""
        return torch.cat([latents.flatten(1) for latents, *_ in self._latents(x, context)], dim=1)

    def decode(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the images ``[N, C, H, W]`` whose latents are ``z [N, C H W]``."""
        parts = z.split([math.prod(shape) for shape in self.latent_shapes], dim=1)
        return self._image(
            [part.unflatten(1, shape) for part, shape in zip(parts, self.latent_shapes, strict=True)], context
        )

    def _latents(self, x: Tensor, context: Tensor | None) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        """Yield what each scale factors out, standardized, with the scale's log-determinant and the log of what it was
        divided by; None for the last."""
        for index, scale in enumerate(self.scales):
            x, log_det = scale(x, _as_image(context, x.shape[2] // 2, x.shape[3] // 2))
            if index == len(self.priors):
                yield x, log_det, None
                return
            x, out = x.chunk(2, dim=1)
            mean, log_scale = self._prior(index, x, context)
            yield (out - mean) * (-log_scale).exp(), log_det, log_scale

    def sample(self, n: int, context: Tensor | None = None, generator: Generator | None = None) -> Tensor:
        """Draw ``[n, C, H, W]`` given context ``[n, context]``; the generator lies on the model's device."""
        device = next(self.parameters()).device
        parts = [normal((n, *shape), generator, device).flatten(1) for shape in self.latent_shapes]
        return kept(self.decode, device, 1, "the flow's inverse")(torch.cat(parts, dim=1), context)

    def _image(self, latents: Sequence[Tensor], context: Tensor | None) -> Tensor:
        x = latents[-1]
        for index in reversed(range(len(self.scales))):
            if index < len(self.priors):
                mean, log_scale = self._prior(index, x, context)
                x = torch.cat([x, mean + log_scale.exp() * latents[index]], dim=1)
            x = self.scales[index].inverse(x, _as_image(context, x.shape[2], x.shape[3]))
        return x

    def _prior(self, index: int, kept: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Mean and log-scale of what scale ``index`` factors out, the log-scale bounded to (-2, 2)."""
        image = _as_image(context, kept.shape[2], kept.shape[3])
        inputs = kept if image is None else torch.cat([kept, image], dim=1)
        mean, log_scale = self.priors[index](inputs).to(kept.dtype).chunk(2, dim=1)
        return mean, 2.0 * torch.tanh(log_scale / 2.0)


def _at(numbers: Sequence[int], scale: int) -> int:
    return numbers[min(scale, len(numbers) - 1)]


def _as_image(context: Tensor | None, height: int, width: int) -> Tensor | None:
    """Repeat a context vector at every position: ``[N, K] -> [N, K, H, W]``."""
    return None if context is None else context[:, :, None, None].expand(-1, -1, height, width)
