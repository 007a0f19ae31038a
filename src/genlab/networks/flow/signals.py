"""Multi-scale coupling flow on signals of any length: a density of the values that are there.

Each layer maps ``x [N, C, L]`` and knows ``there [N, C, L]``, 1 where there is a value and 0 elsewhere. It changes what
is there alone, reads nothing else, and its log-determinant is that of this change. So for each length the whole is a
bijection of as many values, and what lacks to whole columns counts as not there.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

from genlab.core.likelihood import sum_dims
from genlab.core.noise import normal
from genlab.core.replaying import kept
from genlab.networks.blocks.dilated import DilatedStack, squeeze_time, unsqueeze_time
from genlab.networks.flow.invertible import ActNorm, InvertibleConv
from genlab.networks.flow.splines import ElementwiseTransform

__all__ = ["SignalFlow"]


class _Layer(nn.Module):
    """A bijection of what is there."""

    @abstractmethod
    def forward(self, x: Tensor, there: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the image of ``x`` and the log-determinant ``[N]``, nats."""

    @abstractmethod
    def inverse(self, y: Tensor, there: Tensor, context: Tensor | None) -> Tensor:
        """Return the ``x`` whose image is ``y``."""


class _Norm(_Layer):
    """A scale and a shift for each channel, which start from the values that are there."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = _MaskedActNorm(channels)

    def forward(self, x: Tensor, there: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        if self.norm.initializing:
            self.norm.fit_where(x, there)
        scale, shift = self.norm.log_scale[..., 0], self.norm.shift[..., 0]
        return there * (x + shift) * scale.exp(), sum_dims(there * scale)

    def inverse(self, y: Tensor, there: Tensor, context: Tensor | None) -> Tensor:
        scale, shift = self.norm.log_scale[..., 0], self.norm.shift[..., 0]
        return there * (y * (-scale).exp() - shift)


class _MaskedActNorm(ActNorm):
    """The state of an :class:`ActNorm`, which ``data_dependent_init`` finds by its type."""

    @torch.no_grad()
    def fit_where(self, x: Tensor, there: Tensor) -> None:
        """Give each channel of ``x [N, C, L]`` mean 0 and variance 1 over what is there."""
        count = there.sum((0, 2)).clamp_min(1)
        mean = (there * x).sum((0, 2)) / count
        variance = (there * (x - mean[:, None]).square()).sum((0, 2)) / count
        # A channel that no example reaches, or that does not vary, stays as it is.
        scale = torch.where(variance > 1e-6, -0.5 * variance.clamp_min(1e-6).log(), 0)
        self.shift.copy_(-mean[:, None, None])
        self.log_scale.copy_(scale[:, None, None])


class _Mix(_Layer):
    """Invertible 1x1 convolution of whole columns; in others the channels stay what they are."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = InvertibleConv(channels)

    def forward(self, x: Tensor, there: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        whole = _whole(there)
        mixed = self.conv(x[..., None])[0][..., 0]
        # The log-determinant is one number for each column.
        return torch.where(whole, mixed, x), self.conv.log_diagonal.sum() * whole[:, 0].sum(1)

    def inverse(self, y: Tensor, there: Tensor, context: Tensor | None) -> Tensor:
        return torch.where(_whole(there), self.conv.inverse(y[..., None])[..., 0], y)


class _Couple(_Layer):
    """Change one half of the channels, with parameters that a network reads from the other half.

    Args:
        channels: Number of channels, even.
        upper: Whether the upper half changes, else the lower: where nothing is mixed, every value has to change.
        transform: Element-wise transform.
        hidden: Channels of the network.
        dilations: Of the layers of the network.
        context: Length of an optional context vector.
    """

    def __init__(
        self,
        channels: int,
        upper: bool,
        *,
        transform: ElementwiseTransform,
        hidden: int,
        dilations: Sequence[int],
        context: int,
    ) -> None:
        super().__init__()
        self.upper = upper
        self.transform = transform
        half = channels // 2
        # Beside the kept values, what is there of each half.
        self.network = DilatedStack(
            half + channels + context, transform.num_params * half, hidden=hidden, dilations=dilations
        )

    def forward(self, x: Tensor, there: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        kept, changed = self._halves(x)
        changing, params = self._params(kept, there, context)
        y, log_slope = self.transform.forward(changed, params)
        return self._join(kept, torch.where(changing, y, changed)), sum_dims(log_slope, changing)

    def inverse(self, y: Tensor, there: Tensor, context: Tensor | None) -> Tensor:
        kept, changed = self._halves(y)
        changing, params = self._params(kept, there, context)
        return self._join(kept, torch.where(changing, self.transform.inverse(changed, params), changed))

    def _halves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        lower, upper = x.chunk(2, dim=1)
        return (lower, upper) if self.upper else (upper, lower)

    def _join(self, kept: Tensor, changed: Tensor) -> Tensor:
        return torch.cat([kept, changed] if self.upper else [changed, kept], dim=1)

    def _params(self, kept: Tensor, there: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        _, changing = self._halves(there)
        inputs = [kept, there, *_spread(context, kept)]
        params = self.network(torch.cat(inputs, dim=1)).to(kept.dtype)
        return changing > 0, params.unflatten(1, (self.transform.num_params, -1))


class SignalFlow(nn.Module):
    """Normalizing flow on sound: squeezes time into channels, mixes and couples them, and factors out half of them.

    After Prenger et al. (2019), "WaveGlow", section 2: invertible 1x1 convolutions and couplings whose networks are
    dilated convolutions that look both ways. What is factored out is a Gaussian whose mean and log-scale a network
    reads from what stays, as for pictures.

    Args:
        shape: ``(C, T)`` of one example, of any length.
        transform: Element-wise transform of every coupling.
        squeeze: Values of a column at the finest scale, even; each later scale joins two columns.
        steps: Couplings at each scale, finest first.
        hidden: Channels of the couplings' networks.
        dilations: Of the layers of each of these networks, in columns.
        context: Length of an optional context vector.

    Attributes:
        nfe: Network evaluations that a sample costs: couplings invert as fast as they run.
    """

    nfe = 1

    def __init__(
        self,
        shape: Sequence[int],
        transform: ElementwiseTransform,
        *,
        squeeze: int,
        steps: Sequence[int],
        hidden: int,
        dilations: Sequence[int],
        context: int = 0,
    ) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.factors = [squeeze] + [2] * (len(steps) - 1)
        channels = shape[0]
        self.scales, self.priors = nn.ModuleList(), nn.ModuleList()
        for scale, (factor, count) in enumerate(zip(self.factors, steps, strict=True)):
            channels *= factor
            layers: list[nn.Module] = []
            for step in range(count):
                couple = _Couple(
                    channels, step % 2 == 0, transform=transform, hidden=hidden, dilations=dilations, context=context
                )
                layers += [_Norm(channels), _Mix(channels), couple]
            self.scales.append(nn.ModuleList([*layers, _Norm(channels)]))
            if scale < len(steps) - 1:
                channels //= 2
                self.priors.append(
                    DilatedStack(3 * channels + context, 2 * channels, hidden=hidden, dilations=dilations[:1])
                )

    def log_prob(self, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Log-density of what is there, given how much that is.

        Args:
            x: Real values ``[N, C, T]``.
            context: ``[N, context]``.
            mask: ``[N, C, T]``, bool, true where there is a value; None: all is there.

        Returns:
            ``[N]``, nats.
        """
        return self._encode(x, context, mask)[0]

    def encode(self, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Return the standard normal latents ``[N, Z]`` of ``x [N, C, T]``, those of the finest scale first.

        Z is C T, and more where T is filled up to whole columns; what belongs to no value is zero.
        """
        return torch.cat([latents.flatten(1) for latents in self._encode(x, context, mask)[1]], dim=1)

    def _encode(self, x: Tensor, context: Tensor | None, mask: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        there = torch.ones_like(x) if mask is None else mask.to(x.dtype)
        x = x if mask is None else x.where(mask, 0)
        log_prob, latents = x.new_zeros(len(x)), []
        for index, (factor, layers) in enumerate(zip(self.factors, self.scales, strict=True)):
            x, there = squeeze_time(x, factor), squeeze_time(there, factor)
            for layer in layers:
                x, log_det = layer(x, there, context)
                log_prob = log_prob + log_det
            if index < len(self.priors):
                (x, out), (there_x, there_out) = x.chunk(2, dim=1), there.chunk(2, dim=1)
                mean, log_scale = self._prior(index, x, there, context)
                noise = (out - mean) * (-log_scale).exp()
                log_prob = log_prob + _normal_log_prob(noise, there_out) - sum_dims(there_out * log_scale)
                latents.append(there_out * noise)
                there = there_x
        return log_prob + _normal_log_prob(x, there), [*latents, there * x]

    def sample(
        self,
        n: int,
        context: Tensor | None = None,
        generator: Generator | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Draw ``[n, C, T]`` given context ``[n, context]`` and where there are values, ``[n, C, T]``; 0 elsewhere."""
        theres = self._theres(n, mask)
        device = theres[0].device
        parts = [normal(there.shape, generator, device).flatten(1) for there in self._factored(theres)]
        return kept(self.decode, device, 1, "the inverse of the flow on sound")(torch.cat(parts, dim=1), context, mask)

    def decode(self, z: Tensor, context: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Return the signals ``[N, C, T]`` whose latents are ``z [N, Z]``; see :meth:`encode`."""
        theres = self._theres(z.shape[0], mask)
        shapes = [there.shape[1:] for there in self._factored(theres)]
        parts = z.split([shape.numel() for shape in shapes], dim=1)
        return self._signal(
            [part.unflatten(1, shape) for part, shape in zip(parts, shapes, strict=True)], theres, context
        )

    @property
    def num_latents(self) -> int:
        """Length of a code."""
        return sum(there[0].numel() for there in self._factored(self._theres(1, None)))

    def _theres(self, n: int, mask: Tensor | None) -> list[Tensor]:
        """Return where values are, as each scale sees it."""
        device, theres = next(self.parameters()).device, []
        there = torch.ones(n, *self.shape, device=device) if mask is None else mask.to(device, torch.float32)
        for factor in self.factors:
            theres.append(squeeze_time(there, factor))
            there = theres[-1].chunk(2, dim=1)[0]
        return theres

    @staticmethod
    def _factored(theres: Sequence[Tensor]) -> list[Tensor]:
        """Return where the values are that each scale factors out; the last keeps all."""
        return [*(there.chunk(2, dim=1)[1] for there in theres[:-1]), theres[-1]]

    def _signal(self, latents: Sequence[Tensor], theres: Sequence[Tensor], context: Tensor | None) -> Tensor:
        lengths = [self.shape[1], *(there.shape[-1] for there in theres)]
        x = theres[-1] * latents[-1]
        for index in reversed(range(len(self.factors))):
            there = theres[index]
            if index < len(self.priors):
                mean, log_scale = self._prior(index, x, there, context)
                x = torch.cat([x, there.chunk(2, dim=1)[1] * (mean + log_scale.exp() * latents[index])], dim=1)
            for layer in reversed(self.scales[index]):
                x = layer.inverse(x, there, context)
            x = unsqueeze_time(x, self.factors[index])[..., : lengths[index]]
        return x

    def _prior(self, index: int, kept: Tensor, there: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Mean and log-scale of what scale ``index`` factors out, the log-scale bounded to (-2, 2)."""
        inputs = torch.cat([kept, there, *_spread(context, kept)], dim=1)
        mean, log_scale = self.priors[index](inputs).to(kept.dtype).chunk(2, dim=1)
        return mean, 2.0 * torch.tanh(log_scale / 2.0)


def _whole(there: Tensor) -> Tensor:
    """Say of each column whether all its values are there, ``[N, 1, L]``."""
    return there.amin(1, keepdim=True) > 0


def _spread(context: Tensor | None, like: Tensor) -> list[Tensor]:
    """Repeat a context vector at every place: ``[N, K] -> [[N, K, L]]``."""
    return [] if context is None else [context[..., None].expand(-1, -1, like.shape[-1]).to(like)]


def _normal_log_prob(z: Tensor, there: Tensor) -> Tensor:
    """Log-density of independent standard normals where values are there, nats ``[N]``."""
    half_log_tau = 0.9189385332046727
    return -sum_dims(there * (0.5 * z.square() + half_log_tau))
