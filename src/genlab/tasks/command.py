"""The command that makes a result again."""

from __future__ import annotations

import shlex

from hydra.core.hydra_config import HydraConfig

__all__ = ["command_line"]


def command_line(script: str) -> str:
    """Return ``python <script>`` with the overrides of the job that runs; without them outside a job of Hydra's."""
    overrides = HydraConfig.get().overrides.task if HydraConfig.initialized() else []
    return " ".join(["python", script, *map(shlex.quote, overrides)])
