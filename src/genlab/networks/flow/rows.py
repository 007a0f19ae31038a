"""Rows of mixed tables as points of a space in which a flow has a density: categories as signs, cells filled."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from genlab.core.likelihood import Logit, sum_dims
from genlab.core.noise import uniform
from genlab.core.spec import DataSpec
from genlab.networks.blocks.columns import Columns, encoded_dims
from genlab.networks.flow.completion import LEAST_SHARE, Coordinates, in_cells

__all__ = ["RowCells"]

_LEAST_U = 2.0**-24
_LOG_SCALES = (-5.0, 2.0)
"""Bounds of the logarithm of a learned noise's scale: a narrower one would sit on one number of float32."""


class RowCells(nn.Module):
    """The cells that rows of a table are in a space of F dimensions, and the noise that fills them.

    A number is one dimension, in units of standardized data; a rounded one is a cell of its step. Of K categories the
    ``ceil(log2 K)`` bits of their number are a dimension each, of which a row says the sign alone: Hoogeboom et al.
    (2021), "Argmax flows and multinomial diffusion", section 3.2, the binary Cartesian product. A density p on the
    space gives a row the integral over its cell, and with noise q in the cell

        log P(x) >= E_q [log p(z) + log (dx-volume of z's cell) - log q(z | x)],

    equation 4 there and, for numbers, Ho et al. (2019), "Flow++", equation 12. Of numbers that are not rounded it is
    the density, in the table's own units. Signs that are no category's, where K is no power of two, are drawn as the
    category whose number is theirs modulo K, so that what a row is said to have it has at least.

    Args:
        spec: What one row is, with D columns.
        hidden: Units of the two layers that see the row and predict the noise of each of its cells; None: the noise is
            uniform.
        logit: Maps the unit interval, halved between the two values of a bit, to the line.
    """

    owners: Tensor
    places: Tensor
    is_sign: Tensor
    is_filled: Tensor

    def __init__(self, spec: DataSpec, hidden: int | None, logit: Logit) -> None:
        super().__init__()
        self.columns = Columns(spec)
        self.logit = logit
        bits = [(field.levels - 1).bit_length() if field.levels else 0 for field in spec.fields]
        owners = [(column, place) for column, count in enumerate(bits) for place in range(max(1, count))]
        fixed = {
            "owners": torch.tensor([column for column, _ in owners]),
            "places": torch.tensor([place for _, place in owners]),
            "is_sign": torch.tensor([bits[column] > 0 for column, _ in owners]),
            "is_filled": torch.tensor([bits[column] > 0 or spec.fields[column].rounded for column, _ in owners]),
        }
        for name, values in fixed.items():
            self.register_buffer(name, values, persistent=False)
        self.noise = None if hidden is None else _noise_network(encoded_dims(spec), hidden, 2 * self.num_features)

    @property
    def num_features(self) -> int:
        """F."""
        return len(self.owners)

    def uniform(self, x: Tensor, generator: Generator | None = None) -> Tensor:
        """Return noise for rows ``[N, D]``, uniform in (0, 1), ``[N, F]``."""
        shape, dtype = (len(x), self.num_features), self.columns.unit.dtype
        return uniform(shape, generator, x.device, dtype).clamp(_LEAST_U, 1 - _LEAST_U)

    def of_noise(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return a point in the cell of each row.

        Args:
            x: ``[N, D]`` in the table's own values.
            noise: What :meth:`uniform` returned.

        Returns:
            The points ``[N, F]``, and ``[N]``, nats: what is to be added to the log-density there, the logarithm of the
            cell's volume, in the table's own units, less that of the noise's density.
        """
        u, log_q = self._fill(x, noise)
        z, log_volume = self._points(x, u)
        return z, sum_dims(log_volume - log_q)

    def centres(self, x: Tensor) -> Tensor:
        """Return the points ``[N, F]`` in the middle of the cells of rows ``[N, D]``."""
        return self._points(x, self.columns.unit.new_full((x.shape[0], self.num_features), 0.5))[0]

    def _points(self, x: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return the points of rows whose noise is ``u``, and the logarithms of their cells' volumes, ``[N, F]``."""
        unit, width = (part[self.owners] for part in (self.columns.unit, self.columns.width))
        number = self.columns.standardize(x)[:, self.owners]
        number = torch.where(self.is_filled, number + width * (u - 0.5), number)
        bit = (x[:, self.owners].where(self.is_sign, 0).long() >> self.places) & 1
        # Both halves of the interval have the volume 1/2, in which the noise is uniform; the logit is the flow's.
        real, log_det = self._to_line((bit + u) / 2)
        z = torch.where(self.is_sign, real, number)
        log_volume = torch.where(
            self.is_sign, log_det - math.log(2), torch.where(self.is_filled, width.log(), -unit.log())
        )
        return z, log_volume

    def given(self, x: Tensor, kept: Tensor) -> Coordinates:
        """Return the coordinates of rows ``[N, D]`` of which values are given where ``kept [N, D]`` is true.

        A given category is held to its half of each bit, a given number to its cell, or to itself where it has none.
        """
        held = kept[:, self.owners]
        x = x.where(kept, 0)
        number, width = self.columns.standardize(x)[:, self.owners], self.columns.width[self.owners]
        bit = (x[:, self.owners].where(self.is_sign, 0).long() >> self.places) & 1
        low, share_width = bit.where(held, 0) / 2, 1 - held.to(number.dtype) / 2
        in_cell = held & self.is_filled & ~self.is_sign

        def place(w: Tensor) -> tuple[Tensor, Tensor]:
            share, log_share = in_cells(w, low, share_width)
            sign, log_sign = self._to_line(share)
            cell, log_cell = in_cells(w, number - width / 2, width)
            z = torch.where(self.is_sign, sign, torch.where(in_cell, cell, torch.where(held, number, w)))
            log_det = torch.where(self.is_sign, log_share + log_sign, torch.where(in_cell, log_cell, 0))
            return z, sum_dims(log_det)

        def of_point(z: Tensor) -> Tensor:
            share = self.logit.inverse(z)[0].clamp(LEAST_SHARE, 1 - LEAST_SHARE)
            return torch.where(self.is_sign, share.logit(), z)

        return Coordinates(~held | self.is_filled, ~held, place, of_point)

    def rows(self, z: Tensor) -> Tensor:
        """Return the rows ``[N, D]`` in whose cells points ``[N, F]`` lie."""
        bits = (z > 0).long().where(self.is_sign, 0) << self.places
        codes = torch.zeros(z.shape[0], len(self.columns.levels), dtype=torch.int64, device=z.device)
        codes = codes.index_add(1, self.owners, bits) % self.columns.levels
        numbers = torch.zeros_like(codes, dtype=z.dtype).index_add(1, self.owners, z.masked_fill(self.is_sign, 0))
        return torch.where(self.columns.is_category, codes.to(z.dtype), self.columns.restore(numbers))

    def _fill(self, x: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return noise ``[N, F]`` in (0, 1) made of uniform noise, and its log-density given the row.

        Where nothing is filled it has no effect. A learned one is a logistic variable, shifted and scaled, through the
        logistic function: uniform at the start.
        """
        if self.noise is None:
            return u, torch.zeros_like(u)
        with torch.autocast(x.device.type, enabled=False):
            shift, log_scale = self.noise(self.columns.encode(x).flatten(1)).chunk(2, dim=1)
        log_scale = log_scale.clamp(*_LOG_SCALES)
        start = torch.logit(u)
        end = shift + log_scale.exp() * start
        log_q = _log_slope(start) - log_scale - _log_slope(end)
        return torch.sigmoid(end).clamp(_LEAST_U, 1 - _LEAST_U), log_q.where(self.is_filled, 0)

    def _to_line(self, unit: Tensor) -> tuple[Tensor, Tensor]:
        """Map values ``[N, F]`` in (0, 1) to the line, each with its own log-determinant."""
        flat, log_det = self.logit.forward(unit.reshape(-1, 1))
        return flat.view_as(unit), log_det.view_as(unit)


def _log_slope(a: Tensor) -> Tensor:
    """Logarithm of the derivative of the logistic function."""
    return F.logsigmoid(a) + F.logsigmoid(-a)


def _noise_network(inputs: int, hidden: int, outputs: int) -> nn.Module:
    leave = nn.Linear(hidden, outputs)
    nn.init.zeros_(leave.weight)
    nn.init.zeros_(leave.bias)
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), leave)
