"""Use a trained run on examples of its data: reconstruct, interpolate, traverse."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from omegaconf import DictConfig
from torch import Tensor

from genlab.command.build import build_datamodule
from genlab.command.config import check_config, read_trained
from genlab.command.schemas import InterpolateConfig, ReconstructConfig, TraverseConfig, UseConfig
from genlab.command.used_run import UsedRun
from genlab.core.batch import Batch
from genlab.core.errors import GenlabError
from genlab.core.randomness import some_of
from genlab.core.words import counted
from genlab.data.base import Split
from genlab.modalities import modality_of
from genlab.runs.atomic import write_atomic
from genlab.uses.arrays import Stored, write_arrays
from genlab.uses.catalogue import require
from genlab.uses.codes import deviations, errors_in_words, errors_of, unit_of_errors
from genlab.uses.interpolate import interpolate
from genlab.uses.reconstruct import reconstruct
from genlab.uses.traverse import traverse

__all__ = ["run_interpolate", "run_reconstruct", "run_traverse"]

_ENDINGS = (".npz", ".png", ".json")


def run_reconstruct(config: DictConfig) -> Path:
    """Encode and decode ``config.n`` examples of a split, some by chance but always the same; say how far off they are.

    Args:
        config: The composed config.

    Returns:
        The file of arrays: the examples ``x``, their ``reconstruction`` and their codes ``z``.
    """
    settings = check_config(config, ReconstructConfig)
    opened = _open("reconstruct", settings, settings.split)
    used, spec = opened.used, opened.used.model.spec
    rows = some_of(torch.arange(len(opened.data.x)), settings.n)
    path = used.place_for(settings.out, opened.name(f"n{len(rows)}", settings), (*_ENDINGS, "_errors.csv"))
    found = reconstruct(used.model, opened.data.rows(rows), deviations(opened.data.x, spec))
    arrays = {"x": found.x, "reconstruction": found.back, "z": found.z}
    drawn = modality_of(spec).preview_rows(found.rows, spec, _with(path, ".png"), used.title)
    for name, x in (("example", found.x), ("reconstruction", found.back)):
        modality_of(spec).write(x, spec, path.with_name(f"{path.name}_{name}"))
    labels = None if opened.data.y is None else opened.data.y[rows]
    write_atomic(_with(path, "_errors.csv"), _table(rows, labels, found.errors))
    means = found.mean_errors
    measured = {"mean_error": means, "unit": unit_of_errors(spec), "codes": found.kind, "latents": found.z.shape[1]}
    own = {"checkpoint": settings.checkpoint, "split": settings.split, "n": settings.n}
    array = _save(path, arrays, used, own, measured | {"examples": rows.tolist(), "rows": list(found.rows)})
    print(
        f"Reconstructed {counted(len(rows), 'example')} of {spec.name}, {settings.split}: "
        f"{errors_in_words(means, spec)}.\nCodes: {found.z.shape[1]:,} numbers, {found.kind}.\n{_saved(path, drawn)}"
    )
    return array


def run_interpolate(config: DictConfig) -> Path:
    """Go from example ``config.a`` of a split to example ``config.b`` in ``config.steps`` steps.

    Args:
        config: The composed config.

    Returns:
        The file of arrays: the points ``z`` of the way and what they decode to, ``x``.
    """
    settings = check_config(config, InterpolateConfig)
    opened = _open("interpolate", settings, settings.split)
    used, spec = opened.used, opened.used.model.spec
    ends = opened.data.rows(torch.tensor([opened.index("a", settings.a), opened.index("b", settings.b)]))
    name = opened.name(f"{settings.a}_{settings.b}_{settings.path}{settings.steps}", settings)
    path = used.place_for(settings.out, name, _ENDINGS)
    found = interpolate(used.model, ends, settings.steps, settings.path)
    drawn = modality_of(spec).preview_rows({"step": found.x}, spec, _with(path, ".png"), used.title, settings.steps)
    modality_of(spec).write(found.x, spec, path)
    errors = errors_of(ends, found.values[[0, -1]], spec, deviations(opened.data.x, spec))
    off = {name: error.tolist() for name, error in errors.items()}
    own = {key: getattr(settings, key) for key in ("checkpoint", "split", "a", "b", "steps", "path")}
    array = _save(
        path,
        {"x": found.x, "z": found.z},
        used,
        own,
        {"ends_error": off, "unit": unit_of_errors(spec), "codes": found.kind},
    )
    print(
        f"Went from example {settings.a} to {settings.b} of {spec.name}, {settings.split}, in "
        f"{counted(settings.steps, 'step')}.\nCodes: {found.z.shape[1]:,} numbers, {found.kind}.\n{_saved(path, drawn)}"
    )
    return array


def run_traverse(config: DictConfig) -> Path:
    """Change the ``config.latents`` most important latents of an example, one at a time.

    Args:
        config: The composed config.

    Returns:
        The file of arrays: the values ``z`` of each latent and what they decode to, ``x``.
    """
    settings = check_config(config, TraverseConfig)
    opened = _open("traverse", settings, settings.split)
    used, spec = opened.used, opened.used.model.spec
    index = opened.index("example", settings.example)
    name = opened.name(f"{settings.example}_l{settings.latents}_{settings.steps}", settings)
    path = used.place_for(settings.out, name, _ENDINGS)
    others = opened.data.rows(some_of(torch.arange(len(opened.data.x)), settings.n))
    example = opened.data.rows(slice(index, index + 1))
    found = traverse(used.model, example, others, settings.latents, settings.steps, settings.reach)
    drawn = modality_of(spec).preview_rows(found.rows, spec, _with(path, ".png"), used.title, settings.steps)
    modality_of(spec).write(found.x.flatten(0, 1), spec, path)
    own = {key: getattr(settings, key) for key in ("checkpoint", "split", "example", "latents", "steps", "reach", "n")}
    measured = {
        "latents": found.latents, "importance": found.importance, "importance_is": found.measure, "codes": found.kind,
    }  # fmt: skip
    array = _save(path, {"x": found.x, "z": found.z}, used, own, measured)
    print(
        f"Changed {counted(len(found.latents), 'latent')} of example {settings.example} of {spec.name}, "
        f"{settings.split}: {', '.join(map(str, found.latents))}.\nBy importance, {found.measure}.\n"
        f"{_saved(path, drawn)}"
    )
    return array


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

    def name(self, what: str, settings: UseConfig) -> str:
        """Return the name of what is written, by the settings that it depends on."""
        last = "_last" if settings.checkpoint == "last" else ""
        return f"{self.used.use}_{self.split}_{what}{last}"


def _open(use: str, settings: UseConfig, split: Split) -> _Opened:
    used = UsedRun.load(use, settings, f"scripts/{use}.py")
    require(use, used.model)
    return _Opened(used, build_datamodule(read_trained(used.place)).tensors(split), split)


def _with(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _save(
    path: Path, arrays: Mapping[str, Tensor], used: UsedRun, own: Mapping[str, Any], found: Mapping[str, Any]
) -> Path:
    array = _with(path, ".npz")
    write_arrays(array, {name: Stored.of(x.contiguous()) for name, x in arrays.items()}, "npz")
    used.record(path, own, found)
    return array


def _table(rows: Tensor, labels: Tensor | None, errors: Mapping[str, Tensor]) -> str:
    """Return the errors of each example as a CSV file."""
    columns = {"example": rows.tolist()} | ({} if labels is None else {"label": labels.tolist()})
    columns |= {name: [f"{value:.9g}" for value in error.tolist()] for name, error in errors.items()}
    content = io.StringIO()
    writer = csv.writer(content, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return content.getvalue()


def _saved(path: Path, drawn: bool) -> str:
    return f"Saved: {path}.npz, {'.png, ' if drawn else ''}.json"
