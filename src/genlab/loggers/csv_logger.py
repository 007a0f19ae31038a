"""Lightning's door to ``metrics.csv``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genlab.loggers.base import ExamplesLogger
from genlab.runs.folder import RunDir
from genlab.runs.metrics_csv import MetricsCsv

__all__ = ["CsvLogger"]


class CsvLogger(ExamplesLogger):
    """Logger that writes a run's ``metrics.csv``; only rank 0 writes.

    Args:
        run: The run's folder.
    """

    def __init__(self, run: RunDir) -> None:
        super().__init__()
        self.run = run
        self.metrics = MetricsCsv(run.metrics)

    @property
    def name(self) -> str:
        """Empty: the run's folder is the whole name."""
        return ""

    @property
    def version(self) -> str:
        """The run id."""
        return self.run.id

    @property
    def save_dir(self) -> str:
        """The run's folder."""
        return str(self.run.path)

    @property
    def log_dir(self) -> str:
        """The run's folder."""
        return str(self.run.path)

    def log_figures(self, figures: Mapping[str, float], examples_seen: int) -> None:
        self.metrics.log(figures, examples_seen)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the configuration stands in ``config.yaml``."""
