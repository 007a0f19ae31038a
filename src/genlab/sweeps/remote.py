"""A job that a cluster's scheduler starts, on this machine or another."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from genlab.core.errors import GenlabError, Interrupted
from genlab.processes.ranks import OWN_VARIABLES, launch
from genlab.processes.signals import OneStop, stoppable
from genlab.sweeps.jobs import Job, Outcome
from genlab.sweeps.places import Place
from genlab.sweeps.process_pool import ProcessPool

__all__ = ["RemoteJob"]


@dataclass(frozen=True)
class RemoteJob:
    """What a scheduler pickles, and calls where the job shall run: plain data, and all else is the command's.

    There the command runs as a process of its own, as in :class:`~genlab.sweeps.process_pool.ProcessPool`: it may crash
    without the scheduler's worker, and it may be a distributed training. Signals reach it, and it is waited for.

    Attributes:
        job: The job.
        command: Its whole command line; the first word, the Python of the sweep, gives way to the worker's own.
        folder: Where its log goes; seen from all machines.
        working_directory: Where the command was given.
        environment: Variables to set beside those of the worker; None removes one.
    """

    job: Job
    command: tuple[str, ...]
    folder: Path
    working_directory: Path
    environment: Mapping[str, str | None] = field(default_factory=dict)

    def __call__(self) -> Outcome:
        """Run the job, and return how it ended; after a requeue the scheduler ends this process before that.

        Raises:
            GenlabError: If the job failed and is one of several processes: the exit code tells srun to end the others,
                which would wait for it.
        """
        os.chdir(self.working_directory)
        within_the_sweep = isinstance(signal.getsignal(signal.SIGTERM), OneStop)  # joblib has such a "worker"
        ended: list[Outcome] = []
        try:
            with stoppable():
                ended.extend(self._pool().run([self.job]))  # what it yields before it raises is kept
        except Interrupted as stopped:
            if within_the_sweep:
                raise
            ended = ended or [Outcome(self.job, 128 + stopped.signum, None, str(stopped), 0.0, self.folder)]
        else:
            started = launch()
            if ended[0].code != 0 and started is not None and started.processes != 1:
                raise GenlabError(" ".join(str(ended[0].error).split()))
        return replace(ended[0], stopped=False)  # the job was, and not its sweep: there it counts as failed

    def _pool(self) -> ProcessPool:
        changed = {**os.environ, **self.environment}
        environment = {name: value for name, value in changed.items() if value is not None}
        # srun started this process, but means the job: what tells the processes of a run apart goes on to it.
        by_srun = environment.get("SUBMITIT_EXECUTOR") == "slurm"
        ranks = {name: environment[name] for name in OWN_VARIABLES if by_srun and name in environment}
        rank = ranks.get("SLURM_PROCID", "0")
        folder = self.folder if rank == "0" else self.folder / f"rank{rank}"
        command = [sys.executable, *self.command[1:]]  # a worker may live in a container
        return ProcessPool(lambda overrides: command, folder, [Place(environment=ranks)], environment)

    def checkpoint(self) -> Any:
        """Return what submitit shall run after a requeue: the same; the run itself goes on where it was."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)
