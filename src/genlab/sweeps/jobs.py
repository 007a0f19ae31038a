"""What a sweep consists of: jobs, and how each of them ended."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genlab.measure.finished_run import FinishedRun

__all__ = ["Job", "Outcome"]


@dataclass(frozen=True)
class Job:
    """One run of a sweep.

    Attributes:
        number: Its number in the sweep, from 0.
        overrides: Its settings, as single arguments of a command line.
    """

    number: int
    overrides: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Attributes:
        job: The job.
        code: Exit code as shells have it: 0 for success, 128 plus the number of a signal that killed it.
        result: What it reported in plain containers, as :meth:`FinishedRun.as_dict` gives it; None if nothing.
        error: What went wrong, in one or two lines; None after success.
        seconds: From the start of its process to the end.
        log: What it printed.
        pruned: Whether it was stopped because it was hopeless.
        stopped: Whether it was stopped with its sweep.
    """

    job: Job
    code: int
    result: dict[str, Any] | None
    error: str | None
    seconds: float
    log: Path
    pruned: bool = False
    stopped: bool = False

    @property
    def finished(self) -> FinishedRun | None:
        """The run and its result, if it reported one."""
        return FinishedRun.of(self.result)

    @property
    def failed(self) -> bool:
        """Whether it went wrong by itself: neither finished nor was asked to stop."""
        return self.code != 0 and not self.pruned and not self.stopped

    @property
    def signal_name(self) -> str | None:
        """Name of the signal that ended the job, such as ``"SIGKILL"``, or None."""
        try:
            return signal.Signals(self.code - 128).name
        except ValueError:
            return None
