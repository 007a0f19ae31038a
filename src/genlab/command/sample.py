"""Draw samples from a trained run."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import torch
from omegaconf import DictConfig
from torch import Tensor

from genlab.command.config import check_config
from genlab.command.schemas import SampleConfig
from genlab.command.used_run import UsedRun
from genlab.core.errors import GenlabError
from genlab.core.memory import check_examples_fit, say_bytes
from genlab.core.spec import DataSpec
from genlab.core.timetable import Timetable
from genlab.core.words import counted
from genlab.modalities import modality_of
from genlab.models.base import GenerativeModel
from genlab.processes.display import Display
from genlab.runs.atomic import make_room
from genlab.uses.arrays import Stored, write_arrays
from genlab.uses.sample import label_number, labels_of_samples, sample

__all__ = ["run"]

_LABELS_AT_ONCE = 1_000_000
_COMPRESSED = {"npz": 1032, "safetensors": 1}
"""How many times smaller a file can be than its arrays at the most: what DEFLATE makes of zeros."""


def run(config: DictConfig) -> Path:
    """Draw ``config.n`` samples from ``config.run``, save them as an array, a picture and what they are, and say where.

    The file of the array holds ``x [n, ...]`` in the data's own values and, of a model that is told labels,
    ``y [n]``, the class of each. Of large examples only those that the picture shows are kept in memory. A JSON file
    says how to make them again.

    Args:
        config: The composed config.
    """
    settings = check_config(config, SampleConfig)
    used = UsedRun.load("sample", settings, "scripts/sample.py", settings.sampling)
    model, n, label = used.model, settings.n, label_number(used.model, settings.label)
    spec, modality = model.spec, modality_of(model.spec)
    if settings.files and not modality.has_files(spec):
        raise GenlabError(
            f"files is true, but {spec.modality} data like {spec.name} has no files of single examples. Leave files "
            f"out: all are in the .{settings.format} file."
        )
    name = f"sample_n{n}_s{settings.seed}" + ("" if label is None else f"_y{label}")
    name += "".join(f"_{key}{value}" for key, value in (settings.sampling or {}).items())
    name += "_last" if settings.checkpoint == "last" else ""
    endings = (f".{settings.format}", ".png", ".json")
    path = used.place_for(settings.out, name, endings)
    parts = _Parts(used, settings, label, path)
    check_examples_fit("n", parts.most_kept, spec.num_dims, "samples", modality.dtype(spec).itemsize)
    _check_disk(settings, spec, path)
    arrays = {"x": Stored((n, *spec.shape), modality.dtype(spec), parts.each())}
    if model.conditional:
        arrays["y"] = Stored((n,), torch.int64, _labels(model, settings, label))
    array = path.with_name(path.name + endings[0])
    with Display(parts.timetable):
        write_arrays(array, arrays, settings.format)
    shown = torch.cat(parts.kept)
    drawn = modality.preview(shown, spec, path.with_name(f"{path.name}.png"), used.title)
    labels = labels_of_samples(model, len(shown), settings.seed, label)
    files = modality.write(shown, spec, path, labels)
    own = {key: getattr(settings, key) for key in ("checkpoint", "n", "seed", "label", "sampling", "format", "files")}
    cost = {"nfe": float(model.nfe), **model.sampling_settings, "samples_at_once": parts.largest}
    record = used.record(path, own, {"sampling": cost})
    written = [str(array), *([f"{path}.png"] if drawn else []), str(record)]
    written += [f"{path}/, a file for each"] if settings.files else []
    # Of many files of one kind the first and the last say enough.
    written += [str(file) for file in files] if len(files) < 3 else [f"{files[0]} to {files[-1].name}"]
    print(f"Saved {counted(n, 'sample')}: {' and '.join(written)}")
    return array


def _labels(model: GenerativeModel, settings: SampleConfig, label: int | None) -> Iterator[Tensor]:
    """Yield the labels of all samples of a model that is told some, some at once."""
    for start in range(0, settings.n, _LABELS_AT_ONCE):
        part = labels_of_samples(model, min(_LABELS_AT_ONCE, settings.n - start), settings.seed, label, start)
        assert part is not None
        yield part


def _check_disk(settings: SampleConfig, spec: DataSpec, path: Path) -> None:
    """Refuse samples that cannot fit onto the disk, however well they are compressed."""
    needed = float(settings.n) * spec.num_dims * modality_of(spec).dtype(spec).itemsize / _COMPRESSED[settings.format]
    there = shutil.disk_usage(path.parent).free
    if needed > there:
        raise GenlabError(
            f"n is {settings.n:,}: so many samples take at least {say_bytes(needed)} as {settings.format}, and where "
            f"{path.name} is written there is room for {say_bytes(there)}. Draw fewer."
        )


class _Parts:
    """Samples on their way into a file: the first ones are kept to be shown, and each gets a file if that is asked for.

    Attributes:
        most_kept: How many samples are kept: those that are shown, or all of small ones, which are written as one file.
        kept: These samples.
        largest: Samples that were drawn at once.
    """

    def __init__(self, used: UsedRun, settings: SampleConfig, label: int | None, path: Path) -> None:
        self._used = used
        self._settings = settings
        self._label = label
        self._folder = path if settings.files else None
        modality = modality_of(used.model.spec)
        # What is small is kept whole: a table is written as one file.
        most = modality.most_shown if modality.is_large and modality.most_shown else settings.n
        self.most_kept = min(most, settings.n)
        self.timetable = Timetable()
        self.kept: list[Tensor] = []
        self.largest = 0
        if self._folder is not None:
            make_room(self._folder / "0.txt", "out")

    def each(self) -> Iterator[Tensor]:
        """Yield the samples, part by part."""
        done = 0
        with self.timetable.phase("samples", self._settings.n, counts=True):
            for part in sample(self._used.model, self._settings.n, self._settings.seed, self._label):
                if done < self.most_kept:
                    self.kept.append(part[: self.most_kept - done].clone())
                if self._folder is not None:
                    self._write(part, done, self._folder)
                done += len(part)
                self.largest = max(self.largest, len(part))
                self.timetable.advance(len(part))
                yield part

    def _write(self, part: Tensor, first: int, folder: Path) -> None:
        spec = self._used.model.spec
        digits = len(str(self._settings.n - 1))
        for number, example in enumerate(part, first):
            modality_of(spec).write_one(example, spec, folder / f"{number:0{digits}d}")
