"""Sizes of the networks of normalizing flows, and how they are made for data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Le, MinLen, MultipleOf
from torch import nn

from genlab.core.errors import GenlabError
from genlab.core.likelihood import Logit, NoiseDequantizer, uniform_dequantize
from genlab.core.spec import DataSpec
from genlab.modalities import has_layout
from genlab.models.options import Depth, Repeats, Width
from genlab.networks.flow.dequantization import VariationalDequantizer
from genlab.networks.flow.multiscale import MultiScaleFlow, num_scales
from genlab.networks.flow.rows import RowCells
from genlab.networks.flow.signals import SignalFlow
from genlab.networks.flow.splines import AffineTransform, ElementwiseTransform, SplineTransform
from genlab.networks.flow.vector_flows import VectorFlow

__all__ = ["MultiScaleConfig", "SignalConfig", "TableConfig", "VectorConfig"]

_INSTEAD = "Use model.network=nsf."


def _transform(coupling: str, bins: int) -> ElementwiseTransform:
    return SplineTransform(bins) if coupling == "spline" else AffineTransform()


@dataclass(frozen=True)
class MultiScaleConfig:
    """Sizes of the multi-scale coupling flow; see :class:`genlab.networks.flow.multiscale.MultiScaleFlow`.

    Args:
        coupling: Element-wise transform of the couplings.
        bins: Segments of a spline.
        hidden: Channels of the coupling networks at each scale, finest first; the last is repeated.
        blocks: Residual blocks of a coupling network.
        checkerboard_steps: Checkerboard couplings at the finest scale.
        channel_steps: Channel couplings at each scale, finest first; the last is repeated.
        dequantization: Noise that fills the cells of discrete data.
        dequantization_hidden: Channels of the variational dequantizer's networks.
        dequantization_steps: Couplings of the variational dequantizer.
    """

    coupling: Literal["spline", "affine"]
    bins: Annotated[int, Ge(2), Le(500)]
    hidden: Annotated[list[Width], MinLen(1)]
    blocks: Repeats
    checkerboard_steps: Repeats
    channel_steps: Annotated[list[Repeats], MinLen(1)]
    dequantization: Literal["uniform", "variational"]
    dequantization_hidden: Width
    dequantization_steps: Depth

    def build(self, spec: DataSpec, context: int) -> tuple[nn.Module, NoiseDequantizer]:
        """Return the density and the dequantizer for images of ``spec``."""
        if not has_layout(spec, "grid") or num_scales(*spec.shape[1:]) == 0:
            raise GenlabError(
                f"The multi-scale flow needs images whose sides are even and at least 4, but {spec.name} is "
                f"{spec.modality} of shape {spec.shape}. {_INSTEAD}"
            )
        network = MultiScaleFlow(
            spec.shape,
            _transform(self.coupling, self.bins),
            hidden=self.hidden,
            blocks=self.blocks,
            checkerboard_steps=self.checkerboard_steps,
            channel_steps=self.channel_steps,
            context=context,
        )
        dequantizers: dict[str, Callable[[], NoiseDequantizer]] = {
            "uniform": lambda: uniform_dequantize,
            "variational": lambda: VariationalDequantizer(
                spec.shape[0], self.dequantization_hidden, self.dequantization_steps
            ),
        }
        return network, dequantizers[self.dequantization]()


@dataclass(frozen=True)
class SignalConfig:
    """Sizes of the multi-scale flow on sound; see :class:`genlab.networks.flow.signals.SignalFlow`.

    Args:
        coupling: Element-wise transform of the couplings.
        bins: Segments of a spline.
        squeeze: Neighbouring values that make a column at the finest scale, an even number; each later scale joins two.
        steps: Couplings at each scale, finest first.
        hidden: Channels of the couplings' networks.
        dilations: Of the layers of each of these networks, in columns.
    """

    coupling: Literal["spline", "affine"]
    bins: Annotated[int, Ge(2), Le(500)]
    squeeze: Annotated[int, Ge(2), Le(1024), MultipleOf(2)]
    steps: Annotated[list[Depth], MinLen(1)]
    hidden: Width
    dilations: Annotated[list[Width], MinLen(1)]

    def build(self, spec: DataSpec, context: int) -> tuple[nn.Module, NoiseDequantizer]:
        """Return the density and the dequantizer for sound of ``spec``."""
        if not has_layout(spec, "signal"):
            raise GenlabError(f"network=waveglow needs sound, but {spec.name} is {spec.modality}. {_INSTEAD}")
        flow = SignalFlow(
            spec.shape,
            _transform(self.coupling, self.bins),
            squeeze=self.squeeze,
            steps=self.steps,
            hidden=self.hidden,
            dilations=self.dilations,
            context=context,
        )
        return flow, uniform_dequantize


@dataclass(frozen=True)
class VectorConfig:
    """Sizes of the flows on vectors; see :class:`genlab.networks.flow.vector_flows.VectorFlow`.

    Args:
        transforms: Number of transforms.
        hidden: Widths of the hidden layers of each transform.
    """

    transforms: Depth
    hidden: list[Width]

    def build(self, kind: str, num_dims: int, context: int) -> tuple[nn.Module, NoiseDequantizer]:
        """Return the density and the dequantizer for vectors of so many dimensions, or flattened images."""
        flow = VectorFlow(kind, num_dims, transforms=self.transforms, hidden=self.hidden, context=context)
        return flow, uniform_dequantize


@dataclass(frozen=True)
class TableConfig:
    """How categories and rounded numbers of tables become points of a space; see
    :class:`genlab.networks.flow.rows.RowCells`.

    Args:
        dequantization: Noise that fills their cells.
        hidden: Units of the network of the variational noise.
    """

    dequantization: Literal["uniform", "variational"]
    hidden: Width

    def build(self, spec: DataSpec, logit: Logit) -> RowCells | None:
        """Return the cells of the rows of ``spec``; None where all its values have a density, or it is no table."""
        if not spec.needs & {"fields", "cells"}:
            return None
        return RowCells(spec, self.hidden if self.dequantization == "variational" else None, logit)
