"""Lightning's door to ``metrics.csv``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytorch_lightning.loggers.logger import Logger
from pytorch_lightning.utilities import rank_zero_only

from genlab.results import MetricsCsv
from genlab.runs import RunDir

__all__ = ["CsvLogger"]


class CsvLogger(Logger):
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

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Append one row.

        Args:
            metrics: Name and value of each figure.
            step: Number of training examples seen; unlike elsewhere in Lightning, not a count of batches.

        Raises:
            ValueError: If ``step`` is None.
        """
        if step is None:
            raise ValueError("step is None, expected the number of training examples seen.")
        self.metrics.log(metrics, step)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the configuration stands in ``config.yaml``."""
