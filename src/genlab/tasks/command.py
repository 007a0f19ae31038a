"""The command that makes a result again."""

from __future__ import annotations

import shlex

from hydra.core.hydra_config import HydraConfig

from genlab.loggers.protocols import redact_text

__all__ = ["command_line"]


def command_line(script: str) -> str:
    """Return ``python <script>`` with the overrides of the job that runs; without them outside a job of Hydra's.

    Secrets that the environment holds are hidden: the command stands in results and pictures.
    """
    overrides = HydraConfig.get().overrides.task if HydraConfig.initialized() else []
    return redact_text(" ".join(["python", script, *map(shlex.quote, overrides)]))
