"""Use a trained run on examples of its data: reconstruct, interpolate, traverse."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from omegaconf import DictConfig
from torch import Tensor

from genlab.command.config import check_config
from genlab.command.schemas import InterpolateConfig, ReconstructConfig, TraverseConfig, UseConfig
from genlab.command.used_run import UsedRun
from genlab.core.batch import Batch
from genlab.core.errors import GenlabError
from genlab.core.randomness import some_of
from genlab.core.words import counted
from genlab.data.base import Split
from genlab.modalities import modality_of
from genlab.modalities.base import Places
from genlab.runs.atomic import write_atomic
from genlab.uses.arrays import Stored, write_arrays
from genlab.uses.catalogue import require
from genlab.uses.codes import deviations, errors_in_words, errors_of, unit_of_errors
from genlab.uses.interpolate import interpolate
from genlab.uses.reconstruct import reconstruct
from genlab.uses.traverse import traverse

__all__ = ["run_interpolate", "run_reconstruct", "run_traverse"]

_ENDINGS = (".npz", ".png", ".json")
ERRORS = "_errors.csv"
"""How far off each reconstruction is."""
_NOT_OWN = {"run", "out", "device", "paths", "plain"}
"""Settings that say where a run lies and what is written goes, and not what."""


def run_reconstruct(config: DictConfig) -> Path:
    """Encode and decode ``config.n`` examples of a split, some by chance but always the same; say how far off they are.

    Args:
        config: The composed config.

    Returns:
        The file of arrays: the examples ``x``, their ``reconstruction`` and their codes ``z``.
    """
    return _run("reconstruct", check_config(config, ReconstructConfig), _reconstructed)


def run_interpolate(config: DictConfig) -> Path:
    """Go from example ``config.a`` of a split to example ``config.b`` in ``config.steps`` steps.

    Args:
        config: The composed config.

    Returns:
        The file of arrays: the points ``z`` of the way and what they decode to, ``x``.
    """
    return _run("interpolate", check_config(config, InterpolateConfig), _interpolated)


def run_traverse(config: DictConfig) -> Path:
    """Change the ``config.latents`` most important latents of an example, one at a time.

    Args:
        config: The composed config.

    Returns:
        The file of arrays: the values ``z`` of each latent and what they decode to, ``x``.
    """
    return _run("traverse", check_config(config, TraverseConfig), _traversed)


class _Outcome(NamedTuple):
    """What a use gave.

    Attributes:
        path: Of the files, without their endings.
        arrays: For the file of arrays.
        rows: Of the picture.
        places: As of :meth:`genlab.modalities.base.Modality.preview_rows`.
        examples: To read or to listen to, by what stands between path and ending.
        measured: For the record.
        said: What is printed, but for the files.
        tables: Files of figures, by what stands between path and ending.
    """

    path: Path
    arrays: Mapping[str, Tensor]
    rows: Mapping[str, Tensor]
    places: Places | None
    examples: Mapping[str, Tensor]
    measured: Mapping[str, Any]
    said: str
    tables: Sequence[str] = ()


Settings = TypeVar("Settings", ReconstructConfig, InterpolateConfig, TraverseConfig)


def _run(use: str, settings: Settings, work: Callable[[_Opened, Settings], _Outcome]) -> Path:
    """Load the run and its data, do the work, and leave what came of it; return the file of arrays."""
    used = UsedRun.load(use, settings, f"scripts/{use}.py")
    require(use, used.model)
    opened = _Opened(used, used.datamodule().tensors(settings.split), settings.split)
    made, spec = work(opened, settings), used.model.spec
    drawn = modality_of(spec).preview_rows(made.rows, spec, _with(made.path, ".png"), used.title, made.places)
    files = [modality_of(spec).write(x, spec, _with(made.path, which)) for which, x in made.examples.items()]
    array = _with(made.path, ".npz")
    write_arrays(array, {name: Stored.of(x.contiguous()) for name, x in made.arrays.items()}, "npz")
    own = {field.name: getattr(settings, field.name) for field in fields(settings) if field.name not in _NOT_OWN}
    used.record(made.path, own, made.measured)
    pictures = [".png"] if drawn else []
    print(f"{made.said}\n{used.saved(made.path, ['.npz'], pictures, ['.json'], made.tables, *files)}")
    return array


def _reconstructed(opened: _Opened, settings: ReconstructConfig) -> _Outcome:
    spec, data = opened.used.model.spec, opened.data
    rows = some_of(torch.arange(len(data.x)), settings.n)
    path = opened.place_for(settings, f"n{len(rows)}", ERRORS)
    found = reconstruct(opened.used.model, data.rows(rows), deviations(data.x, spec))
    write_atomic(_with(path, ERRORS), _table(rows, None if data.y is None else data.y[rows], found.errors))
    measured = {
        "mean_error": found.mean_errors, "unit": unit_of_errors(spec), "codes": found.kind,
        "latents": found.z.shape[1], "examples": rows.tolist(), "rows": list(found.rows),
    }  # fmt: skip
    said = (
        f"Reconstructed {counted(len(rows), 'example')} of {spec.name}, {settings.split}: "
        f"{errors_in_words(found.mean_errors, spec)}.\nCodes: {found.z.shape[1]:,} numbers, {found.kind}."
    )
    arrays = {"x": found.x, "reconstruction": found.back, "z": found.z}
    examples = {"_example": found.x, "_reconstruction": found.back}
    return _Outcome(path, arrays, found.rows, None, examples, measured, said, [ERRORS])


def _interpolated(opened: _Opened, settings: InterpolateConfig) -> _Outcome:
    spec, data = opened.used.model.spec, opened.data
    ends = data.rows(torch.tensor([opened.index("a", settings.a), opened.index("b", settings.b)]))
    path = opened.place_for(settings, f"{settings.a}_{settings.b}_{settings.path}{settings.steps}")
    found = interpolate(opened.used.model, ends, settings.steps, settings.path)
    errors = errors_of(ends, found.values[[0, -1]], spec, deviations(data.x, spec))
    measured = {
        "ends_error": {name: error.tolist() for name, error in errors.items()}, "unit": unit_of_errors(spec),
        "codes": found.kind,
    }  # fmt: skip
    said = (
        f"Went from example {settings.a} to {settings.b} of {spec.name}, {settings.split}, in "
        f"{counted(settings.steps, 'step')}.\nCodes: {found.z.shape[1]:,} numbers, {found.kind}."
    )
    arrays = {"x": found.x, "z": found.z}
    return _Outcome(path, arrays, found.rows, found.places, {"": found.x}, measured, said)


def _traversed(opened: _Opened, settings: TraverseConfig) -> _Outcome:
    spec, data = opened.used.model.spec, opened.data
    index = opened.index("example", settings.example)
    others = data.rows(some_of(torch.arange(len(data.x)), settings.n))
    what = f"{settings.example}_l{settings.latents}_{settings.steps}_r{settings.reach:g}_n{len(others.x)}"
    path = opened.place_for(settings, what)
    example = data.rows(slice(index, index + 1))
    found = traverse(opened.used.model, example, others, settings.latents, settings.steps, settings.reach)
    measured = {
        "latents": found.latents, "importance": found.importance, "importance_is": found.measure, "codes": found.kind,
    }  # fmt: skip
    said = (
        f"Changed {counted(len(found.latents), 'latent')} of example {settings.example} of {spec.name}, "
        f"{settings.split}: {', '.join(map(str, found.latents))}.\nBy importance, {found.measure}."
    )
    arrays = {"x": found.x, "z": found.z}
    return _Outcome(path, arrays, found.rows, found.places, {"": found.x.flatten(0, 1)}, measured, said)


class _Opened(NamedTuple):
    used: UsedRun
    data: Batch
    split: Split

    def index(self, key: str, index: int) -> int:
        """Return an example's number, which must be one of the split's."""
        count = len(self.data.x)
        if index >= count:
            raise GenlabError(
                f"{key} is {index}, expected 0 to {count - 1}, an example of {self.used.model.spec.name}, {self.split}."
            )
        return index

    def place_for(self, settings: UseConfig, what: str, *more_endings: str) -> Path:
        """Return the path of what is written, named by the settings that it depends on, and see that it can be."""
        last = "_last" if settings.checkpoint == "last" else ""
        name = f"{self.used.use}_{self.split}_{what}{last}"
        return self.used.place_for(settings.out, name, (*_ENDINGS, *more_endings))


def _with(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _table(rows: Tensor, labels: Tensor | None, errors: Mapping[str, Tensor]) -> str:
    """Return the errors of each example as a CSV file."""
    columns = {"example": rows.tolist()} | ({} if labels is None else {"label": labels.tolist()})
    columns |= {name: [f"{value:.9g}" for value in error.tolist()] for name, error in errors.items()}
    content = io.StringIO()
    writer = csv.writer(content, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return content.getvalue()
