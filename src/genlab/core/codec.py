"""The codec: how levels become numbers for networks and back, how continuous data is standardized, what is refused.

Levels are whole numbers 0 to L - 1. Their arithmetic stands here once, so that every family sees the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from genlab.core.errors import GenlabError, shown
from genlab.core.likelihood import sum_dims, uniform_dequantize
from genlab.core.spec import DataSpec, Field

__all__ = [
    "CONSTANT",
    "Affine",
    "Codec",
    "cells_to_levels",
    "levels_to_centres",
    "levels_to_signed",
    "levels_to_unit",
    "mean_and_deviation",
    "one_hot",
    "to_grid",
]

INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
"""How levels may be stored; PyTorch does not compute with its other unsigned types."""


def levels_to_unit(x: Tensor, levels: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Scale levels evenly to ``[0, 1]``; the lowest is 0 and the highest 1."""
    return x.to(dtype) / (levels - 1)


def levels_to_signed(x: Tensor, levels: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Scale levels evenly to ``[-1, 1]``; the lowest is exactly -1 and the highest exactly 1."""
    return 2 * x.to(dtype) / (levels - 1) - 1


def levels_to_centres(x: Tensor, levels: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Map levels to the centres of their cells, the L equal parts of ``[0, 1]``."""
    return (x.to(dtype) + 0.5) / levels


def cells_to_levels(z: Tensor, levels: int) -> Tensor:
    """Return the levels, int64, in whose cells values in ``[0, 1]`` lie; values outside get the nearest."""
    return (z * levels).floor().clamp(0, levels - 1).long()


def one_hot(x: Tensor, symbols: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Map whole numbers ``[...]``, 0 to K - 1, to ``[..., K]``: 1 at the number, else 0.

    Unlike PyTorch's own it reads no values back to check them, on any device.
    """
    x = x.long()[..., None]
    return torch.zeros((*x.shape[:-1], symbols), dtype=dtype, device=x.device).scatter_(-1, x, 1)


CONSTANT = 1e-6
"""Standard deviation, over the largest absolute value, up to which values are taken for constant: their differences may
be those of rounding."""


def mean_and_deviation(
    x: Tensor, axes: Sequence[int] = (0,), *, smallest: float = 1e-3, correction: int = 1, offset: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the mean and the standard deviation over axes, by which data is standardized, whatever its unit.

    Args:
        x: ``[N, ...]``.
        axes: Axes over which they are taken, and which the result does not have.
        smallest: Bound below the deviation of a dimension that is constant but for rounding, so that it stays finite.
        correction: 1 for the unbiased variance, 0 for that of the sample.
        offset: What was taken off ``x`` before, whose rounding it has; broadcasts with the result.

    Returns:
        Both finite for finite data. One single value says nothing of its spread: it gets the deviation 1.
    """
    axes = tuple(axes)
    mean = x.mean(axes)
    if x.numel() == mean.numel():
        return mean, torch.ones_like(mean)
    deviation, largest = x.std(axes, correction=correction), torch.maximum(x.amax(axes), -x.amin(axes))
    if offset is not None:
        largest = torch.maximum(largest, offset.abs())
    return mean, torch.where(deviation > CONSTANT * largest, deviation, deviation.clamp_min(smallest))


class Affine(nn.Module):
    """Scale and shift each dimension by fixed values, kept in buffers: ``y = scale * x + shift``.

    Args:
        shape: Shape of one example, or () for one factor that all dimensions share.
        scale: Factor of every dimension, until :meth:`fit`; not 0.
        shift: What is added after it.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, shape: Sequence[int], scale: float = 1.0, shift: float = 0.0) -> None:
        super().__init__()
        self.register_buffer("scale", torch.full(tuple(shape), scale))
        self.register_buffer("shift", torch.full(tuple(shape), shift))

    @torch.no_grad()
    def fit(self, x: Tensor, deviation: float = 1.0) -> None:
        """Give each dimension of ``x [N, *shape]`` mean 0 and this standard deviation; a constant one stays finite."""
        self._standardize(x, deviation)

    def _standardize(self, x: Tensor, deviation: float, offset: Tensor | None = None) -> None:
        mean, of_data = mean_and_deviation(x, offset=offset)
        scale = deviation / of_data
        self.scale.copy_(scale)
        self.shift.copy_(-mean * scale)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the transformed values and the log-determinant ``[N]``, nats, of what a mask says is there."""
        log_det = self._log_det(x) if mask is None else sum_dims(self.scale.abs().log().expand_as(x), mask)
        return self.scale * x + self.shift, log_det

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the values whose image is ``y`` and the log-determinant of this inverse ``[N]``, nats."""
        return (y - self.shift) / self.scale, -self._log_det(y)

    def _log_det(self, x: Tensor) -> Tensor:
        return self.scale.abs().log().expand(x.shape[1:]).sum().expand(x.shape[0])


@dataclass(frozen=True)
class Codec:
    """Encodes the examples of a data set for networks, decodes what networks give, and refuses what is no example.

    Continuous values pass :meth:`to_signed` as they are: what standardizes them has a state, and is :class:`Affine` or
    a layer of the model.

    Args:
        spec: What one example is.
        dtype: How examples are stored; that of what is decoded.
    """

    spec: DataSpec
    dtype: torch.dtype

    @property
    def levels(self) -> int:
        """Number of values per dimension; for discrete data only."""
        assert self.spec.levels is not None, "continuous data has no levels"
        return self.spec.levels

    def to_unit(self, x: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Scale levels ``[N, ...]`` evenly to ``[0, 1]``; the lowest is 0 and the highest 1."""
        return levels_to_unit(x, self.levels, dtype)

    def to_signed(self, x: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Scale levels ``[N, ...]`` evenly to ``[-1, 1]``; continuous values keep theirs."""
        return levels_to_signed(x, self.levels, dtype) if self.spec.is_discrete else x.to(dtype)

    def to_centres(self, x: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Map levels to the centres of their cells, the L equal parts of ``[0, 1]``."""
        return levels_to_centres(x, self.levels, dtype)

    def to_cells(self, x: Tensor, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
        """Map levels to the lower and the upper ends of their cells."""
        return x.to(dtype) / self.levels, (x.to(dtype) + 1) / self.levels

    def dequantize(self, x: Tensor, generator: Generator | None = None) -> Tensor:
        """Draw a value in the cell of each level, uniformly; its density is L within the cell."""
        return uniform_dequantize(x, self.levels, generator).z

    def from_unit(self, values: Tensor) -> Tensor:
        """Round values in ``[0, 1]`` to the nearest levels of :meth:`to_unit`; values outside get the nearest level."""
        return self.as_data((values.float() * (self.levels - 1)).round().clamp(0, self.levels - 1))

    def from_signed(self, values: Tensor) -> Tensor:
        """Round values in ``[-1, 1]`` to the nearest levels; continuous values keep theirs."""
        return self.from_unit((values.float() + 1) / 2) if self.spec.is_discrete else self.as_data(values)

    def from_cells(self, z: Tensor) -> Tensor:
        """Return the levels in whose cells values in ``[0, 1]`` lie; values outside get the nearest."""
        return self.as_data(cells_to_levels(z, self.levels))

    def unrounded(self, z: Tensor) -> Tensor:
        """Return values in ``[0, 1]`` in units of levels, the inverse of :meth:`to_centres`: a cell's centre is k."""
        return z * self.levels - 0.5

    def unsigned(self, values: Tensor) -> Tensor:
        """Return values in ``[-1, 1]`` in units of levels, the inverse of :meth:`to_signed`."""
        return (values + 1) / 2 * (self.levels - 1)

    def nearest(self, values: Tensor) -> Tensor:
        """Return the levels nearest to values in units of levels."""
        return self.as_data(values.round().clamp(0, self.levels - 1))

    def as_data(self, values: Tensor) -> Tensor:
        """Return values in the data's own dtype."""
        return values.to(self.dtype)

    # What is refused.

    def check(self, x: Tensor) -> None:
        """Refuse what are no examples of this data. It reads values back from the device.

        Args:
            x: ``[N, *spec.shape]``; of levels one of :data:`INTEGERS`, of continuous data any floating dtype.

        Raises:
            GenlabError: If shape, dtype or range is another, or continuous data is not finite.
        """
        self.check_shape(x)
        if self.spec.is_discrete:
            self._check_levels(x)
        else:
            self._check_continuous(x)
            for column, field in enumerate(self.spec.fields):
                self._check_column(x.flatten(1)[:, column], field)

    def check_shape(self, x: Tensor) -> None:
        """Refuse what has not the shape ``[N, *spec.shape]``."""
        expected = self.spec.shape
        if x.ndim == 0 or tuple(x.shape[1:]) != expected:
            given = _batch_of(x.shape[1:]) if x.ndim == len(expected) + 1 else str(list(x.shape))
            raise GenlabError(f"x has shape {given}, expected {_batch_of(expected)} ({self.spec.name}).")

    def check_kept(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return where values of ``x`` are kept, ``[N, *spec.shape]``, and refuse what is kept if it is no such data.

        Args:
            x: ``[N, *spec.shape]``; what stands where ``mask`` is false is not looked at.
            mask: Boolean, true where values are kept; broadcasts with ``x``.

        Raises:
            GenlabError: If ``mask`` is not boolean or does not broadcast; and as :meth:`check` does.
        """
        self.check_shape(x)
        if mask.dtype != torch.bool:
            raise GenlabError(f"mask is {mask.dtype}, expected torch.bool, true where values are kept.")
        try:
            kept = mask.expand_as(x)
        except RuntimeError as error:
            raise GenlabError(
                f"mask has shape {list(mask.shape)}, expected one that broadcasts to that of x, {list(x.shape)}."
            ) from error
        self.check(x.masked_fill(~kept, 0))
        return kept

    def check_labels(self, y: Tensor, examples: int) -> None:
        """Refuse what are no labels of so many examples. It reads values back from the device.

        Args:
            y: ``[N]``, int64.
            examples: N.

        Raises:
            GenlabError: If shape, dtype or range is another.
        """
        classes = self.spec.num_classes
        if classes is None:
            return
        if tuple(y.shape) != (examples,):
            raise GenlabError(f"y has shape {list(y.shape)}, expected [{examples}], a label for each example.")
        expected = f"whole numbers 0 to {classes - 1} (int64), the classes of {self.spec.name}"
        if y.dtype != torch.int64:  # as embeddings and one-hot vectors ask
            raise GenlabError(f"y is {_name(y.dtype)}, expected {expected}.")
        if (ends := _outside(y, classes)) is not None:
            raise GenlabError(f"y has values from {ends[0]} to {ends[1]}, expected {expected}.")

    def _check_levels(self, x: Tensor) -> None:
        expected = f"whole numbers 0 to {self.levels - 1} ({_name(self.dtype)}), the levels of {self.spec.name}"
        advice = "Give the data as it is."
        if x.dtype not in INTEGERS:
            raise GenlabError(f"x is {_name(x.dtype)}, expected {expected}. {advice}")
        if (ends := _outside(x, self.levels)) is not None:
            raise GenlabError(f"x has values from {ends[0]} to {ends[1]}, expected {expected}. {advice}")

    def _check_continuous(self, x: Tensor) -> None:
        name = self.spec.name
        if not x.dtype.is_floating_point:
            raise GenlabError(
                f"x is {_name(x.dtype)}, expected continuous values ({_name(self.dtype)}), as those of {name} are."
            )
        bad = ~x.detach().isfinite().flatten(1).all(1)
        if bad.any():
            raise GenlabError(
                f"x has values that are not finite, in {int(bad.sum()):,} of {len(x):,} examples, expected numbers "
                f"({name}). Remove these examples or fill in what is missing."
            )

    def _check_column(self, x: Tensor, field: Field) -> None:
        where = f"column '{shown(field.name)}' of {self.spec.name}"
        if field.levels is not None:
            if len(x) and ((x != x.round()) | (x < 0) | (x >= field.levels)).any():
                raise GenlabError(
                    f"{where} has values from {float(x.min()):g} to {float(x.max()):g}, expected whole numbers "
                    f"0 to {field.levels - 1}, its categories. Give the data as it is."
                )
        elif field.step is not None and ((to_grid(x, field.decimals or 0) - x).abs() > field.step / 4).any():
            raise GenlabError(
                f"{where} has values between those with {field.decimals} decimals, whose probability it is. "
                "Give the data as it is."
            )


def to_grid(x: Tensor, decimals: int) -> Tensor:
    """Round numbers to so many decimals, at most 10: each becomes the float nearest to the decimal fraction.

    By a quotient of whole numbers, which is rounded once: so what is drawn equals what was read.
    """
    return (x * 10.0**decimals).round() / 10.0**decimals


def _batch_of(shape: Sequence[int]) -> str:
    return f"[N, {', '.join(map(str, shape))}]"


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _outside(x: Tensor, count: int) -> tuple[int, int] | None:
    """Return the lowest and the highest value unless all lie in ``[0, count)``."""
    if x.numel() == 0:
        return None
    lowest, highest = torch.stack(x.aminmax()).tolist()  # one look at the device, not two
    return (lowest, highest) if lowest < 0 or highest >= count else None
