"""Log-mel spectrograms: where tones lie, how loud they are, and that silence behind a sound changes nothing."""

from __future__ import annotations

import math

import pytest
import torch

from genlab.core.log_mel import BANDS, LEVELS, QUIETEST_DB, frames_of, log_mel


def tone(hertz: float, rate: int, seconds: float = 1.0, loudness: float = 1.0) -> torch.Tensor:
    times = torch.arange(round(seconds * rate)) / rate
    return loudness * (2 * math.pi * hertz * times).sin()[None, None]


def peak_of(hertz: float, rate: int) -> float:
    """The band in whose middle a tone lies, by hand."""
    mel = lambda f: 2595 * math.log10(1 + f / 700)  # noqa: E731
    return (mel(hertz) - mel(60)) / (mel(rate / 2) - mel(60)) * (BANDS + 1) - 1


@pytest.mark.parametrize("rate", [8000, 16000, 22050])
@pytest.mark.parametrize("hertz", [300, 1000, 3500])
def test_a_tone_lies_in_its_band_as_loud_as_it_is(hertz: float, rate: int) -> None:
    loud, quiet = (log_mel(tone(hertz, rate, loudness=part), rate)[0, 0, :, 10].int() for part in (1, 0.01))
    assert int(loud.argmax()) == pytest.approx(peak_of(hertz, rate), abs=1)
    assert int(loud.max()) == pytest.approx(LEVELS - 1, abs=12)
    assert int(loud.max() - quiet.max()) == pytest.approx(40 / QUIETEST_DB * (LEVELS - 1), abs=10)


def test_silence_behind_a_sound_changes_nothing() -> None:
    sound = torch.randn(2, 1, 3000, generator=torch.Generator().manual_seed(0)) * 0.1
    padded = torch.nn.functional.pad(sound, (0, 5000))
    assert torch.equal(log_mel(sound, 8000), log_mel(padded, 8000))
    assert log_mel(sound, 8000).shape == (2, 1, BANDS, 32)
    assert int(log_mel(padded, 8000)[..., -1].max()) == 0
    assert log_mel(torch.zeros(0, 1, 3000), 8000).shape == (0, 1, BANDS, 32)
    assert [frames_of(samples, 8000) for samples in (1, 8000, 8001)] == [32, 32, 64]


def test_sounds_do_not_depend_on_the_others() -> None:
    sounds = torch.randn(3, 2, 900, generator=torch.Generator().manual_seed(0))
    alone = torch.cat([log_mel(sound[None], 1000) for sound in sounds])
    assert torch.equal(log_mel(sounds, 1000), alone)
    assert alone.shape == (3, 2, BANDS, 32)
