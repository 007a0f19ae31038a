"""Invertible layers for images: each maps ``[N, C, H, W]`` and knows its log-determinant.

Every layer has ``forward(x, context) -> (y, log_det)`` and ``inverse(y, context) -> x``, with
``log_det [N]`` in nats and an optional ``context [N, K, H, W]`` that only conditioned layers read.
Log-determinants are float32 or better, also under autocast.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genlab.core.codec import mean_and_deviation
from genlab.core.likelihood import sum_dims
from genlab.networks.flow.splines import ElementwiseTransform

__all__ = ["ActNorm", "Chain", "Coupling", "Invertible", "InvertibleConv", "Squeeze", "data_dependent_init"]


class Invertible(nn.Module):
    """A bijection with a tractable log-determinant."""

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the image of ``x`` and the log-determinant ``[N]``, nats."""
        raise NotImplementedError

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the ``x`` whose image is ``y``."""
        raise NotImplementedError


class Everywhere(Invertible):
    """A layer that does the same at every place: its log-determinant is that of one place times their number."""

    def image(self, x: Tensor) -> Tensor:
        """Return the image of ``x``."""
        raise NotImplementedError

    def log_slopes(self) -> list[Tensor]:
        """Return vectors that sum up to the log-determinant of one place, nats."""
        raise NotImplementedError

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        y = self.image(x)
        return y, _log_det(self.log_slopes(), y.shape[2] * y.shape[3]).expand(y.shape[0])


def _log_det(log_slopes: Sequence[Tensor], places: int) -> Tensor:
    """Return the log-determinant of layers that do the same at so many places, a scalar, nats."""
    return places * torch.cat(list(log_slopes)).sum()


class Squeeze(Invertible):
    """Trade space for channels: ``[N, C, H, W] <-> [N, 4 C, H / 2, W / 2]``.

    Channel ``4 c + 2 i + j`` of the result is channel c at row offset i and column offset j.
    Dinh et al. (2017), "Density estimation using Real NVP", section 3.6.
    """

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return F.pixel_unshuffle(x, 2), x.new_zeros(x.shape[0])

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        return F.pixel_shuffle(y, 2)


class ActNorm(Everywhere):
    """Scale and shift each channel, starting with mean 0 and variance 1 on the first data seen.

    Kingma and Dhariwal (2018), "Glow", section 3.1. The start is set inside :func:`data_dependent_init`.

    Args:
        channels: Number of channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(channels, 1, 1))
        self.shift = nn.Parameter(torch.zeros(channels, 1, 1))
        self.initializing = False

    def shifted(self, x: Tensor) -> Tensor:
        """Return what is to be scaled."""
        if self.initializing:
            self._fit(x)
        return x + self.shift

    def image(self, x: Tensor) -> Tensor:
        return self.shifted(x) * self.log_scale.exp()

    def log_slopes(self) -> list[Tensor]:
        return [self.log_scale.flatten()]

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        return y * (-self.log_scale).exp() - self.shift

    @torch.no_grad()
    def _fit(self, x: Tensor) -> None:
        mean, deviation = mean_and_deviation(x, (0, 2, 3))
        self.shift.copy_(-mean[:, None, None])
        self.log_scale.copy_(-deviation[:, None, None].log())


@contextmanager
def data_dependent_init(module: nn.Module) -> Iterator[None]:
    """Within the block, each forward pass sets the :class:`ActNorm` layers of ``module`` from its data."""
    layers = [layer for layer in module.modules() if isinstance(layer, ActNorm)]
    for layer in layers:
        layer.initializing = True
    try:
        yield
    finally:
        for layer in layers:
            layer.initializing = False


class InvertibleConv(Everywhere):
    """Invertible 1x1 convolution, its matrix kept as P L U so that the log-determinant is a sum.

    Kingma and Dhariwal (2018), "Glow", section 3.2, equation 10. Starts as a random rotation.

    Args:
        channels: Number of channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        rotation = torch.linalg.qr(torch.randn(channels, channels, dtype=torch.float64))[0]
        permutation, lower, upper = (matrix.float() for matrix in torch.linalg.lu(rotation))
        diagonal = upper.diagonal()
        self.register_buffer("permutation", permutation)
        self.register_buffer("sign", diagonal.sign())
        self.lower = nn.Parameter(lower.tril(-1))
        self.upper = nn.Parameter(upper.triu(1))
        self.log_diagonal = nn.Parameter(diagonal.abs().log())

    def _factors(self) -> tuple[Tensor, Tensor]:
        """Return the lower factor without its diagonal, which is one, and the upper factor."""
        return self.lower.tril(-1), self.upper.triu(1) + torch.diag(self.sign * self.log_diagonal.exp())

    def matrix(self) -> Tensor:
        """Return the matrix ``[C, C]`` by which the channels of each place are multiplied."""
        lower, upper = self._factors()
        return self.permutation @ torch.addmm(upper, lower, upper)

    def inverse_matrix(self) -> Tensor:
        """Return the inverse of :meth:`matrix`."""
        lower, upper = self._factors()
        of_lower = torch.linalg.solve_triangular(lower, self.permutation.T, upper=False, unitriangular=True)
        return torch.linalg.solve_triangular(upper, of_lower, upper=True)

    def image(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return _product(self.matrix(), x)

    def log_slopes(self) -> list[Tensor]:
        return [self.log_diagonal]

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        with torch.autocast(y.device.type, enabled=False):
            return _product(self.inverse_matrix(), y)


class _NormedConv(Everywhere):
    """An :class:`ActNorm` and then an :class:`InvertibleConv`, the scales of which are columns of one matrix.

    The shift stays apart: added to the product it would cancel what is far from zero only after rounding.
    """

    def __init__(self, norm: ActNorm, conv: InvertibleConv) -> None:
        super().__init__()
        self.norm, self.conv = norm, conv

    def image(self, x: Tensor) -> Tensor:
        shifted = self.norm.shifted(x)
        with torch.autocast(x.device.type, enabled=False):
            return _product(self.conv.matrix() * self.norm.log_scale.flatten().exp(), shifted)

    def log_slopes(self) -> list[Tensor]:
        return self.norm.log_slopes() + self.conv.log_slopes()

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        with torch.autocast(y.device.type, enabled=False):
            rows = (-self.norm.log_scale).exp().flatten(1)
            return _product(rows * self.conv.inverse_matrix(), y) - self.norm.shift


def _product(matrix: Tensor, x: Tensor) -> Tensor:
    """Multiply the channels of each place of ``x [N, C, H, W]`` by a matrix ``[C, C]``."""
    # No convolution: a GPU may round its float32 to TensorFloat-32.
    return torch.bmm(matrix.expand(x.shape[0], -1, -1), x.flatten(2)).view(x.shape)


class Coupling(Invertible):
    """Transform some channels element by element, with parameters that a network reads from the others.

    After :class:`Squeeze` the four channels of a 2x2 patch are its pixels, so the channel sets
    ``{0, 3} | {1, 2}`` make a checkerboard coupling at a quarter of the convolutions' cost.

    Args:
        transformed: Channels that change. The others pass unchanged and feed the network.
        channels: Number of channels in all.
        transform: Element-wise transform.
        network: Maps ``[N, channels - len(transformed) + context, H, W]`` to
            ``[N, transform.num_params * len(transformed), H, W]``; zero output is the identity.
    """

    def __init__(
        self, transformed: Sequence[int], channels: int, *, transform: ElementwiseTransform, network: nn.Module
    ) -> None:
        super().__init__()
        kept = [channel for channel in range(channels) if channel not in set(transformed)]
        order = torch.tensor([*kept, *transformed])
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("restore", order.argsort(), persistent=False)
        self._reorders = order.tolist() != list(range(channels))
        self.sizes = [len(kept), len(transformed)]
        self.transform = transform
        self.network = network

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        kept, changed = (x.index_select(1, self.order) if self._reorders else x).split(self.sizes, dim=1)
        return kept, changed

    def _join(self, kept: Tensor, changed: Tensor) -> Tensor:
        joined = torch.cat([kept, changed], dim=1)
        return joined.index_select(1, self.restore) if self._reorders else joined

    def _params(self, kept: Tensor, changed: Tensor, context: Tensor | None) -> Tensor:
        inputs = kept if context is None else torch.cat([kept, context], dim=1)
        # The network may run in bfloat16; what enters the log-determinant is at least float32.
        params = self.network(inputs).to(kept.dtype, memory_format=torch.contiguous_format)
        return params.unflatten(1, (self.transform.num_params, changed.shape[1]))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        kept, changed = self._split(x)
        params = self._params(kept, changed, context)
        y, log_slope = self.transform.forward(changed, params)
        return self._join(kept, y), sum_dims(log_slope)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        kept, changed = self._split(y)
        params = self._params(kept, changed, context)
        return self._join(kept, self.transform.inverse(changed, params))


class Chain(Invertible):
    """Apply layers one after the other, an :class:`ActNorm` and the :class:`InvertibleConv` after it in one product.

    Args:
        layers: Invertible layers, first to last.
    """

    def __init__(self, layers: Sequence[Invertible]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        # A tuple: the state of the chain is that of its layers.
        self._steps = tuple(_in_one_product(layers))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        log_dets: list[Tensor] = []
        log_slopes: dict[int, list[Tensor]] = {}
        for step in self._steps:
            if isinstance(step, Everywhere):
                x = step.image(x)
                log_slopes.setdefault(x.shape[2] * x.shape[3], []).extend(step.log_slopes())
            else:
                x, log_det = step(x, context)
                log_dets.append(log_det)
        log_dets += [_log_det(vectors, places).expand(len(x)) for places, vectors in log_slopes.items()]
        return x, torch.stack(log_dets).sum(0)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        for step in reversed(self._steps):
            y = step.inverse(y, context)
        return y


def _in_one_product(layers: Sequence[Invertible]) -> Iterator[Invertible]:
    left = list(layers)
    while left:
        layer = left.pop(0)
        is_pair = isinstance(layer, ActNorm) and left and isinstance(left[0], InvertibleConv)
        yield _NormedConv(layer, left.pop(0)) if is_pair else layer
