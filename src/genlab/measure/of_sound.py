"""How the figures of samples of sound are measured that need no features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from genlab.core.spec import DataSpec
from genlab.measure.case import Case
from genlab.modalities.waveform import DEFAULT_RATE_HZ, amplitudes

__all__ = ["QUIET_DB", "share_of_silence", "silence"]

QUIET_DB = -60.0
"""Decibels of full scale below which a stretch of sound is silent."""
_STRETCHES_PER_SECOND = 50
_AT_ONCE = 500


def silence(case: Case) -> Mapping[str, Any]:
    """Return the shares of silence in samples and in the data."""
    spec = case.reference.spec
    return {
        "silence": share_of_silence(case.samples.x, spec),
        "silence_real": share_of_silence(case.reference.examples.x, spec),
    }


def share_of_silence(x: Tensor, spec: DataSpec) -> float:
    """Return the share of stretches of 20 ms that are silent, padding included.

    A stretch is silent if the root mean square of its amplitudes lies more than 60 dB below full scale. What is left at
    the end of an example after the last whole stretch does not count.

    Args:
        x: ``[N, C, T]``, in the data's own values.
        spec: What one example is.
    """
    size = min(x.shape[-1], round((spec.sampling_rate_hz or DEFAULT_RATE_HZ) / _STRETCHES_PER_SECOND))
    quiet = [
        amplitudes(part, spec).unfold(-1, size, size).square().mean((1, -1)).sqrt() < 10 ** (QUIET_DB / 20)
        for part in x.split(_AT_ONCE)
    ]
    return float(torch.cat(quiet).double().mean())
