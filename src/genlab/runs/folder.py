"""A run: its identity, its folder, and the way back to its model.

The same command means the same run. What tells runs apart is the part of the configuration that can change a trained
weight, and the seed; both stand in the folder's name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from genlab.core.errors import GenlabError, shown
from genlab.core.spec import DataSpec
from genlab.runs.atomic import check_writable, make_folder, what_is_in_the_way
from genlab.runs.moved import at_home

__all__ = ["RunDir", "check_folder", "check_name", "check_place", "read_config"]

_LONGEST_NAME = 100


@dataclass(frozen=True)
class RunDir:
    """The folder of one run and the names of the files in it.

    Attributes:
        path: The folder itself; it need not exist yet.
    """

    path: Path

    LAST: ClassVar[str] = "last.ckpt"
    PREVIOUS: ClassVar[str] = "last.previous.ckpt"
    BEST: ClassVar[str] = "best.ckpt"
    ENDING: ClassVar[str] = ".ckpt"

    @classmethod
    def locate(cls, logs: Path | str, data: str, model: str, run_id: str, rerun: bool = False) -> RunDir:
        """Return the folder that a command trains in: ``<logs>/runs/<data>/<model>/<run id>``.

        Reruns stand beside it as ``<run id>-r1``, ``-r2`` ...: with ``rerun`` the first of them that is not finished.
        So an interrupted rerun goes on when its command is given again, and after a finished one the next begins.
        Without ``rerun`` it is always the plain folder: which reruns exist must not change what a command means.

        Args:
            logs: Root of what runs write, e.g. ``"logs"``.
            data: Name of the data set.
            model: Name of the model.
            run_id: From `run_id`.
            rerun: Whether to train afresh beside the first run.
        """
        plain = Path(logs) / "runs" / data / model / run_id
        if not rerun:
            return cls(plain)
        number = 1
        while (run := cls(plain.with_name(f"{run_id}-r{number}"))).is_finished:
            number += 1
        return run

    def create(self) -> RunDir:
        """Make the folder and those in it, where they are missing, and see that a run can write there; returns itself.

        Raises:
            GenlabError: If a folder or file of the run cannot be made or written, as something else has its name.
        """
        folders = (self.path, self.checkpoints, self.samples, self.results)
        files = (self.config, self.metrics, self.log, self.lock)
        checkpoints = (self.last_checkpoint, self.previous_checkpoint, self.best_checkpoint)
        for folder in folders:
            check_folder(folder)
        for file in (*files, *checkpoints):
            check_place(file)
        return self

    @property
    def id(self) -> str:
        """The run id, with ``-r1`` and so on for a rerun: the folder's name."""
        return self.path.name

    @property
    def given(self) -> str:
        """What ``run=`` says to mean this run."""
        return str(self.path)

    @property
    def spec(self) -> DataSpec | None:
        """What one example is, where the folder says it by itself, as an export does; None: its config's data says."""
        return None

    @property
    def is_finished(self) -> bool:
        """Whether the run was trained and evaluated to the end: it has a results file."""
        return any(self.results.glob("*.json"))

    @property
    def config(self) -> Path:
        """``config.yaml``, the resolved configuration."""
        return self.path / "config.yaml"

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def last_checkpoint(self) -> Path:
        """The newest checkpoint."""
        return self.checkpoints / self.LAST

    @property
    def previous_checkpoint(self) -> Path:
        """The checkpoint before the newest, for when that one is damaged."""
        return self.checkpoints / self.PREVIOUS

    @property
    def best_checkpoint(self) -> Path:
        """The checkpoint that validation chose."""
        return self.checkpoints / self.BEST

    @property
    def metrics(self) -> Path:
        """``metrics.csv``, figures against examples seen."""
        return self.path / "metrics.csv"

    @property
    def samples(self) -> Path:
        """The folder of sample grids."""
        return self.path / "samples"

    @property
    def results(self) -> Path:
        """The folder of results, one file per evaluation protocol."""
        return self.path / "results"

    @property
    def log(self) -> Path:
        """``train.log``, what the run printed."""
        return self.path / "train.log"

    @property
    def lock(self) -> Path:
        """The file of the run's lock."""
        return self.path / "run.lock"


def check_name(key: str, text: str) -> None:
    """Check a setting that names files.

    Raises:
        GenlabError: If it holds other characters than file names everywhere do, or is too long for what is added to it.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", text):
        raise GenlabError(f"{key} is '{shown(text)}', expected letters, digits, '.', '_' and '-': it names files.")
    if len(text) > _LONGEST_NAME:
        raise GenlabError(f"{key} has {len(text)} characters, expected at most {_LONGEST_NAME}: it names files.")


def check_folder(folder: Path) -> None:
    """Make a folder of a run where it is missing, and see that files can be written in it.

    Raises:
        GenlabError: If not.
    """
    try:
        make_folder(folder)
        check_writable(folder / "config.yaml")
    except OSError as error:
        raise GenlabError(
            f"{shown(folder)} cannot be made or written: {error.strerror}. Mend that, or give paths.logs=."
        ) from error


def check_place(file: Path) -> None:
    """See that a file of a run can take its place: before a training, and not after it.

    Raises:
        GenlabError: If something else stands there, such as a folder.
    """
    try:
        there = what_is_in_the_way(file)
    except OSError as error:
        raise GenlabError(f"{shown(file)} cannot be written: {error.strerror}. Move what is in its place.") from error
    if there is not None:
        raise GenlabError(f"{shown(file)} is {there}, but a run has a file there. Move it away.")


def read_config(run: RunDir) -> dict[str, Any]:
    """Read a run's resolved config.

    Raises:
        GenlabError: If the file is damaged.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        def compose_node(self, parent: Any, index: Any) -> Any:
            # We write none, and a few lines of them stand for more than fits into memory, or hold themselves.
            if self.check_event(yaml.AliasEvent):
                raise yaml.YAMLError("it has an alias, which no run writes")
            return super().compose_node(parent, index)

    try:
        config = yaml.load(run.config.read_text(encoding="utf-8"), Loader)
    except RecursionError as error:
        raise GenlabError(f"{run.config} is damaged: it is nested too deeply.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise GenlabError(f"{run.config} is damaged: {' '.join(str(error).split())[:300]}") from error
    if not isinstance(config, dict):
        raise GenlabError(f"{run.config} holds a {type(config).__name__}, expected the run's configuration.")
    return at_home(config)
