"""Sound: companding, reading of files, trimming, and the splits of the spoken digits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from genlab.core.errors import GenlabError
from genlab.data.audio import read_audio
from genlab.data.sound import trimmed
from genlab.modalities.waveform import ENCODINGS

RATE = 8000
TONE = (0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)).astype(np.float32)


@pytest.mark.parametrize("name", ENCODINGS)
def test_levels_come_back_as_themselves(name: str) -> None:
    encoding = ENCODINGS[name]
    levels = torch.arange(encoding.levels)
    assert torch.equal(encoding.encode(encoding.decode(levels)), levels)
    assert int(encoding.encode(torch.zeros(()))) == encoding.levels // 2


def test_mu_law_is_its_formula() -> None:
    a = np.random.default_rng(0).uniform(-1, 1, 1000)
    expected = np.round((np.sign(a) * np.log(1 + 255 * np.abs(a)) / np.log(256) + 1) / 2 * 255)
    assert ENCODINGS["mulaw8"].encode(torch.from_numpy(a)).tolist() == expected.tolist()


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT", "PCM_U8"])
@pytest.mark.parametrize("channels", [1, 2])
def test_depths_and_channels_give_the_same_sound(tmp_path: Path, subtype: str, channels: int) -> None:
    path = tmp_path / "tone.wav"
    soundfile.write(path, np.repeat(TONE[:, None], channels, axis=1), RATE, subtype=subtype)
    np.testing.assert_allclose(read_audio(path, RATE), TONE, atol=0.01 if subtype == "PCM_U8" else 1e-4)


def test_another_rate_is_resampled(tmp_path: Path) -> None:
    path = tmp_path / "tone.wav"
    high = 44_100
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * 440 * np.arange(high) / high), high)
    found = read_audio(path, RATE)
    assert len(found) == RATE
    # Away from the ends, where the filter sees beyond the file.
    np.testing.assert_allclose(found[200:-200], TONE[200:-200], atol=2e-3)


def test_what_is_no_sound_is_told_in_a_line(tmp_path: Path) -> None:
    broken, empty = tmp_path / "broken.wav", tmp_path / "empty.wav"
    broken.write_bytes(b"RIFF....")
    soundfile.write(empty, np.zeros(0), RATE)
    with pytest.raises(GenlabError, match=r"broken.wav cannot be read as sound"):
        read_audio(broken, RATE)
    with pytest.raises(GenlabError, match=r"empty.wav holds no sound: it has 0 samples."):
        read_audio(empty, RATE)
    with pytest.raises(GenlabError, match=r"missing.wav cannot be read as sound"):
        read_audio(tmp_path / "missing.wav", RATE)


def test_whole_numbers_in_floats_are_told(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "loud.wav", 32768 * TONE, RATE, subtype="FLOAT")
    with pytest.raises(GenlabError, match=r"loud.wav holds amplitudes up to 163[^,]*, expected -1 to 1"):
        read_audio(tmp_path / "loud.wav", RATE)


def test_what_is_quiet_at_the_ends_is_cut_off() -> None:
    quiet = np.full(50, 1e-4, np.float32)
    loud = np.array([0.5, 1e-4, -0.5], np.float32)
    assert trimmed(np.concatenate([quiet, loud, quiet])).tolist() == loud.tolist()
    assert len(trimmed(np.zeros(10, np.float32))) == 10
