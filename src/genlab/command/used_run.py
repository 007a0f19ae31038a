"""What all uses of a trained run share: the run that is used, and the record that makes what comes out again."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from genlab.command.build import build_datamodule, check_same_data
from genlab.command.command_line import command_line
from genlab.command.config import read_trained
from genlab.command.load import find_checkpoint, open_run
from genlab.command.schemas import UseConfig
from genlab.core.hardware import choose_device
from genlab.data.base import GenlabDataModule
from genlab.models.base import GenerativeModel
from genlab.runs.atomic import make_room, write_atomic
from genlab.runs.code import this_code
from genlab.runs.exports import ExportDir
from genlab.runs.finding import find_run
from genlab.runs.folder import RunDir

__all__ = ["UsedRun"]


@dataclass(frozen=True)
class UsedRun:
    """A trained run, opened for a use.

    Attributes:
        use: Name of the use.
        place: The run.
        checkpoint: The file of its weights.
        given: What says again which run and checkpoint it is.
        model: Frozen, in eval mode, on its device.
        command: The command line.
    """

    use: str
    place: RunDir
    checkpoint: Path
    given: str
    model: GenerativeModel
    command: str
    _data: GenlabDataModule | None = None

    @classmethod
    def load(cls, use: str, settings: UseConfig, script: str, sampling: Mapping[str, Any] | None = None) -> UsedRun:
        """Load the run that a use's settings name; ``sampling`` as of `load_run`.

        Raises:
            GenlabError: If it is missing or damaged, or there is no such device.
        """
        place = find_run(settings.run, settings.paths.logs)
        device = choose_device(settings.device)
        checkpoint = find_checkpoint(place, settings.run, settings.checkpoint)
        # An export says what its examples are; what those of other runs are may take reading a file of data.
        data = build_datamodule(read_trained(place)) if place.spec is None else None
        model = open_run(place, checkpoint, device, sampling, place.spec if data is None else data.spec)
        given = settings.run if settings.run.endswith(RunDir.ENDING) else place.given
        command = command_line(script, given if isinstance(place, ExportDir) else None)
        return cls(use, place, checkpoint, given, model, command, data)

    def datamodule(self) -> GenlabDataModule:
        """Return the data on which the run was trained.

        Raises:
            GenlabError: If it is an export's, and not here; or a file of one's own that has changed since.
        """
        data = self._data or build_datamodule(read_trained(self.place))
        check_same_data(self.place, data.spec)
        return data

    @property
    def title(self) -> str:
        """What a picture says of itself."""
        return f"{self.model.name} on {self.model.spec.name}, run {self.place.id}: {self.command}"

    def place_for(self, out: str | None, name: str, endings: Sequence[str]) -> Path:
        """Return the path of what is written, without its ending, and see that each file can be: before the work.

        Args:
            out: The setting; None: in the run's folder of samples.
            name: Of files there.
            endings: Of the files that will be written.

        Raises:
            GenlabError: If a file cannot be written.
        """
        if out is not None:
            make_room(Path(out))  # whatever its ending
        path = Path(out).with_suffix("") if out else self.place.samples / name
        for ending in endings:
            make_room(path.with_name(path.name + ending))
        return path

    @staticmethod
    def saved(path: Path, *written: Sequence[str | Path]) -> str:
        """Return the line that names what was written: of many files of one kind the first and the last.

        Args:
            path: That of all files, without an ending.
            written: Files of one kind each, or endings.
        """
        names = [[str(file).removeprefix(str(path)) for file in files] for files in written if files]
        said = [", ".join(files) if len(files) < 3 else f"{files[0]} to {files[-1]}" for files in names]
        return f"Saved: {path}{', '.join(said)}"

    def record(self, path: Path, settings: Mapping[str, Any], found: Mapping[str, Any]) -> Path:
        """Write the JSON file beside what came out: what was found, and all that is needed to make it again.

        Args:
            path: That of the others, without an ending.
            settings: The use's own settings, which with the same weights and code give the same again.
            found: What it gave.
        """
        model, spec = self.model, self.model.spec
        record = {
            "use": self.use,
            "run": self.place.id,
            "settings": {"run": self.given, **settings, "device": str(model.device)},
            "model": {"name": model.name, "family": model.family, "variant": model.variant},
            "data": {"name": spec.name, "modality": spec.modality, "shape": list(spec.shape), "levels": spec.levels},
            "weights": {"file": self.checkpoint.name, "sha256": _sha256(self.checkpoint)},
            **found,
            "command": self.command,
            "code": this_code().as_dict(),
            "torch": torch.__version__,
        }
        file = path.with_name(f"{path.name}.json")
        write_atomic(file, json.dumps(_finite(record), indent=2, allow_nan=False) + "\n")
        return file


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _finite(value: Any) -> Any:
    """Put None in the place of numbers that JSON has not."""
    if isinstance(value, Mapping):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
