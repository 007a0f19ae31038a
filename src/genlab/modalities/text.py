"""Text: a sequence of symbols."""

from __future__ import annotations

from genlab.core.spec import DataSpec
from genlab.modalities.base import Modality
from genlab.modalities.registry import register

__all__ = ["Text"]


class Text(Modality):
    """Symbols ``[T]``, int64, numbers in an alphabet that has no order; bytes where there is no alphabet."""

    name = "text"
    axes = ("T",)
    layouts = ("sequence",)
    has_order = False
    is_stationary = True

    def bits_unit(self, spec: DataSpec) -> str:
        return "bits/byte" if spec.alphabet is None else "bits/char"


register(Text())
