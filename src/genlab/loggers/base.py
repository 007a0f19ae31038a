"""What genlab's loggers share: the axis is the number of training examples seen."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

from pytorch_lightning.loggers.logger import Logger
from pytorch_lightning.utilities import rank_zero_only

__all__ = ["ExamplesLogger"]


class ExamplesLogger(Logger):
    """A logger whose steps are training examples seen; only rank 0 writes."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log figures.

        Args:
            metrics: Name and value of each figure.
            step: Number of training examples seen; unlike elsewhere in Lightning, not a count of batches.

        Raises:
            ValueError: If ``step`` is None.
        """
        if step is None:
            raise ValueError("step is None, expected the number of training examples seen.")
        self.log_figures(metrics, step)

    @abstractmethod
    def log_figures(self, figures: Mapping[str, float], examples_seen: int) -> None:
        """Log figures; called in the first process alone."""
