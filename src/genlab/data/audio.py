"""Reading of sound files: any rate, depth and number of channels becomes one channel at one rate."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from genlab.core.errors import GenlabError

__all__ = ["read_audio"]

LOUDEST = 16
"""Amplitude above which floats are no sound from -1 to 1, but whole numbers in another form."""


def read_audio(path: Path, sampling_rate_hz: int) -> np.ndarray:
    """Read a sound file as one channel, the mean of all, at a sampling rate.

    Args:
        path: WAV or what else libsndfile reads.
        sampling_rate_hz: The rate wanted; the file is resampled by a polyphase filter if its own is another.

    Returns:
        float32 ``[S]``; integers are divided by the largest power of two of their depth, so they lie in ``[-1, 1)``.

    Raises:
        GenlabError: If the file is missing, is no such file, or holds values that are not finite or far beyond 1.
    """
    import soundfile  # not on the way to other data

    try:
        values, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError, TypeError) as error:
        reason = getattr(error, "error_string", "") or " ".join(str(error).split())
        raise GenlabError(f"{path} cannot be read as sound: {reason}") from error
    mono = values.mean(axis=1)
    if not len(mono):
        raise GenlabError(f"{path} holds no sound: it has 0 samples.")
    if not np.isfinite(mono).all():
        raise GenlabError(f"{path} holds values that are not finite.")
    if (peak := float(np.abs(mono).max())) > LOUDEST:
        raise GenlabError(
            f"{path} holds amplitudes up to {peak:g}, expected -1 to 1. Divide them, by 32768 if they are of 16 bits."
        )
    if rate != sampling_rate_hz:
        from scipy.signal import resample_poly

        common = math.gcd(rate, sampling_rate_hz)
        mono = resample_poly(mono, sampling_rate_hz // common, rate // common)
    return mono.astype(np.float32)
