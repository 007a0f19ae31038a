"""What makes two commands the same run, and which code trained it."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import genlab
from genlab.runs.moved import by_first_name

__all__ = ["IGNORED_KEYS", "code_version", "config_hash", "run_id"]


_FOLDERS_OF_GIT = f"{os.defpath}:/usr/local/bin:/opt/homebrew/bin"

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
    identity = by_first_name(config)
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


@functools.cache
def code_version() -> str:
    """Return the package's version and, where it lies in a git checkout, the commit: ``"0.1.0 8aaba17+dirty"``."""
    commit = _git_commit(Path(__file__).resolve())
    return f"{genlab.__version__} {commit}" if commit else genlab.__version__


def _git_commit(file: Path) -> str | None:
    # The program is not looked up in PATH, and of the environment only the home folder reaches it, where git keeps
    # which folders are safe: a hook's GIT_DIR would point us elsewhere, and other variables name programs to run.
    program = shutil.which("git", path=_FOLDERS_OF_GIT)
    if program is None:
        return None
    environment = {"PATH": _FOLDERS_OF_GIT, "HOME": str(Path.home()), "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"}

    def git(*arguments: str) -> str:
        command = [program, "-c", "core.fsmonitor=false", "-C", str(file.parent), *arguments]
        answer = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=10, check=True)
        return answer.stdout.strip()

    # Asking about this very file keeps us from naming the commit of a project that merely contains our installation.
    # Describing must not take the repository's index lock.
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
