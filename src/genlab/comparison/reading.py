"""Result files as runs: found below given folders, read, checked, and reduced to what a table needs."""

from __future__ import annotations

import functools
import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genlab.comparison.columns import Column, columns
from genlab.comparison.visible import visible
from genlab.measure.figures import of_kind
from genlab.measure.result import Result, ResultError
from genlab.measure.result_sections import Quality
from genlab.measure.results import parse_result

__all__ = ["DataKey", "RunResult", "Skipped", "find_result_files", "read_results", "reduce_result"]

MOST_BYTES = 64_000_000
"""A file that is larger is no result, which has a few thousand bytes."""

MOST = 1e100
"""No figure is as large; the square of a larger one can be beyond all numbers."""

_NO_RESULTS_IN = {"checkpoints", "samples", "wandb", "tensorboard", "sweeps"}


@dataclass(frozen=True, slots=True, order=True)
class DataKey:
    """What figures are of: two results compare only where all of it is the same.

    Attributes:
        name: The data set.
        split: The split that the likelihood is of.
        shape: Of one example.
        levels: Number of values per dimension; 0 for continuous data.
        entropy: True entropy in nats where it is known, in text: it tells distributions of one name apart.
        unit: Of the likelihood, e.g. ``"bits/dim"``.
    """

    name: str
    split: str
    shape: tuple[int, ...]
    levels: int
    entropy: str
    unit: str


@dataclass(frozen=True, slots=True)
class RunResult:
    """One result, reduced to what tables and reports show.

    Attributes:
        path: The file, or None for a result that was never read from one.
        figures: Known figures by column key; an unknown one is not there.
        software: Versions of Python and torch that computed the figures; empty where the result does not say.
        kind: What the likelihood is, e.g. ``"exact"``; None without one.
        of: ``"p(x)"`` or ``"p(x|y)"``; None without a likelihood.
        likelihood_examples: How many examples the likelihood is of; None without one.
        one_draw_kind: What the bound of a single draw is; None without one.
        likelihood_how: How the likelihood was computed, in a few words; may be empty.
        features: Extractor, its hash, number of real and of drawn examples, reference split.
        sampling_batch: Samples per call.
        sampling_device: Where they were drawn; where the run was trained if the result does not say.
        errors: Own standard errors of figures by column key, as far as they are known.
        lists: Known figures that are lists, by their keys, such as the recall of each class.
        columns: Names of the columns of a table, whose figures are lists; empty where they are not known.
        warnings: What its figures warn of, such as classes that hardly occur among the samples.
        missing: What a table would show but is not known, with the reason: a section, or a column's heading.
        code_version: The code that trained it, and the one that measured it if that is another.
        code: The same for comparing: hashes where they are known.
        classes: How many labels the data has; None without labels.
    """

    path: str | None
    run_id: str
    config_hash: str
    seed: int
    created: str
    command: str
    code_version: str
    model: str
    family: str
    variant: str
    data: DataKey
    protocol: tuple[str, str]
    checkpoint: str
    device: str
    software: str
    kind: str | None
    of: str | None
    likelihood_examples: int | None
    one_draw_kind: str | None
    likelihood_how: str
    features: tuple[Any, ...] | None
    sampling_batch: int | None
    sampling_device: str
    figures: dict[str, float]
    errors: dict[str, float] = field(default_factory=dict)
    lists: dict[str, tuple[float | None, ...]] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    missing: tuple[tuple[str, str], ...] = ()
    code: tuple[str, ...] = ()
    classes: int | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file or folder that is left out, and why."""

    path: str
    reason: str


def read_results(paths: Iterable[Path | str]) -> tuple[list[RunResult], list[Skipped]]:
    """Read every result file below the given folders.

    What is missing, broken, of another layout or no result at all is skipped with its reason, and never an error.

    Args:
        paths: Folders, or result files themselves.

    Returns:
        The results in the order of their paths, and what was skipped.
    """
    results: list[RunResult] = []
    skipped: list[Skipped] = []
    for path in find_result_files(paths, skipped):
        try:
            results.append(_checked(reduce_result(_read(path), path)))
        except (OSError, ResultError, OverflowError) as error:
            skipped.append(Skipped(path, _reason(error)))
    return results, [Skipped(visible(item.path), visible(item.reason)) for item in skipped]


def find_result_files(paths: Iterable[Path | str], skipped: list[Skipped]) -> list[str]:
    """Return the JSON files below the given folders that can be results, sorted, each once.

    Of a run's folder these are the files in its ``results``; checkpoints, pictures and dashboards are not searched.

    Args:
        paths: Folders or files.
        skipped: Gets a line for each that is not there or cannot be opened.
    """
    found: set[str] = set()
    entered: set[str] = set()
    for path in map(str, paths):
        if os.path.isdir(path):
            found.update(_walk(path, entered, skipped))
        elif os.path.lexists(path):
            found.add(path)
        else:
            skipped.append(Skipped(path, "there is no such file or folder"))
    return sorted(found)


def _walk(folder: str, entered: set[str], skipped: list[Skipped]) -> Iterator[str]:
    real = os.path.realpath(folder)
    if real in entered:  # given twice, or reached again through a link
        return
    entered.add(real)
    pending = [folder]
    while pending:
        folder = pending.pop()
        try:
            with os.scandir(folder) as listing:
                entries = [entry for entry in listing if not entry.name.startswith(".")]
        except OSError as error:
            skipped.append(Skipped(folder, _reason(error)))
            continue
        names = {entry.name for entry in entries}
        if {"config.yaml", "results"} <= names:
            pending.append(os.path.join(folder, "results"))
            continue
        for entry in entries:
            if entry.name.endswith(".json") and not _is_folder(entry):
                yield entry.path
            elif entry.name not in _NO_RESULTS_IN and _is_folder(entry):
                if entry.is_symlink():
                    yield from _walk(entry.path, entered, skipped)
                else:
                    pending.append(entry.path)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, or into a closed folder
        return False


def _read(path: str) -> Result:
    # Whoever opens a pipe waits for its writer, but for this flag. Only what was opened can be asked what it is.
    with open(path, "rb", buffering=0, opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise ResultError(["it is no regular file"])
        if about.st_size > MOST_BYTES:
            raise ResultError([f"it is no result of genlab: it has {about.st_size:,} bytes"])
        return parse_result(file.read())


def _checked(run: RunResult) -> RunResult:
    values = run.figures.values()
    if values and not (min(values) > -MOST and max(values) < MOST):
        key = max(run.figures, key=lambda name: abs(run.figures[name]))
        raise ResultError([f"{key} is beyond {MOST:g}, where no figure is"])
    return run


def _reason(error: OSError | ResultError | OverflowError) -> str:
    if isinstance(error, OverflowError):
        return f"it has a number beyond {MOST:g}, where no figure is"
    return error.problems[0] if isinstance(error, ResultError) else error.strerror or type(error).__name__


def reduce_result(result: Result, path: str | None = None) -> RunResult:
    """Take from a result what a table needs, its text as `visible` shows it.

    Args:
        result: What was read.
        path: Its file, beside which pictures and curves are looked for.
    """
    likelihood, sampling = result.likelihood, result.sampling
    one_draw = None if likelihood is None else likelihood.one_draw
    shown = columns()
    labels = _labels(shown)
    version, code = _code(result)
    return RunResult(
        path=path,
        run_id=visible(result.run_id),
        config_hash=result.config_hash,
        seed=result.seed,
        created=result.created,
        command=visible(result.command),
        code_version=visible(version),
        model=visible(result.model.name),
        family=visible(result.model.family),
        variant=visible(result.model.variant),
        data=_data_key(result),
        protocol=(result.protocol.name, result.protocol.hash),
        checkpoint=visible(result.checkpoint),
        device=_device(result.training.device),
        software=_software(result),
        kind=None if likelihood is None else likelihood.kind,
        of=None if likelihood is None else likelihood.of,
        likelihood_examples=None if likelihood is None else likelihood.examples,
        one_draw_kind=None if one_draw is None else one_draw.kind,
        likelihood_how="" if likelihood is None else visible(likelihood.how),
        features=_features(result.quality),
        sampling_batch=None if sampling is None else sampling.batch_size,
        sampling_device=_device((None if sampling is None else sampling.device) or result.training.device),
        figures={column.key: value for column in shown if (value := column.read(result)) is not None},
        errors={column.key: value for column in shown if column.error and (value := column.error(result)) is not None},
        lists={figure.key: value for figure in of_kind("list") if (value := result.value(figure))},
        columns=tuple(map(visible, result.data.columns or ())),
        warnings=tuple(map(visible, result.warnings())),
        missing=tuple((labels[key], visible(why)) for key, why in result.missing.items() if key in labels),
        code=code,
        classes=result.data.num_classes,
    )


def _data_key(result: Result) -> DataKey:
    data = result.data
    entropy = None if result.reference is None else result.reference.true_entropy_nats
    return DataKey(
        visible(data.name),
        visible(data.split),
        data.shape,
        data.levels or 0,
        "" if entropy is None else f"{entropy:.4f}",
        visible(data.likelihood_unit),
    )


def _device(name: str) -> str:
    # As results had it before "1 thread": the two are one device.
    return re.sub(r"\b1 threads$", "1 thread", visible(name))


def _software(result: Result) -> str:
    software = result.software
    return "" if software is None else visible(f"Python {software.python}, torch {software.torch}")


@functools.lru_cache(maxsize=4)
def _labels(shown: tuple[Column, ...]) -> dict[str, str]:
    """Return what a table calls the keys that may be missing from a result: sections, and figures with a column."""
    sections = {"likelihood": "likelihood", "quality": "sample quality", "sampling": "sampling cost"}
    return sections | {column.source: column.heading for column in shown if column.source}


def _code(result: Result) -> tuple[str, tuple[str, ...]]:
    """Return what the code is called that a result is of, and what tells it from others."""
    trained, measured = result.trained_by, result.measured_by
    named = " and ".join(dict.fromkeys(code.version for code in trained))
    if measured.sha256 != trained[-1].sha256:
        named = f"{named}, measured by {measured.version}"
    return named, tuple(dict.fromkeys(code.sha256 or code.version for code in (*trained, measured)))


def _features(quality: Quality | None) -> tuple[Any, ...] | None:
    if quality is None:
        return None
    names = (quality.extractor, quality.reference_split)
    extractor, split = (None if name is None else visible(name) for name in names)
    return extractor, quality.extractor_sha256, quality.n_real, quality.n_fake, split
