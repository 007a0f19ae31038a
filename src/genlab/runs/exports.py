"""A run as a folder to be shared: plain files, their index, and what is checked before any of them is used.

``config.yaml``, ``model.safetensors``, results and samples stand in ``export.json`` with their sizes and SHA-256; the
card, ``README.md``, is for people and is never read. A folder may come from anybody: it names no file outside itself,
and nothing in it runs code.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from annotated_types import Ge, Le
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from genlab.core.errors import GenlabError, shown
from genlab.core.spec import DataSpec
from genlab.runs.folder import RunDir

__all__ = [
    "CARD", "CONFIG", "INDEX", "NETWORK", "WEIGHTS", "CodeState", "Export", "ExportDir", "FileInfo", "Hardware",
    "ProgressInfo", "TrainingInfo", "check_file", "file_info", "is_file_of_export", "most_bytes", "open_export",
    "parse_index", "read_small",
]  # fmt: skip

INDEX = "export.json"
CONFIG = "config.yaml"
WEIGHTS = "model.safetensors"
CARD = "README.md"
NETWORK = "network.pt2"
"""What the model draws by, by torch.export, where that was asked for: for other programs, never opened here."""

MOST_FILES = 1000
MOST_BYTES = {CONFIG: 1_000_000, INDEX: 1_000_000, CARD: 1_000_000, "results": 10_000_000, "samples": 100_000_000}
"""Largest size of a file, or of each file in a folder."""
MOST_BYTES_OF_WEIGHTS = 50_000_000_000

_WORD = "[A-Za-z0-9][A-Za-z0-9._-]{0,149}"
_FILE = re.compile(rf"{CONFIG}|{WEIGHTS}|{NETWORK}|results/{_WORD}\.json|samples/{_WORD}\.(png|txt|wav|csv|npz)")

Name = Annotated[str, Field(pattern=rf"^{_WORD}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Whole = Annotated[int, Ge(0)]
Real = Annotated[float, Ge(0)]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())


class FileInfo(_Part):
    """What a file of an export is known by."""

    bytes: Whole
    sha256: Sha256


class CodeState(_Part):
    """One state of the code; see :class:`genlab.runs.code.Code`."""

    version: str
    sha256: Sha256 | None = None


class ProgressInfo(_Part):
    """How far the training was; see :class:`genlab.models.base.Progress`."""

    examples: Whole
    batches: Whole
    seconds: Real
    fraction: Annotated[float, Ge(0), Le(1)]


class Hardware(_Part):
    """What it was trained on."""

    device: str
    precision: str
    peak_memory_bytes: Whole | None


class TrainingInfo(_Part):
    """What the whole training took."""

    progress: ProgressInfo
    hardware: Hardware
    stopped_by: str
    code: tuple[CodeState, ...]


class Export(_Part):
    """The index of an export.

    Attributes:
        layout: Number of the layout of the folder.
        run_id: Of the run that was exported.
        config_hash: Of its config; see :func:`genlab.runs.identity.config_hash`.
        model: Name of the model.
        checkpoint: Which of the run's checkpoints the weights are.
        chosen_by: The figure of validation that chose them; None: nothing did.
        progress: How far the training was at these weights.
        training: What the whole training took.
        data: What one example is.
        licence: Of the weights, as who exported them says; None: not said.
        data_licence: Of the data, as its source says; None: not known.
        code: The code that exported it.
        files: By their paths in the folder, all but the index and the card.
    """

    layout: Literal[1] = Field(alias="schema")
    run_id: Name
    config_hash: Sha256
    model: Name
    checkpoint: Literal["best", "last"]
    chosen_by: str | None
    progress: ProgressInfo
    training: TrainingInfo
    data: DataSpec
    licence: str | None
    data_licence: str | None
    code: CodeState
    files: dict[str, FileInfo]

    @field_validator("data")
    @classmethod
    def _names_a_folder(cls, spec: DataSpec) -> DataSpec:
        if not re.fullmatch(_WORD, spec.name):
            raise ValueError("its name is none of a data set")
        return spec

    @field_validator("files")
    @classmethod
    def _lie_in_the_folder(cls, files: Mapping[str, FileInfo]) -> Mapping[str, FileInfo]:
        for name, info in files.items():
            if not is_file_of_export(name):
                raise ValueError(f"'{shown(name)[:100]}' is no file of an export")
            if info.bytes > (most := most_bytes(name)):
                raise ValueError(f"{name} has {info.bytes:,} bytes, expected at most {most:,}")
        if missing := [name for name in (CONFIG, WEIGHTS) if name not in files]:
            raise ValueError(f"{missing[0]} is not among them")
        if len(files) > MOST_FILES:
            raise ValueError(f"they are {len(files):,}, expected at most {MOST_FILES:,}")
        return files

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Self:
        """Make an index of plain containers and objects."""
        return cls.model_validate(content)

    def text(self) -> str:
        """Return the text of its file."""
        return self.model_dump_json(by_alias=True, indent=2) + "\n"


def most_bytes(name: str) -> int:
    """Return the largest size that a file of an export may have, by its path in the folder."""
    return MOST_BYTES_OF_WEIGHTS if name in (WEIGHTS, NETWORK) else MOST_BYTES[name.partition("/")[0]]


def is_file_of_export(name: str) -> bool:
    """Whether an export may have a file of this path in its folder."""
    return _FILE.fullmatch(name) is not None


def parse_index(content: bytes, where: str) -> Export:
    """Return the index that the content of a file is.

    Args:
        content: Of the file.
        where: What the message calls it.

    Raises:
        GenlabError: If it is none, or names what does not belong into an export.
    """
    try:
        return Export.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(map(str, first["loc"]))
        raise GenlabError(
            f"{where} is not the index of an export: {f'{shown(key)[:100]}: ' if key else ''}"
            f"{' '.join(first['msg'].split())[:200]}."
        ) from error


@dataclass(frozen=True)
class ExportDir(RunDir):
    """An exported run.

    Its folder is only read: what uses of it make and evaluations find lies at :attr:`path`, among those of runs.

    Attributes:
        source: Its folder.
        address: What ``run=`` says to mean it again.
        export: Its index.
    """

    source: Path
    address: str
    export: Export

    @property
    def given(self) -> str:
        return self.address

    @property
    def spec(self) -> DataSpec:
        return self.export.data

    @property
    def config(self) -> Path:
        return self.source / CONFIG

    @property
    def best_checkpoint(self) -> Path:
        """The weights: which of the run's they are, :attr:`export` says."""
        return self.source / WEIGHTS

    @property
    def last_checkpoint(self) -> Path:
        export = self.export
        are_last = export.checkpoint == "last" or export.progress == export.training.progress
        return self.source / (WEIGHTS if are_last else self.LAST)


def open_export(folder: Path, logs: Path | str, address: str = "") -> ExportDir:
    """Return the run that a folder with an index holds, after a look at its index and config.

    Args:
        folder: The folder.
        logs: Root of what runs write.
        address: What ``run=`` says to mean it again; by default the folder.

    Raises:
        GenlabError: If it is damaged, or its files are none that an export has.
    """
    path = folder / INDEX
    export = parse_index(read_small(path), shown(path))
    check_file(folder, CONFIG, export.files[CONFIG])
    name = f"{export.run_id}-{export.files[WEIGHTS].sha256[:8]}"
    place = Path(logs) / "runs" / export.data.name / export.model / name
    return ExportDir(place, folder, address or str(folder), export)


def check_file(folder: Path, name: str, info: FileInfo) -> Path:
    """Return the path of a file of an export after a look at every byte of it.

    Raises:
        GenlabError: If it is missing, a link, no file, or not what the index says.
    """
    path = folder / name
    try:
        if path.parent != folder and not stat.S_ISDIR(os.lstat(path.parent).st_mode):
            raise GenlabError(f"{shown(path.parent)} is no folder, as an export has it: it is left alone.")
        about = _lstat(path)
        found = file_info(path) if about.st_size == info.bytes else None
    except OSError as error:
        raise GenlabError(f"{shown(path)} cannot be read ({error.strerror}), but {INDEX} names it.") from error
    if found != info:
        raise GenlabError(f"{shown(path)} is damaged or altered: it is not what {INDEX} says. Export or pull it again.")
    return path


def file_info(path: Path) -> FileInfo:
    """Return what a file is known by."""
    with path.open("rb") as file:
        return FileInfo(bytes=os.fstat(file.fileno()).st_size, sha256=hashlib.file_digest(file, "sha256").hexdigest())


def _lstat(path: Path) -> os.stat_result:
    about = os.lstat(path)
    if not stat.S_ISREG(about.st_mode):
        what = "a link" if stat.S_ISLNK(about.st_mode) else "no file"
        raise GenlabError(f"{shown(path)} is {what}: an export has plain files, and it is left alone.")
    return about


def read_small(path: Path) -> bytes:
    """Return the content of an index or a card.

    Raises:
        GenlabError: If it cannot be read, is a link or no file, or is larger than one may be.
    """
    try:
        size = _lstat(path).st_size
        if size > (most := most_bytes(path.name)):
            raise GenlabError(f"{shown(path)} has {size:,} bytes, expected at most {most:,}.")
        return path.read_bytes()
    except OSError as error:
        raise GenlabError(f"{shown(path)} cannot be read ({error.strerror}).") from error
