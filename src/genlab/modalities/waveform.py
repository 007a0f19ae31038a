"""Waveforms: sound as it is heard, amplitude after amplitude."""

from __future__ import annotations

from genlab.modalities.base import Modality
from genlab.modalities.registry import register

__all__ = ["Waveform"]


class Waveform(Modality):
    """Amplitudes ``[C, T]``: float32, or int64 where they are levels."""

    name = "waveform"
    axes = ("C", "T")
    layouts = ("signal",)
    is_large = True


register(Waveform())
