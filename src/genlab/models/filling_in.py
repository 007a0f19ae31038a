"""What families share that fill in the rest of an example, given some of its values."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from genlab.core.codec import Codec
from genlab.core.contract import Inpainting

__all__ = ["FillsIn", "Given"]


class Given(NamedTuple):
    """What of examples is given.

    Attributes:
        x: ``[N, *spec.shape]``; what stands where nothing is kept may be anything.
        kept: ``[N, *spec.shape]``, bool.
        y: Labels ``[N]``; None for an unconditional model.
    """

    x: Tensor
    kept: Tensor
    y: Tensor | None


class FillsIn:
    """Beside :class:`genlab.models.base.GenerativeModel`, a family that :class:`genlab.core.contract.Inpaints`.

    It implements :meth:`_fill_in` and :meth:`inpainting`.
    """

    codec: Codec
    _labels_to_draw: Callable[[int, Tensor | None, Generator | None], Tensor | None]

    @torch.no_grad()
    def inpaint(
        self,
        x: Tensor,
        mask: Tensor,
        y: Tensor | None = None,
        generator: Generator | None = None,
        *,
        rounds: int | None = None,
    ) -> Tensor:
        """Keep the values of ``x`` where ``mask`` is true and draw the others; see
        :class:`genlab.core.contract.Inpaints`, and :meth:`inpainting` for how."""
        kept = self.codec.check_kept(x, mask)
        given = Given(x, kept, self._labels_to_draw(len(x), y, generator))
        filled = self._fill_in(given, generator, rounds)
        return filled.where(~kept, x.to(filled.dtype))

    @abstractmethod
    def _fill_in(self, given: Given, generator: Generator | None, rounds: int | None) -> Tensor:
        """Return ``[N, *spec.shape]`` in the data's own values and dtype; what is kept is put in its place after it."""

    @abstractmethod
    def inpainting(self, mask: Tensor, rounds: int | None = None) -> Inpainting:
        """Say how; see :class:`genlab.core.contract.Inpaints`."""
