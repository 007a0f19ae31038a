"""The command that makes a result again."""

from __future__ import annotations

import re
import shlex

from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from genlab.core.secrets import redact_text

__all__ = ["command_line"]


def command_line(script: str, run: str | None = None) -> str:
    """Return ``python <script>`` with the arguments of the job that runs, or alone outside a job of Hydra's.

    The arguments are the user's own folder of configs and the overrides.

    Secrets that the environment holds are hidden: the command stands in results and pictures.

    Args:
        script: The script.
        run: What ``run=`` says instead of what was given: an address on the Hub may mean another commit tomorrow.
    """
    arguments: list[str] = []
    if HydraConfig.initialized():
        settings = HydraConfig.get()
        folders = [source.path for source in settings.runtime.config_sources if source.provider == "command-line"]
        # As written: what ${data.root} or ${oc.env:...} stands for is another thing on another machine.
        overrides = OmegaConf.to_container(settings.overrides.task, resolve=False)
        arguments = [f"--config-dir={folder}" for folder in folders] + [_as_written(word) for word in overrides]
    if run is not None:
        arguments = [f"run={run}" if argument.startswith("run=") else argument for argument in arguments]
    return redact_text(" ".join(["python", script, *map(shlex.quote, arguments)]))


def _as_written(override: str) -> str:
    """Undo how a sweep writes an interpolation for its jobs, ``$\\{name\\}``, which means the same."""
    return re.sub(r"\$\\\{(.*?)\\\}", lambda found: "${" + re.sub(r"\\(.)", r"\1", found[1]) + "}", override)
