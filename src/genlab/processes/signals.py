"""Signals that end a run, and the cluster's queue, to which a run that must give way goes back."""

from __future__ import annotations

import math
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

from genlab.core.errors import Interrupted
from genlab.processes.job_reports import current_report
from genlab.processes.ranks import INTERACTIVE, is_first_process
from genlab.processes.starting import is_starting, leave

__all__ = ["LEAVING_SECONDS", "REQUEUE_SIGNALS", "STOP_SIGNALS", "OneStop", "stoppable"]

REQUEUE_SIGNALS = (signal.SIGUSR1, signal.SIGUSR2)
"""What a cluster sends a while before it takes the machine away; Lightning's and submitit's defaults."""

STOP_SIGNALS = (signal.SIGTERM, *REQUEUE_SIGNALS)
"""All signals that a run leaves on; Ctrl-C is Python's own ``KeyboardInterrupt``."""

LEAVING_SECONDS = 60.0
"""What a run has to leave, longer than anything that it closes takes."""

_SCONTROL_SECONDS = 60


class OneStop:
    """A signal handler that raises :class:`Interrupted`; what comes while the run leaves is only noted.

    Python drops what is raised within a finalizer: a signal after `LEAVING_SECONDS` is raised again.

    A command that has not begun its work leaves at once; see :mod:`genlab.processes.starting`.

    Args:
        before_leaving: Called with the signal before that.

    Attributes:
        received: The signal to act on, or None.
    """

    def __init__(self, before_leaving: Callable[[int], None]) -> None:
        self.received: int | None = None
        self._before_leaving = before_leaving
        self._noted_at = -math.inf

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        leaving = self._is_leaving()
        self.note(signum)
        if not leaving:
            name = signal.Signals(signum).name
            if is_starting():
                try:
                    self._before_leaving(signum)
                finally:
                    leave(f"Stopped by {name}. The same command goes on from the last checkpoint.", signum)
            raise Interrupted(f"Stopped by {name}. The same command goes on from the last checkpoint.", signum)

    def note(self, signum: int) -> None:
        """Note a signal, from which the run leaves already."""
        # A cluster that asked for the machine sends SIGTERM next: the run has still to be queued again.
        if self.received not in REQUEUE_SIGNALS:
            self.received = signum
        if not self._is_leaving():
            self._noted_at = time.monotonic()

    def _is_leaving(self) -> bool:
        return time.monotonic() < self._noted_at + LEAVING_SECONDS


@contextmanager
def stoppable() -> Iterator[None]:
    """Within it SIGTERM, SIGUSR1 and SIGUSR2 raise :class:`Interrupted`, on which a cluster's job is queued again.

    The requeue comes last, when all that was open is closed. SIGUSR1 and SIGUSR2 ask for it, and SIGTERM where SLURM
    says that the job is being preempted; ``scancel`` sends the same SIGTERM and means the end. Who had a handler for
    the signal before, such as submitit, is handed it; else ``scontrol requeue`` is called, inside a SLURM job.
    Outside the main thread, where Python hears no signals, it does nothing.

    Raises:
        Interrupted: After a signal.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def let_go(signum: int) -> None:
        _put_back(previous)
        if is_first_process():
            _hand_on(signum, previous)

    handler = OneStop(let_go)
    previous = {signum: signal.signal(signum, handler) for signum in STOP_SIGNALS}
    try:
        yield
    except Interrupted as stopped:
        let_go(handler.received or stopped.signum)
        raise
    finally:
        _put_back(previous)


def _put_back(handlers: Mapping[int, Any]) -> None:
    for signum, handler in handlers.items():
        signal.signal(signum, handler)


def _hand_on(signum: int, previous: Mapping[int, Any]) -> None:
    if any(isinstance(handler, OneStop) for handler in previous.values()):
        return  # Another of these stands around this one: the job is not over yet.
    job = _slurm_job()
    if signum not in REQUEUE_SIGNALS and not (signum == signal.SIGTERM and job and _is_preempted(job)):
        return
    for wanted in (signum, *REQUEUE_SIGNALS):
        if wanted in REQUEUE_SIGNALS and callable(previous[wanted]):
            previous[wanted](signum, None)  # submitit's requeues, if it may, and ends the process
            return
    if job:
        _requeue(job)


def _slurm_job() -> str | None:
    """The job that this process belongs to, unless a sweep's own process speaks for it."""
    environment = os.environ
    if environment.get("SLURM_JOB_NAME") in INTERACTIVE or current_report() is not None:
        return None
    if array := environment.get("SLURM_ARRAY_JOB_ID"):
        return f"{array}_{environment['SLURM_ARRAY_TASK_ID']}"
    return environment.get("SLURM_JOB_ID")


def _is_preempted(job: str) -> bool:
    shown = _scontrol("show", "job", job)
    found = re.search(r"\bPreemptTime=(\d\S*)", shown.stdout) if shown else None
    return found is not None


def _requeue(job: str) -> None:
    done = _scontrol("requeue", job)
    if done and done.returncode == 0:
        print(f"SLURM job {job} is back in the queue.", file=sys.stderr)
        return
    reason = " ".join(done.stderr.split()) if done else "scontrol does not run"
    print(f"SLURM job {job} could not be queued again ({reason}); submit it again, it goes on.", file=sys.stderr)


def _scontrol(*arguments: str) -> subprocess.CompletedProcess[str] | None:
    try:
        return subprocess.run(["scontrol", *arguments], capture_output=True, text=True, timeout=_SCONTROL_SECONDS)
    except (OSError, subprocess.SubprocessError):
        return None
