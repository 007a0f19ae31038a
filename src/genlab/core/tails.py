"""Heavy tails tamed: values far from the mean brought nearer, invertibly, before data is standardized."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from genlab.core.codec import Affine
from genlab.core.likelihood import sum_dims

__all__ = ["Tails", "TamedAffine", "TamedAmplitude", "bend_of", "tamed"]

NORMAL_KURTOSIS = 3.0
_STEPS = 40
"""Halvings of the interval in which the bend is looked for."""
_WIDEST = 1e4
"""Its ends: this many times, and this many parts of, one over the standard deviation."""


def bend_of(values: Tensor) -> Tensor:
    """Return b, a scalar, for which asinh(b x) has the kurtosis of a normal distribution; 0 if x has no more than that.

    Args:
        values: ``[N]``, of mean zero.
    """
    x = values.double()
    deviation = x.square().mean().sqrt()
    if not deviation > 0 or not _kurtosis(x) > NORMAL_KURTOSIS:  # a constant's is no number
        return torch.zeros(())
    x = x / deviation
    low, high = (torch.tensor(end, dtype=torch.float64).log() for end in (1 / _WIDEST, _WIDEST))
    for _ in range(_STEPS):
        middle = (low + high) / 2
        # Ever nearer to the signs alone, whose kurtosis is least, as the bend grows.
        if _kurtosis(torch.asinh(middle.exp() * x)) > NORMAL_KURTOSIS:
            low = middle
        else:
            high = middle
    return (high.exp() / deviation).float()


def _kurtosis(x: Tensor) -> Tensor:
    squares = (x - x.mean()).square()
    return squares.square().mean() / squares.mean().square()


class TamedAmplitude(Affine):
    """Turn levels of sound into amplitudes a, bring loud ones nearer, and scale: ``y = scale * asinh(b a) / b``.

    Mu-law turns an error of a network into a relative one at nearly all amplitudes: a voice becomes a crackle, though
    its companded wave is nearly right, and its harmonics are bent out of shape. Here amplitudes below 1 / b are as they
    are, and those above bend as gently as it takes that a shout does not drown out a word spoken softly.

    Args:
        mu: That of the mu-law by which the levels are spaced; 0: evenly.
    """

    BEND = 5.0
    """The b of the formula. On spoken digits 20 did as well, in one short run of each."""
    _LARGEST = 30.0
    """Largest argument of the hyperbolic sine, far outside of what there is; what is larger would overflow."""

    def __init__(self, mu: float) -> None:
        super().__init__(())
        self.mu = mu

    @torch.no_grad()
    def fit(self, x: Tensor, deviation: float = 1.0, mask: Tensor | None = None) -> None:
        """Give all values of ``x``, in ``[0, 1]``, together this standard deviation about silence.

        Args:
            x: ``[N, C, T]``.
            deviation: That of the scaled values.
            mask: Bool, of the same shape, true where there is a value; None: all is there.
        """
        tamed = self._tamed(self._amplitude(x))
        power = (tamed if mask is None else tamed[mask]).square().mean()
        self.scale.copy_(deviation / power.sqrt() if power > 0 else torch.ones(()))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the scaled values of ``x`` in ``[0, 1]``, and the log-determinant ``[N]``, nats, of what is there."""
        amplitude = self._amplitude(x)
        slope = self.scale.log() + self._log_slope(amplitude)
        return self.scale * self._tamed(amplitude), sum_dims(slope, mask)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the values whose image is ``y`` and the log-determinant of this inverse ``[N]``, nats."""
        amplitude = torch.sinh((self.BEND * y / self.scale).clamp(-self._LARGEST, self._LARGEST)) / self.BEND
        signed = amplitude
        if self.mu:
            signed = amplitude.sign() * torch.log1p(self.mu * amplitude.abs()) / math.log1p(self.mu)
        return (signed + 1) / 2, -sum_dims(self.scale.log() + self._log_slope(amplitude))

    def _amplitude(self, x: Tensor) -> Tensor:
        signed = 2 * x - 1
        if not self.mu:
            return signed
        return signed.sign() * torch.expm1(signed.abs() * math.log1p(self.mu)) / self.mu

    def _tamed(self, amplitude: Tensor) -> Tensor:
        return torch.asinh(self.BEND * amplitude) / self.BEND

    def _log_slope(self, amplitude: Tensor) -> Tensor:
        """Log of the derivative of tamed amplitudes by values in ``[0, 1]``, elementwise."""
        tamed = -0.5 * torch.log1p((self.BEND * amplitude).square())
        if not self.mu:
            return tamed + math.log(2)
        # |a| = expm1(v ln(1 + mu)) / mu for |2 x - 1| = v, so that the slope is that of an exponential function.
        return tamed + torch.log1p(self.mu * amplitude.abs()) + math.log(2 * math.log1p(self.mu) / self.mu)


class Tails(nn.Module):
    """Bring values far from the mean of each column nearer, ``y = asinh(b (x - c)) / b``, where b is not 0.

    A state from before there were such is one of data as it is.

    Args:
        shape: Shape of one example; the first axis is that of the columns.
    """

    bend: Tensor
    centre: Tensor

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        columns = (shape[0], *[1] * (len(shape) - 1))
        self.register_buffer("bend", torch.zeros(columns))
        self.register_buffer("centre", torch.zeros(columns))
        self.register_load_state_dict_pre_hook(_without_tails)

    @torch.no_grad()
    def fit(self, x: Tensor) -> None:
        """Give each column of ``x [N, *shape]`` a normal kurtosis, if it has more."""
        bend, centre = _bends_and_centres(x)
        self.bend.copy_(bend.view_as(self.bend))
        self.centre.copy_(centre.view_as(self.centre))

    def forward(self, x: Tensor) -> Tensor:
        """Return values ``[N, *shape]`` with tamed tails."""
        return tamed(x - self.centre, self.bend)

    def inverse(self, y: Tensor) -> Tensor:
        """Return the values whose image is ``y``."""
        return _untamed(y, self.bend, self.centre)

    def log_slope(self, x: Tensor) -> Tensor:
        """Return the log-determinant of each value ``[N, *shape]``, nats."""
        return _log_slope(x, self.bend, self.centre)


def _without_tails(module: Tails, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    state.setdefault(f"{prefix}bend", torch.zeros_like(module.bend))
    state.setdefault(f"{prefix}centre", torch.zeros_like(module.centre))


def _bends_and_centres(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the bend and the mean of each column of ``x [N, C, ...]``, ``[C]`` each."""
    columns = x.flatten(2) if x.ndim > 2 else x[..., None]
    mean = columns.mean((0, 2))
    bends = [bend_of((columns[:, column] - mean[column]).flatten()) for column in range(x.shape[1])]
    return torch.stack(bends), mean


def _safe(bend: Tensor) -> Tensor:
    return torch.where(bend > 0, bend, 1.0)


def tamed(x: Tensor, bend: Tensor) -> Tensor:
    """Return asinh(b x) / b, elementwise; x where b is 0."""
    return torch.where(bend > 0, torch.asinh(_safe(bend) * x) / _safe(bend), x)


def _untamed(y: Tensor, bend: Tensor, centre: Tensor) -> Tensor:
    return torch.where(bend > 0, torch.sinh(_safe(bend) * y) / _safe(bend), y) + centre


def _log_slope(x: Tensor, bend: Tensor, centre: Tensor) -> Tensor:
    return -0.5 * torch.log1p((bend * (x - centre)).square())


class TamedAffine(Affine):
    """Tame the tails of each column, then scale and shift each dimension: ``y = scale * asinh(b (x - c)) / b + shift``.

    So a network sees values that are nearly normal, and its errors far from the mean are relative ones. Where b is 0
    nothing is tamed. A normal y makes x one of Johnson's S_U distributions: Johnson (1949), "Systems of frequency
    curves generated by methods of translation"; Gaussianizing returns before a network is trained on them is that of
    Wiese et al. (2020), "Quant GANs", section 6, there by another function.

    Args:
        shape: Shape of one example; the first axis is that of the columns.
    """

    bend: Tensor
    centre: Tensor

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__(shape)
        columns = (shape[0], *[1] * (len(shape) - 1))
        self.register_buffer("bend", torch.zeros(columns))
        self.register_buffer("centre", torch.zeros(columns))

    @torch.no_grad()
    def fit(self, x: Tensor, deviation: float = 1.0) -> None:
        """Give each column of ``x [N, *shape]`` a normal kurtosis, if it has more, and each dimension mean 0 and this
        standard deviation.
        """
        bend, centre = _bends_and_centres(x)
        self.bend.copy_(bend.view_as(self.bend))
        self.centre.copy_(centre.view_as(self.centre))
        self._standardize(tamed(x - self.centre, self.bend), deviation, self.centre)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the transformed values and the log-determinant ``[N]``, nats, of what a mask says is there."""
        y, log_det = super().forward(tamed(x - self.centre, self.bend), mask)
        return y, log_det + sum_dims(_log_slope(x, self.bend, self.centre), mask)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the values whose image is ``y`` and the log-determinant of this inverse ``[N]``, nats."""
        tamed, log_det = super().inverse(y)
        x = _untamed(tamed, self.bend, self.centre)
        return x, log_det - sum_dims(_log_slope(x, self.bend, self.centre))
