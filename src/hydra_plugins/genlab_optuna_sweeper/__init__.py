"""Hydra's door to genlab's search; Hydra scans this module at every start, so it imports nothing heavy."""

from __future__ import annotations

from typing import Any

from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

__all__ = ["OptunaSweeper"]


class OptunaSweeper(Sweeper):
    """Searches with Optuna; the keys are explained in ``conf/hydra/sweeper/optuna.yaml``.

    Unlike hydra-optuna-sweeper's it asks for a trial when there is room for it, prunes, counts the trials of all
    processes together, and takes over those of processes that died.
    """

    def __init__(self, **settings: Any) -> None:
        self.settings = settings

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from genlab.command.sweep_options import SWEEPER, check_options

        check_options("hydra.sweeper", config.hydra.sweeper, SWEEPER)
        self.hydra_context = hydra_context
        self.task_function = task_function
        self.config = config

    def sweep(self, arguments: list[str]) -> None:
        from genlab.command.start_search import search

        search(self.settings, self.config, self.hydra_context, self.task_function, arguments)
