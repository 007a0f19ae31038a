"""A run: its identity, its folder, and the way back to its model.

The same command means the same run. What tells runs apart is the part of the configuration that can change a trained
weight, and the seed; both stand in the folder's name.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import genlab
from genlab.core.errors import GenlabError, nearest

__all__ = ["IGNORED_KEYS", "RunDir", "code_version", "config_hash", "find_run", "read_config", "run_id"]

#: Dotted keys that leave a run's identity alone, with everything below them, and why.
IGNORED_KEYS: dict[str, str] = {
    "evaluation": "a run may be evaluated under several protocols",
    "logger": "where figures are shown",
    "hydra": "how the job was launched",
    "paths": "where files lie",
    "rerun": "stands in the folder's name",
    "seed": "stands in the run id",
    "checkpoint_minutes": "how often files are written",
    "log_every": "how often figures are shown",
    "grid_samples": "what is drawn",
    "data.root": "where files lie",
    "data.device": "where the data set is kept in memory",
    "trainer.accelerator": "which hardware does the work",
    "trainer.devices": "how much hardware does the work",
    "trainer.num_nodes": "how much hardware does the work",
    "trainer.strategy": "how the hardware shares the work",
    "trainer.default_root_dir": "where files lie",
    "trainer.enable_model_summary": "what is printed",
    "trainer.enable_progress_bar": "what is printed",
    "trainer.log_every_n_steps": "how often figures are shown",
    "trainer.logger": "where figures are shown",
    "trainer.profiler": "what is measured beside the training",
}


def config_hash(config: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the part of a configuration that can change a trained weight: 64 hex digits.

    The order of keys does not matter, nor whether a whole number is written as ``1`` or ``1.0``. `IGNORED_KEYS` is
    left out.

    Args:
        config: The resolved configuration as plain containers.

    Raises:
        TypeError: If a value is not a plain container, number, string, boolean or None.
    """
    identity = dict(config)
    data = dict(identity.get("data") or {})
    if data.get("seed") == identity.get("seed"):
        # By default the order of the data follows the seed, which stands in the run id; another one is another run.
        data.pop("seed", None)
    identity["data"] = data
    text = json.dumps(_canonical(identity), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def run_id(config: Mapping[str, Any], seed: int) -> str:
    """Return the short name of a run, e.g. ``"3f2a91cc-s0"``: 8 hex digits of its `config_hash`, and its seed."""
    return f"{config_hash(config)[:8]}-s{seed}"


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
        """Make the folder and those in it, where they are missing; returns itself."""
        for folder in (self.checkpoints, self.samples, self.results):
            folder.mkdir(parents=True, exist_ok=True)
        return self

    @property
    def id(self) -> str:
        """The run id, with ``-r1`` and so on for a rerun: the folder's name."""
        return self.path.name

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


def find_run(path_or_id: Path | str, logs: Path | str = "logs") -> RunDir:
    """Find a run by its folder, by a file in it such as a checkpoint, or by its id.

    Args:
        path_or_id: A path, a run id, or the beginning of one that no other run shares.
        logs: Root under which ids are looked for.

    Raises:
        GenlabError: If there is no such run, or if several begin like that; names the nearest or all of them.
    """
    path = Path(path_or_id)
    for folder in (path, *path.absolute().parents[:2]) if path.exists() else ():
        if (folder / "config.yaml").is_file():
            return RunDir(folder)
    known = sorted(config.parent for config in Path(logs).glob("runs/*/*/*/config.yaml"))
    wanted = str(path_or_id)
    found = [run for run in known if run.name == wanted]
    found = found or [run for run in known if wanted and run.name.startswith(wanted)]
    if len(found) == 1:
        return RunDir(found[0])
    if found:
        shown = ", ".join(map(str, found[:10])) + (" ..." if len(found) > 10 else "")
        raise GenlabError(f"'{wanted}' fits {len(found)} runs: {shown}.\nGive one of these folders, or more of the id.")
    what = "is a path without a run's config.yaml" if path.exists() else "is neither a run's folder nor a run id"
    hint = nearest(wanted, (run.name for run in known))
    raise GenlabError(f"'{wanted}' {what} among the {len(known)} runs in {Path(logs) / 'runs'}.{hint}")


@functools.cache
def code_version() -> str:
    """Return the package's version and, where it lies in a git checkout, the commit: ``"0.1.0 8aaba17+dirty"``."""
    commit = _git_commit(Path(__file__).resolve())
    return f"{genlab.__version__} {commit}" if commit else genlab.__version__


def read_config(run: RunDir) -> dict[str, Any]:
    """Read a run's resolved config.

    Raises:
        GenlabError: If the file is damaged.
    """
    import yaml

    try:
        config = yaml.safe_load(run.config.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise GenlabError(f"{run.config} is damaged: {' '.join(str(error).split())[:300]}") from error
    if not isinstance(config, dict):
        raise GenlabError(f"{run.config} holds a {type(config).__name__}, expected the run's configuration.")
    return config


def _git_commit(file: Path) -> str | None:
    # Asking about this very file keeps us from naming the commit of a project that merely contains our installation.
    # A hook's GIT_DIR must not point us elsewhere, and describing must not take the repository's index lock.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    environment["GIT_OPTIONAL_LOCKS"] = "0"

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(file.parent), *arguments]
        answer = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=10, check=True)
        return answer.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", file.name)
        return git("describe", "--always", "--exclude=*", "--abbrev=7", "--dirty=+dirty") or None
    except (OSError, subprocess.SubprocessError):
        return None


def _canonical(value: Any, path: str = "") -> Any:
    if isinstance(value, Mapping):
        items = ((str(key), f"{path}.{key}" if path else str(key), item) for key, item in value.items())
        return {key: _canonical(item, dotted) for key, dotted, item in items if dotted not in IGNORED_KEYS}
    if isinstance(value, list | tuple):
        return [_canonical(item, f"{path}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{path} is a {type(value).__name__}, expected a plain container, number, string or None.")
