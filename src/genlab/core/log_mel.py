"""Log-mel spectrograms: sound as pictures of how loud each band of frequencies is at each time."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["BANDS", "FRAMES_PER_SECOND", "LEVELS", "QUIETEST_DB", "frames_of", "log_mel"]

BANDS = 32
"""Bands of frequencies, of equal width on the mel scale, from 60 Hz to half of the sampling rate."""
FRAMES_PER_SECOND = 32
LEVELS = 256
QUIETEST_DB = 90
"""Decibels below full scale that, with all that is quieter, become level 0."""

_LOWEST_HZ = 60.0
_AT_ONCE = 1 << 24
"""Values of the frames that are transformed together, which bounds the memory."""


def frames_of(samples: int, rate: int) -> int:
    """Return the number of frames of so many samples: those of the seconds that hold them, none cut."""
    return FRAMES_PER_SECOND * math.ceil(samples / rate)


@torch.no_grad()
def log_mel(amplitudes: Tensor, rate: int) -> Tensor:
    """Return spectrograms of sound as pictures, the lowest frequencies on top: uint8 ``[N, C, 32, frames]``.

    Each frame is a Hann window of a sixteenth of a second, and the next begins after half of it. The power in a band is
    in decibels below that of a full-scale sine, scaled to 256 levels. Sound is followed by silence up to a whole
    second, so that silence at the end, or none, gives the same picture.

    Args:
        amplitudes: ``[N, C, T]`` in ``[-1, 1]``, floating point.
        rate: Samples per second.
    """
    frames, window = frames_of(amplitudes.shape[-1], rate), max(2, round(2 * rate / FRAMES_PER_SECOND))
    starts = (torch.arange(frames, device=amplitudes.device) * rate / FRAMES_PER_SECOND).round().long()
    padded = F.pad(amplitudes.float(), (0, int(starts[-1]) + window - amplitudes.shape[-1]))
    places = starts[:, None] + torch.arange(window, device=amplitudes.device)
    rows = max(1, _AT_ONCE // (amplitudes.shape[1] * places.numel()))
    if not len(padded):
        return torch.zeros((0, amplitudes.shape[1], BANDS, frames), dtype=torch.uint8, device=padded.device)
    return torch.cat([_of_frames(part[..., places], rate) for part in padded.split(rows)])


def _of_frames(frames: Tensor, rate: int) -> Tensor:
    hann = torch.hann_window(frames.shape[-1], device=frames.device)
    power = torch.fft.rfft(frames * hann).abs().square() * (2 / hann.sum()) ** 2
    bands = power @ _filters(frames.shape[-1], rate).to(power.device)
    decibels = 10 * bands.clamp_min(1e-12).log10()
    scaled = ((decibels + QUIETEST_DB) / QUIETEST_DB).clamp(0, 1) * (LEVELS - 1)
    return scaled.round().byte().transpose(-1, -2)


@functools.lru_cache(maxsize=16)
def _filters(window: int, rate: int) -> Tensor:
    """Triangles over the frequencies of a window, ``[window // 2 + 1, BANDS]``, each with a peak of 1.

    The mel scale is O'Shaughnessy's: 2595 log10(1 + f / 700).
    """
    frequencies = torch.fft.rfftfreq(window, 1 / rate).double()
    lowest, highest = (2595 * math.log10(1 + f / 700) for f in (_LOWEST_HZ, max(rate / 2, 2 * _LOWEST_HZ)))
    edges = 700 * (10 ** (torch.linspace(lowest, highest, BANDS + 2).double() / 2595) - 1)
    below, peak, above = edges[:-2], edges[1:-1], edges[2:]
    rising = (frequencies[:, None] - below) / (peak - below)
    falling = (above - frequencies[:, None]) / (above - peak)
    return torch.minimum(rising, falling).clamp_min(0).float()
