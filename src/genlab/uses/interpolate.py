"""Interpolate: a way from one example to another, along which each point is decoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from genlab.core.batch import Batch
from genlab.modalities.base import Places
from genlab.models.base import GenerativeModel
from genlab.uses.catalogue import require
from genlab.uses.codes import as_examples, decode, encode

__all__ = ["Interpolation", "PathName", "interpolate", "linear", "spherical"]

PathName = Literal["spherical", "linear"]

_STRAIGHT = 1e-4
"""Sine of an angle below which the arc is the line, or there is more than one."""


@dataclass(frozen=True)
class Interpolation:
    """A way between two examples.

    Attributes:
        values: What its points decode to, ``[steps, *spec.shape]``, floating point or symbols.
        x: The same as examples.
        z: Its points ``[steps, Z]``.
        kind: How the ends' codes are found; a few words.
    """

    values: Tensor
    x: Tensor
    z: Tensor
    kind: str

    @property
    def rows(self) -> dict[str, Tensor]:
        """The row of a picture."""
        return {"step": self.x}

    @property
    def places(self) -> Places:
        """What stands below the steps of a picture."""
        return Places("share of the way", [f"{share:.0%}" for share in torch.linspace(0, 1, len(self.x)).tolist()])


def interpolate(model: GenerativeModel, ends: Batch, steps: int, path: PathName = "spherical") -> Interpolation:
    """Encode two examples and decode points at equal steps between their codes; the ends are the reconstructions.

    A model that is told the label is told that of the nearer end. Where examples differ in length, the lengths too go
    from the one to the other.

    Args:
        model: In eval mode; must be one that :class:`~genlab.core.contract.Encodes`.
        ends: Two examples, on the CPU.
        steps: Points, with the ends; at least 2.
        path: ``spherical`` goes along the great circle, where the standard normal codes of a flow, and of most latents,
            are likely; ``linear`` straight through what may be an empty middle. White (2016), "Sampling generative
            networks", section 2.1.

    Raises:
        GenlabError: If the model has no codes, or the examples are not of its data.
    """
    require("interpolate", model)
    codes = encode(model, ends)
    share = torch.linspace(0, 1, steps, dtype=torch.float64)
    z = {"linear": linear, "spherical": spherical}[path](codes[0], codes[1], share)
    like = _between(ends, share)
    values = decode(model, z, like)
    return Interpolation(values, as_examples(values, model.spec, like.mask), z, model.encoding_kind())


def linear(a: Tensor, b: Tensor, share: Tensor) -> Tensor:
    """Return points ``[T, Z]`` on the line from ``a [Z]`` to ``b [Z]``, at shares ``[T]`` of the way."""
    share = share[:, None]
    return ((1 - share) * a.double() + share * b.double()).to(a.dtype)


def spherical(a: Tensor, b: Tensor, share: Tensor) -> Tensor:
    """Return points ``[T, Z]`` on the arc from ``a [Z]`` to ``b [Z]`` about the origin, at shares ``[T]`` of its angle.

    Shoemake (1985), "Animating rotation with quaternion curves", section 3.3. Where both lie in one direction, or in
    opposite ones, it is the line.
    """
    u, v = a.double(), b.double()
    cosine = (u @ v / (u.norm() * v.norm()).clamp_min(1e-300)).clamp(-1, 1)
    angle = cosine.arccos()
    if angle.sin() < _STRAIGHT:
        return linear(a, b, share)
    share = share[:, None]
    return ((((1 - share) * angle).sin() * u + (share * angle).sin() * v) / angle.sin()).to(a.dtype)


def _between(ends: Batch, share: Tensor) -> Batch:
    nearer = (share > 0.5).long()
    like = ends.rows(nearer)
    if ends.mask is None:
        return like
    lengths = ends.mask.flatten(1, -2)[:, 0].sum(1) if ends.mask.ndim > 2 else ends.mask.sum(1)
    each = (lengths[0] + share * (lengths[1] - lengths[0])).round().view(-1, *[1] * (ends.mask.ndim - 1))
    return like._replace(mask=(torch.arange(ends.mask.shape[-1]) < each).expand(like.x.shape))
