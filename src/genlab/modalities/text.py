"""Text: a sequence of symbols."""

from __future__ import annotations

from genlab.modalities.base import Modality
from genlab.modalities.registry import register

__all__ = ["Text"]


class Text(Modality):
    """Symbols ``[T]``, int64, numbers in an alphabet that has no order."""

    name = "text"
    axes = ("T",)
    layouts = ("sequence",)
    has_order = False


register(Text())
