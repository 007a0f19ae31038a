"""Waveforms: sound as it is heard, amplitude after amplitude."""

from __future__ import annotations

import io
import math
import textwrap
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genlab.core.errors import GenlabError, shown
from genlab.core.log_mel import BANDS, LEVELS, frames_of, log_mel
from genlab.core.spec import DataSpec
from genlab.modalities.base import Modality, Places
from genlab.modalities.registry import register
from genlab.runs.atomic import atomic_file, write_atomic

__all__ = ["DEFAULT_RATE_HZ", "ENCODINGS", "Encoding", "Waveform", "amplitudes"]

_MU = 255

IN_A_ROW = 4
"""Samples in a picture, and as many real ones below them."""
QUIETEST_DB = 90
"""Where the scale of spectrograms ends, below full scale."""
LEAST_PEAK = 0.01
"""Largest amplitude of a scale that is not drawn larger: what is quieter is silence."""
DEFAULT_RATE_HZ = 8000
"""Of files of sound whose rate nobody said."""


class Encoding(ABC):
    """How amplitudes in ``[-1, 1]`` are stored as levels, an even number of them; the upper middle one is silence.

    Attributes:
        levels: Number of levels.
        mu: That of the mu-law by which they are spaced; 0: evenly.
    """

    levels: int
    mu: float

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
    mu = _MU

    def encode(self, amplitudes: Tensor) -> Tensor:
        a = amplitudes.double().clamp(-1, 1)
        companded = a.sign() * torch.log1p(_MU * a.abs()) / math.log1p(_MU)
        return ((companded + 1) / 2 * (self.levels - 1)).round().long()

    def decode(self, levels: Tensor) -> Tensor:
        # Silence lies between two levels; both come back as an amplitude of less than three 16-bit steps, -81 dB.
        companded = 2 * levels.double() / (self.levels - 1) - 1
        return (companded.sign() * torch.expm1(companded.abs() * math.log1p(_MU)) / _MU).float()


class _Pcm16(Encoding):
    """Linear 16 bits, as in most WAV files."""

    levels = 65536
    mu = 0

    def encode(self, amplitudes: Tensor) -> Tensor:
        return (amplitudes.double() * 32768).round().clamp(-32768, 32767).long() + 32768

    def decode(self, levels: Tensor) -> Tensor:
        return ((levels.double() - 32768) / 32768).float()


ENCODINGS: dict[str, Encoding] = {"mulaw8": _MuLaw8(), "pcm16": _Pcm16()}
"""How amplitudes may be stored, by name."""


def _encoding(levels: int | None) -> Encoding | None:
    return next((found for found in ENCODINGS.values() if found.levels == levels), None)


def amplitudes(x: Tensor, spec: DataSpec) -> Tensor:
    """Return sound in a data set's own values as amplitudes in ``[-1, 1]``, float32 of the same shape."""
    encoding = _encoding(spec.levels)
    if encoding is not None:
        return encoding.decode(x)
    # Levels that no encoding has are spread evenly.
    return x.float() if spec.levels is None else 2 * x.float() / (spec.levels - 1) - 1


class Waveform(Modality):
    """Amplitudes ``[C, T]``: float32 in ``[-1, 1]``, or int64 where they are levels. Silence is the middle one.

    A preview shows some samples as waveforms above their spectrograms, real ones below; each is also a WAV file. Their
    quality is measured on the features of their log-mel spectrograms, see :func:`genlab.core.log_mel.log_mel`.
    """

    name = "waveform"
    axes = ("C", "T")
    layouts = ("signal", "sequence")
    is_stationary = True
    is_large = True
    features = "network"
    judged_as = frozenset({"sound"})
    sample_figure = "fid"
    most_shown = 8
    endings_of_one = (".wav", ".flac")

    def bits_unit(self, spec: DataSpec) -> str:
        return "bits/sample"

    def mu(self, spec: DataSpec) -> float | None:
        if spec.levels is None:
            return None
        # Levels that no encoding has are spread evenly.
        encoding = _encoding(spec.levels)
        return encoding.mu if encoding is not None else 0

    def padding(self, spec: DataSpec) -> float:
        return 0.0 if spec.levels is None else spec.levels // 2

    def pictured(self, spec: DataSpec) -> DataSpec:
        frames = frames_of(spec.shape[-1], spec.sampling_rate_hz or DEFAULT_RATE_HZ)
        shape = (spec.shape[0], BANDS, frames)
        return DataSpec(spec.name, "image", shape, LEVELS, spec.num_classes, extractor=spec.extractor)

    def pictures(self, x: Tensor, spec: DataSpec) -> Tensor:
        return log_mel(amplitudes(x, spec), spec.sampling_rate_hz or DEFAULT_RATE_HZ)

    def preview(self, samples: Tensor, spec: DataSpec, path: Path, title: str, real: Tensor | None = None) -> bool:
        _draw_bands({"sample": samples} | ({} if real is None else {"real": real}), IN_A_ROW, spec, path, title)
        return True

    def preview_rows(
        self, rows: Mapping[str, Tensor], spec: DataSpec, path: Path, title: str, places: Places | None = None
    ) -> bool:
        _draw_bands(rows, len(places.names) if places else IN_A_ROW, spec, path, title, places)
        return True

    def write(self, samples: Tensor, spec: DataSpec, stem: Path, labels: Tensor | None = None) -> list[Path]:
        stem.parent.mkdir(parents=True, exist_ok=True)
        return [
            self.write_one(sound, spec, stem.with_name(f"{stem.name}_{number}"))
            for number, sound in enumerate(samples[: self.most_shown], 1)
        ]

    def write_one(self, example: Tensor, spec: DataSpec, stem: Path) -> Path:
        import soundfile

        path, content = stem.with_name(f"{stem.name}.wav"), io.BytesIO()
        rate = spec.sampling_rate_hz or DEFAULT_RATE_HZ
        sound = amplitudes(example.cpu(), spec).clamp(-1, 1).T.numpy()
        soundfile.write(content, sound, rate, format="WAV", subtype="PCM_16")
        write_atomic(path, content.getvalue())
        return path

    def read_one(self, path: Path, spec: DataSpec) -> Tensor:
        import soundfile

        channels, length = spec.shape
        try:
            values, rate = soundfile.read(path, dtype="float32", always_2d=True)
        except (soundfile.SoundFileError, OSError, TypeError) as error:
            reason = getattr(error, "error_string", "") or " ".join(str(error).split())
            raise GenlabError(f"{shown(path)} cannot be read as sound: {reason}") from error
        wanted = spec.sampling_rate_hz or DEFAULT_RATE_HZ
        if rate != wanted or values.shape[1] != channels or len(values) > length:
            raise GenlabError(
                f"{shown(path)} has {len(values):,} values of {values.shape[1]} channels at {rate:,} Hz, expected at "
                f"most {length:,} of {channels} at {wanted:,} Hz, as those of {spec.name}."
            )
        sound = torch.from_numpy(values.T)
        found = torch.full((channels, length), self.padding(spec), dtype=self.dtype(spec))
        found[:, : sound.shape[1]] = sound if spec.levels is None else _levels(sound, spec.levels)
        return found


def _levels(amplitudes: Tensor, levels: int) -> Tensor:
    encoding = _encoding(levels)
    if encoding is not None:
        return encoding.encode(amplitudes)
    return ((amplitudes.double().clamp(-1, 1) + 1) / 2 * (levels - 1)).round().long()


def _draw_bands(
    rows: Mapping[str, Tensor], most: int, spec: DataSpec, path: Path, title: str, places: Places | None = None
) -> None:
    """Draw rows of sounds, each as its waveform above its spectrogram."""
    # The object interface: pyplot would look for a display and keep the figure alive.
    from matplotlib.figure import Figure

    bands = {name: amplitudes(sounds[:most].cpu(), spec).mean(1).numpy() for name, sounds in rows.items()}
    # One scale for all, that of the loudest: quiet recordings would be lines.
    peak = max(float(np.abs(sounds[np.isfinite(sounds)]).max(initial=LEAST_PEAK)) for sounds in bands.values())
    columns = max(map(len, bands.values()))
    figure = Figure(figsize=(2.9 * columns + 0.8, 3.4 * len(bands) + 0.5), layout="constrained")
    panels = figure.subplots(2 * len(bands), columns, squeeze=False, height_ratios=[1, 2] * len(bands))
    image = None
    for band, (name, sounds) in enumerate(bands.items()):
        for column, sound in enumerate(sounds):
            above, below = panels[2 * band : 2 * band + 2, column]
            image = _draw_sound(above, below, sound, spec.sampling_rate_hz)
            above.set_ylim(-1.05 * peak, 1.05 * peak)
            of = f"{name} {column + 1}" if places is None else f"{name}: {places.names[column]}"
            of = name if band and "example" in bands else of
            above.set_title(of, fontsize=8, loc="left", parse_math=False)
            if column == 0:
                above.set_ylabel("amplitude", fontsize=8)
                below.set_ylabel("frequency (Hz)" if spec.sampling_rate_hz else "cycles per sample", fontsize=8)
        for axes in panels[2 * band : 2 * band + 2, len(sounds) :].flat:
            axes.set_axis_off()
    if image is not None:
        scale = figure.colorbar(image, ax=panels[1::2, -1], fraction=0.08)
        scale.set_label("dB, 0 being full scale", fontsize=8)
        scale.ax.tick_params(labelsize=7)
    along = "" if places is None else f"; across: {places.label}"
    figure.suptitle(textwrap.fill(f"{title}{along}", 40 * columns), fontsize=8, parse_math=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as file:
        figure.savefig(file, format="png", dpi=110, metadata={"Title": title})


def _draw_sound(above: Any, below: Any, sound: np.ndarray, rate: int | None) -> Any:
    """Draw a waveform and its spectrogram, and return what has the scale of the latter."""
    from scipy.signal import spectrogram

    rate, unit = (rate, "time (s)") if rate else (1, "sample")
    above.plot(np.arange(len(sound)) / rate, sound, linewidth=0.4, color="tab:blue")
    above.set_xlim(0, len(sound) / rate)
    window = min(256, len(sound))
    frequencies, times, power = spectrogram(sound, rate, nperseg=window, noverlap=3 * window // 4, scaling="spectrum")
    decibels = 10 * np.log10(power + 1e-12)
    image = below.pcolormesh(times, frequencies, decibels, vmin=-QUIETEST_DB, vmax=0, cmap="magma", rasterized=True)
    below.set_xlabel(unit, fontsize=8)
    for axes in (above, below):
        axes.tick_params(labelsize=7)
    above.tick_params(labelbottom=False)
    return image


register(Waveform())
