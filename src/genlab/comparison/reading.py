"""Result files as runs: found below given folders, read, checked, and reduced to what a table needs."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from genlab.comparison.columns import COLUMNS
from genlab.comparison.validation import Check, compile_schema
from genlab.measure.results import RESULT_SCHEMA, result_problems

__all__ = ["DataKey", "RunResult", "Skipped", "find_result_files", "read_results", "reduce_result"]

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
    """

    name: str
    split: str
    shape: tuple[int, ...]
    levels: int
    entropy: str


@dataclass(frozen=True, slots=True)
class RunResult:
    """One result, reduced to what tables and reports show.

    Attributes:
        path: The file, or None for a result that was never read from one.
        figures: Known figures by column key; an unknown one is not there.
        kind: What the likelihood is, e.g. ``"exact"``; None without one.
        of: ``"p(x)"`` or ``"p(x|y)"``; None without a likelihood.
        likelihood_examples: How many examples the likelihood is of; None without one.
        one_draw_kind: What the bound of a single draw is; None without one.
        features: Extractor, its hash, number of real and of drawn examples, reference split.
        sampling_batch: Samples per call.
        sampling_device: Where they were drawn; where the run was trained if the result does not say.
        recall_by_class: Recall of each class; empty if not known.
        missing_classes: Number of classes that hardly occur among the samples.
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
    kind: str | None
    of: str | None
    likelihood_examples: int | None
    one_draw_kind: str | None
    features: tuple[Any, ...] | None
    sampling_batch: int | None
    sampling_device: str
    figures: dict[str, float]
    recall_by_class: tuple[float | None, ...] = ()
    missing_classes: int = 0


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
            results.append(reduce_result(_read(path), path))
        except (OSError, ValueError, RecursionError) as error:
            skipped.append(Skipped(path, _reason(error)))
    return results, skipped


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
            if entry.name.endswith(".json") and not entry.is_dir():
                yield entry.path
            elif entry.name not in _NO_RESULTS_IN and entry.is_dir():
                if entry.is_symlink():
                    yield from _walk(entry.path, entered, skipped)
                else:
                    pending.append(entry.path)


def _read(path: str) -> Mapping[str, Any]:
    with open(path, "rb") as file:
        content = file.read()
    try:
        result = json.loads(content)
    except ValueError as error:
        raise ValueError(f"it is no JSON: {error}") from error
    if _fits()(result):
        return result
    number = result.get("schema") if isinstance(result, dict) else None
    if type(number) is not int:
        raise ValueError("it is no result of genlab: it has no schema number")
    if number != RESULT_SCHEMA:
        raise ValueError(f"it has layout {number}, this version of genlab reads {RESULT_SCHEMA}")
    raise ValueError((result_problems(result) or ["it does not fit the schema"])[0])


@functools.cache
def _fits() -> Check:
    text = resources.files("genlab.measure").joinpath("result.schema.json").read_text(encoding="utf-8")
    return compile_schema(json.loads(text))


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return error.strerror or type(error).__name__ if isinstance(error, OSError) else str(error)


def reduce_result(result: Mapping[str, Any], path: str | None = None) -> RunResult:
    """Take from a valid result what a table needs.

    Args:
        result: Fits ``result.schema.json``.
        path: Its file, beside which pictures and curves are looked for.
    """
    model, data, training = result["model"], result["data"], result["training"]
    likelihood, quality, sampling = (result[name] or {} for name in ("likelihood", "quality", "sampling"))
    entropy = (result["reference"] or {}).get("true_entropy_nats")
    read = ((column.key, column.read(result)) for column in COLUMNS)
    return RunResult(
        path=path,
        run_id=result["run_id"],
        config_hash=result["config_hash"],
        seed=result["seed"],
        created=result["created"],
        command=result["command"],
        code_version=result["code_version"],
        model=model["name"],
        family=model["family"],
        variant=model["variant"],
        data=DataKey(
            data["name"],
            data["split"],
            tuple(data["shape"]),
            data["levels"] or 0,
            "" if entropy is None else f"{entropy:.4f}",
        ),
        protocol=(result["protocol"]["name"], result["protocol"]["hash"]),
        checkpoint=training["checkpoint"],
        device=training["device"],
        kind=likelihood.get("kind"),
        of=likelihood.get("of"),
        likelihood_examples=likelihood.get("examples"),
        one_draw_kind=likelihood.get("one_draw", {}).get("kind"),
        features=_features(quality),
        sampling_batch=sampling.get("batch_size"),
        sampling_device=sampling.get("device") or training["device"],
        figures={key: value for key, value in read if value is not None},
        recall_by_class=tuple(quality.get("recall_by_class") or ()),
        missing_classes=quality.get("missing_classes") or 0,
    )


def _features(quality: Mapping[str, Any]) -> tuple[Any, ...] | None:
    if not quality:
        return None
    return tuple(quality[name] for name in ("extractor", "extractor_sha256", "n_real", "n_fake", "reference_split"))
