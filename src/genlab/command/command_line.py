"""The command that makes a result again."""

from __future__ import annotations

import shlex

from hydra.core.hydra_config import HydraConfig

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
        arguments = [f"--config-dir={folder}" for folder in folders] + list(settings.overrides.task)
    if run is not None:
        arguments = [f"run={run}" if argument.startswith("run=") else argument for argument in arguments]
    return redact_text(" ".join(["python", script, *map(shlex.quote, arguments)]))
