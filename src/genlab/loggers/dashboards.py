"""What the dashboards share, and the dashboard that is none."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers.logger import Logger

from genlab.core.secrets import redact
from genlab.loggers.base import ExamplesLogger
from genlab.loggers.protocols import RunStatus
from genlab.measure.result import Result

__all__ = ["MOST_SOUNDS", "Dashboard", "no_dashboard"]

MOST_SOUNDS = 4
"""Sounds that are shown at once."""


class Dashboard(ExamplesLogger):
    """A dashboard of one run, drawn against the number of training examples seen; only rank 0 writes.

    Args:
        run_dir: The run's folder, ``<data>/<model>/<run id>`` under some root.
        run_id: The run's id.
        config: The run's configuration in plain containers; secrets in it are hidden.
        code_version: Version of the package and commit of the code.
    """

    def __init__(self, run_dir: Path, run_id: str, config: Mapping[str, Any], code_version: str) -> None:
        super().__init__()
        self.run_dir = Path(run_dir)
        self.run_id = run_id
        self.config = {**redact(config), "run_id": run_id, "code_version": code_version}

    @property
    def name(self) -> str:
        """Empty: the run's folder is the whole name."""
        return ""

    @property
    def version(self) -> str:
        """The run's id."""
        return self.run_id

    @property
    def save_dir(self) -> str:
        """The run's folder."""
        return str(self.run_dir)

    @property
    def data_and_model(self) -> tuple[str, str]:
        """Names of the data and of the model, as the folder has them."""
        return self.run_dir.parent.parent.name, self.run_dir.parent.name

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the run's whole configuration is shown already."""

    @abstractmethod
    def log_picture(self, name: str, path: Path, examples_seen: int) -> None:
        """See :class:`genlab.loggers.protocols.LogsPicture`."""

    @abstractmethod
    def log_files(self, name: str, paths: Sequence[Path], examples_seen: int) -> None:
        """See :class:`genlab.loggers.protocols.LogsFiles`."""

    @abstractmethod
    def log_result(self, result: Result) -> None:
        """See :class:`genlab.loggers.protocols.LogsResult`."""

    @abstractmethod
    def close(self, status: RunStatus) -> None:
        """See :class:`genlab.loggers.protocols.ClosesRun`."""


def no_dashboard(run_dir: Path, run_id: str, config: Mapping[str, Any], code_version: str) -> list[Logger]:
    """Return no logger: ``metrics.csv``, which every run writes, is enough.

    Args:
        run_dir: The run's folder.
        run_id: The run's id.
        config: The run's configuration.
        code_version: Version of the code.
    """
    return []
