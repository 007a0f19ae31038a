"""Waveforms: sound as it is heard, amplitude after amplitude."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from genlab.core.spec import DataSpec
from genlab.modalities.base import Modality
from genlab.modalities.registry import register

__all__ = ["ENCODINGS", "Encoding", "Waveform", "amplitudes"]

_MU = 255


class Encoding(ABC):
    """How amplitudes in ``[-1, 1]`` are stored as levels, an even number of them; the upper middle one is silence.

    Attributes:
        levels: Number of levels.
    """

    levels: int

    @abstractmethod
    def encode(self, amplitudes: Tensor) -> Tensor:
        """Return levels, int64; amplitudes outside of ``[-1, 1]`` get the nearest."""

    @abstractmethod
    def decode(self, levels: Tensor) -> Tensor:
        """Return amplitudes, float32 in ``[-1, 1]``."""


class _MuLaw8(Encoding):
    """Companding to 8 bits, ITU-T recommendation G.711 as WaveNet uses it: finer where it is quiet.

    Van den Oord et al. (2016), "WaveNet: A generative model for raw audio", section 2.2.
    """

    levels = 256

    def encode(self, amplitudes: Tensor) -> Tensor:
        a = amplitudes.double().clamp(-1, 1)
        companded = a.sign() * torch.log1p(_MU * a.abs()) / math.log1p(_MU)
        return ((companded + 1) / 2 * (self.levels - 1)).round().long()

    def decode(self, levels: Tensor) -> Tensor:
        # Silence lies between two levels; both come back as an amplitude of less than a 16-bit step.
        companded = 2 * levels.double() / (self.levels - 1) - 1
        return (companded.sign() * torch.expm1(companded.abs() * math.log1p(_MU)) / _MU).float()


class _Pcm16(Encoding):
    """Linear 16 bits, as in most WAV files."""

    levels = 65536

    def encode(self, amplitudes: Tensor) -> Tensor:
        return (amplitudes.double() * 32768).round().clamp(-32768, 32767).long() + 32768

    def decode(self, levels: Tensor) -> Tensor:
        return ((levels.double() - 32768) / 32768).float()


ENCODINGS: dict[str, Encoding] = {"mulaw8": _MuLaw8(), "pcm16": _Pcm16()}
"""How amplitudes may be stored, by name."""


def amplitudes(x: Tensor, spec: DataSpec) -> Tensor:
    """Return sound in a data set's own values as amplitudes in ``[-1, 1]``, float32 of the same shape."""
    encoding = next((found for found in ENCODINGS.values() if found.levels == spec.levels), None)
    if encoding is not None:
        return encoding.decode(x)
    # Levels that no encoding has are spread evenly.
    return x.float() if spec.levels is None else 2 * x.float() / (spec.levels - 1) - 1


class Waveform(Modality):
    """Amplitudes ``[C, T]``: float32 in ``[-1, 1]``, or int64 where they are levels. Silence is the middle one."""

    name = "waveform"
    axes = ("C", "T")
    layouts = ("signal", "sequence")
    is_stationary = True
    is_large = True

    def bits_unit(self, spec: DataSpec) -> str:
        return "bits/sample"

    def padding(self, spec: DataSpec) -> float:
        return 0.0 if spec.levels is None else spec.levels // 2


register(Waveform())
