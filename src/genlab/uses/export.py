"""Export: a run as a folder of plain files that others load, with a card that says what its figures are."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from genlab.core.errors import GenlabError, shown
from genlab.core.secrets import redact, redact_text
from genlab.measure.floor import PICTURE_SAMPLES
from genlab.measure.result import Result
from genlab.measure.results import read_result
from genlab.modalities import modality_of
from genlab.models.base import GenerativeModel
from genlab.runs.atomic import atomic_file, check_writable, make_folder, write_atomic
from genlab.runs.exports import (
    CARD,
    CONFIG,
    INDEX,
    NETWORK,
    WEIGHTS,
    Export,
    ExportDir,
    check_file,
    file_info,
    parse_index,
    read_small,
)
from genlab.runs.folder import RunDir
from genlab.runs.identity import IGNORED_KEYS
from genlab.uses.arrays import Stored, write_arrays
from genlab.uses.card import THIS_FOLDER, write_out
from genlab.uses.network import ProgramInfo
from genlab.uses.sample import labels_of_samples, sample

__all__ = [
    "Shared", "check_target", "copy_export", "put", "results_of", "shared_config", "write_card", "write_files",
    "write_samples",
]  # fmt: skip

SAMPLES = "samples"
_NAMES = {CONFIG, WEIGHTS, NETWORK, CARD, "results", SAMPLES}
_ABSOLUTE = re.compile(r"""(?<=[\s'"\[,])~?/(?:[^'",\]]*/)?([^'",\]/]*)""")
_OF_PATHS = {"path", "root", "cache", "logs"}
"""Last words of keys whose values are paths, also where these begin in the working folder."""
_FOLDERS = re.compile(r"""[^'"\[,]*/""")


@dataclass(frozen=True)
class Shared:
    """What an export is made of.

    Attributes:
        config: From `shared_config`.
        state: The weights.
        results: By their names in the folder; from `results_of`.
        about: The index, but for its files.
    """

    config: Mapping[str, Any]
    state: Mapping[str, Tensor]
    results: Mapping[str, Result]
    about: Mapping[str, Any]


def shared_config(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config of a run without what holds for its machine alone, and without secrets.

    Args:
        plain: The config, whose own data has no folders; see :func:`genlab.command.exported.without_folders`.
    """
    kept: dict[str, Any] = {}
    for group, value in plain.items():
        if group in IGNORED_KEYS and group != "seed":
            continue
        if isinstance(value, Mapping):
            value = {key: part for key, part in value.items() if f"{group}.{key}" not in IGNORED_KEYS}
        kept[group] = value
    return redact(kept)


def results_of(place: RunDir, checkpoint: str) -> dict[str, Result]:
    """Return the results of a run's checkpoint and their floors, by names of files; paths in commands are cut.

    Raises:
        GenlabError: If one is damaged.
    """
    found: dict[str, Result] = {}
    for path in sorted(place.results.glob("*.json")):
        if path.name.endswith(".last.json") == (checkpoint == "last"):
            result = read_result(path)
            found[path.name] = _plain(result)
            if (floor := _floor(place, result)) is not None:
                found[f"{path.stem}.floor.json"] = _plain(floor)
    return found


def _floor(place: RunDir, result: Result) -> Result | None:
    for path in sorted(place.path.parent.parent.glob(f"floor/*/results/{result.protocol.name}.json")):
        floor = read_result(path)
        if (floor.protocol.hash, _features(floor)) == (result.protocol.hash, _features(result)):
            return floor
    return None


def _features(result: Result) -> tuple[Any, ...]:
    seen_by = None if result.quality is None else (result.quality.extractor_sha256, result.quality.n_real)
    return result.data.name, result.data.split, result.data.shape, seen_by


def _plain(result: Result) -> Result:
    return Result.of({**result.as_dict(), "command": redact_text(_without_folders(result.command))})


def _without_folders(command: str) -> str:
    """Return a command whose whole paths, which tell of a machine and its user, are the names at their ends."""
    try:
        words = shlex.split(command)
    except ValueError:
        words = command.split()
    return shlex.join(_last_name(word) for word in words)


def _last_name(word: str) -> str:
    key, equals, value = word.partition("=") if "=" in word else ("", "", word)
    if value.startswith(("/", "~", "./", "../")):
        return f"{key}{equals}{value.rstrip('/').rpartition('/')[2]}"
    if key.rpartition(".")[2] in _OF_PATHS and "://" not in value:
        return f"{key}{equals}{_FOLDERS.sub('', value.rstrip('/'))}"
    return _ABSOLUTE.sub(r"\1", word)  # of a list


def write_files(folder: Path, shared: Shared) -> Export:
    """Write config, weights, results and index into an empty folder, and return the index."""
    from safetensors.torch import save as to_bytes

    write_atomic(folder / CONFIG, yaml.safe_dump(dict(shared.config), sort_keys=False))
    # Tied weights lie in one memory, which a file of safetensors has not.
    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in shared.state.items()}
    write_atomic(folder / WEIGHTS, to_bytes(state, {"format": "pt"}))
    for name, result in shared.results.items():
        make_folder(folder / "results")
        text = json.dumps(result.as_dict(), indent=2, allow_nan=False, ensure_ascii=False)
        write_atomic(folder / "results" / name, f"{text}\n")
    return _index(folder, shared.about)


def write_samples(folder: Path, export: Export, model: GenerativeModel, variant: str) -> Export:
    """Draw samples from what was loaded of an export, write them, and return the index that names them.

    They are those of ``genlab sample`` with its own seed.
    """
    spec, modality = model.spec, modality_of(model.spec)
    make_folder(folder / SAMPLES)
    stem = folder / SAMPLES / SAMPLES
    n = modality.shown(PICTURE_SAMPLES)
    x = torch.cat(list(sample(model, n)))
    labels = labels_of_samples(model, n)
    arrays = {"x": x, **({} if labels is None else {"y": labels})}
    write_arrays(stem.with_suffix(".npz"), {name: Stored.of(array) for name, array in arrays.items()}, "npz")
    modality.preview(x, spec, stem.with_suffix(".png"), f"{model.name} {variant} on {spec.name}, run {export.run_id}")
    modality.write(x, spec, stem, labels)
    about = {name: getattr(export, name) for name in Export.model_fields if name not in ("files", "layout")}
    return _index(folder, about)


def _index(folder: Path, about: Mapping[str, Any]) -> Export:
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in (INDEX, CARD))
    files = {path.relative_to(folder).as_posix(): file_info(path) for path in paths}
    export = Export.of({"schema": 1, **about, "files": files})
    write_atomic(folder / INDEX, export.text())
    return export


def write_card(
    folder: Path,
    export: Export,
    model: GenerativeModel,
    results: Mapping[str, Result],
    where: str,
    program: ProgramInfo | None = None,
) -> None:
    """Write the card; see :func:`genlab.uses.card.write_out`."""
    picture = f"{SAMPLES}/{SAMPLES}.png"
    text = write_out(export, model, results.values(), where, picture if picture in export.files else None, program)
    write_atomic(folder / CARD, text)


def copy_export(place: ExportDir, folder: Path, where: str) -> Export:
    """Copy an export into an empty folder: the files that its index names, each checked, and its card.

    A card that is of an export in any folder says ``where`` it will be loaded from.

    Raises:
        GenlabError: If one is missing, a link or altered, or the card is too large.
    """
    for name, info in place.export.files.items():
        make_folder((folder / name).parent)
        with check_file(place.source, name, info).open("rb") as file, atomic_file(folder / name) as copied:
            shutil.copyfileobj(file, copied)
    card = place.source / CARD
    if card.is_file() and not card.is_symlink():
        write_atomic(folder / CARD, read_small(card).replace(THIS_FOLDER.encode(), where.encode()))
    write_atomic(folder / INDEX, place.export.text())
    return place.export


def check_target(target: Path, overwrite: bool) -> None:
    """See whether an export can be put into a folder: before the work, and not after it.

    Raises:
        GenlabError: If something is there that nobody said to overwrite, or that is no export.
    """
    try:
        make_folder(target.absolute().parent)
        check_writable(target.absolute())
        there = sorted(os.listdir(target)) if os.path.lexists(target) else []
    except OSError as error:
        raise GenlabError(f"to is {shown(target)}, but no folder can be made there: {error.strerror}.") from error
    # One that was stopped while it was replaced has no index, and nothing else than exports have.
    is_export = INDEX in there or (CONFIG in there and {*there} <= _NAMES)
    if there and not is_export:
        raise GenlabError(f"to is {shown(target)}, where other files are. Give a folder that is empty or not there.")
    if links := [name for name in ("results", SAMPLES) if (target / name).is_symlink()]:
        raise GenlabError(
            f"to is {shown(target)}, whose {links[0]} is a link: what is written there would lie elsewhere."
        )
    if there and not overwrite:
        raise GenlabError(f"to is {shown(target)}, where an export is. overwrite=true replaces it.")


def _files_before(target: Path) -> set[str]:
    """Return the files of the export that is replaced; all others in its folder are its owner's."""
    try:
        return set(parse_index((target / INDEX).read_bytes(), shown(target)).files)
    except (OSError, GenlabError):
        return set()


def put(folder: Path, export: Export, target: Path) -> None:
    """Move a finished export to its place, in the same file system; where one is, its files are replaced.

    Whoever opens the folder meanwhile finds the old one, none, or the new one, and never a mixture: the index goes
    first and comes last.
    """
    if not os.path.lexists(target) or not os.listdir(target):
        os.replace(folder, target)
        return
    before = _files_before(target)
    (target / INDEX).unlink(missing_ok=True)
    names = [*export.files, CARD]
    for name in before - {*names}:
        (target / name).unlink(missing_ok=True)
    for name in (*names, INDEX):
        if (folder / name).is_file():
            make_folder((target / name).parent)
            os.replace(folder / name, target / name)
