"""Samples of anybody's program, read from the files that programs leave, as a data set's examples or not at all."""

from __future__ import annotations

import os
import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from genlab.core.batch import Batch
from genlab.core.errors import GenlabError, shown
from genlab.core.memory import memory_bytes, say_bytes
from genlab.core.spec import DataSpec
from genlab.measure.quality import MIN_SAMPLES
from genlab.modalities import modality_of

__all__ = ["read_samples"]

_ARRAYS = (".npz", ".npy", ".safetensors")
_NAMES = ("x", "samples", "arr_0")
"""Arrays of a file that are taken for the samples, the first that is there, where there are several."""
_LABELS = ("labels", "y")
"""Arrays beside them that are taken for the classes that they were drawn for."""
_DAMAGE = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, SyntaxError)


def read_samples(path: Path, spec: DataSpec) -> Batch:
    """Read samples ``[N, *spec.shape]`` in the data's own values and dtype, and the classes that they were drawn for.

    A file of arrays, npz, npy or safetensors, in which channels of pictures may also come last, or be left out where
    there is one, and whose array ``labels`` or ``y`` says the classes; a folder with a file for each sample, in the
    order of their names, of the endings that this kind of data has; or one file of many, as a table's or series' CSV.
    Nothing unpickles.

    Args:
        path: The file or folder.
        spec: What one example is.

    Raises:
        GenlabError: If there is no such file, it holds something else, or fewer than 100 samples.
    """
    modality, labels = modality_of(spec), None
    if os.path.isdir(path):  # and no error where a name is too long
        x = _read_folder(path, spec)
    elif not os.path.isfile(path):
        raise GenlabError(f"samples is {shown(path)}, but there is no such file or folder.")
    elif path.suffix.lower() in _ARRAYS:
        arrays = _read_arrays(path)
        x, labels = _arranged(_samples_of(arrays, path), spec), _labels_of(arrays)
    elif path.suffix.lower() in modality.endings_of_many:
        x = modality.read_many(path, spec)
    else:
        expected = ", ".join(dict.fromkeys((*_ARRAYS, *modality.endings_of_many)))
        folder = f" or a folder of {modality.endings_of_one[0]} files" if modality.endings_of_one else ""
        raise GenlabError(f"samples is {shown(path)}, expected a file {expected}{folder}.")
    codec = modality.codec(spec)
    try:
        codec.check(x)
    except GenlabError as error:
        raise GenlabError(f"The samples in {shown(path)} are none of {spec.name}: {error}") from error
    if len(x) < MIN_SAMPLES:
        raise GenlabError(
            f"samples is {shown(path)}, which holds {len(x):,} samples, expected at least {MIN_SAMPLES}: of fewer the "
            "figures are mostly chance."
        )
    y = None if labels is None or spec.num_classes is None else _checked_labels(labels, x, spec, path)
    return Batch(codec.as_data(x), y)


def _read_folder(path: Path, spec: DataSpec) -> Tensor:
    modality = modality_of(spec)
    if not modality.endings_of_one:
        raise GenlabError(f"samples is the folder {shown(path)}, but {spec.modality} data is in one file. Give an npy.")
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in modality.endings_of_one)
    if not files:
        raise GenlabError(f"samples is {shown(path)}, which has no files {', '.join(modality.endings_of_one)}.")
    return torch.stack([modality.read_one(file, spec) for file in files])


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        if path.suffix.lower() == ".npy":
            return {_NAMES[0]: np.load(path, mmap_mode="r", allow_pickle=False)}
        return _read_zip(path) if path.suffix.lower() == ".npz" else _read_safetensors(path)
    except _DAMAGE as error:
        raise GenlabError(f"{shown(path)} cannot be read: {' '.join(str(error).split())[:200]}") from error


def _samples_of(arrays: dict[str, np.ndarray], path: Path) -> np.ndarray:
    others = [name for name in arrays if name not in _LABELS]
    name = next((name for name in _NAMES if name in arrays), others[0] if len(others) == 1 else "")
    if not name:
        there = ", ".join(shown(name) for name in list(arrays)[:8]) or "none"
        raise GenlabError(f"{shown(path)} has the arrays {there}, expected one that is called {' or '.join(_NAMES)}.")
    return arrays[name]


def _labels_of(arrays: dict[str, np.ndarray]) -> np.ndarray | None:
    return next((arrays[name] for name in _LABELS if name in arrays), None)


def _checked_labels(labels: np.ndarray, x: Tensor, spec: DataSpec, path: Path) -> Tensor:
    if labels.dtype.kind not in "ui":
        raise GenlabError(f"The labels in {shown(path)} are {labels.dtype}, expected whole numbers, a class each.")
    y = torch.from_numpy(labels.astype(np.int64))
    try:
        modality_of(spec).codec(spec).check_labels(y, len(x))
    except GenlabError as error:
        raise GenlabError(f"The labels in {shown(path)} are none of {spec.name}: {error}") from error
    return y


def _read_zip(path: Path) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        needed = sum(member.file_size for member in archive.infolist())
    if needed > memory_bytes():
        raise ValueError(f"it unpacks to {say_bytes(needed)}, which is more than this machine has")
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(str(error)) from error


def _arranged(array: np.ndarray, spec: DataSpec) -> Tensor:
    """Return an array as a tensor with the axes of the data, if it has these in another order."""
    if array.size * 8 > memory_bytes():
        raise GenlabError(f"The samples are {list(array.shape)}, which takes more memory than this machine has.")
    kind = array.dtype.kind
    if kind not in "buif":
        raise GenlabError(f"The samples are {array.dtype}, expected numbers.")
    wide = {"b": np.uint8, "u": np.uint8 if array.itemsize == 1 else np.int64, "i": np.int64, "f": np.float32}[kind]
    x = torch.from_numpy(np.array(array, dtype=wide))
    grid = len(spec.shape) == 3
    if grid and tuple(x.shape[1:]) == spec.shape[1:] and spec.shape[0] == 1:
        return x[:, None]
    if grid and tuple(x.shape[1:]) == (*spec.shape[1:], spec.shape[0]) != spec.shape:
        return x.permute(0, 3, 1, 2).contiguous()
    return x
