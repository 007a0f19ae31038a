"""What SLURM says of the jobs of a sweep. Needs submitit, which the launcher asks for first."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence

from submitit.slurm.slurm import SlurmInfoWatcher

__all__ = ["SlurmStates"]

_GONE = "GONE"
"""Of a job that SLURM had in its queue and knows no more, some minutes after its end."""

_ENDED = frozenset(
    ("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "TIMEOUT", _GONE)
)
"""States that no job comes back from; PREEMPTED is not one of them: the job is about to be queued again."""

_ASKING_SECONDS = 60
_QUEUE_SECONDS = 15
"""Between two looks at the queue, which costs a cluster less than its accounting, asked each ten minutes at last."""


class SlurmStates(SlurmInfoWatcher):
    """The states of jobs, for submitit: from the cluster's accounting, or from its queue where there is none.

    submitit knows accounting (``sacct``) alone. Without it a job that is killed never ends for submitit, which prints a
    warning whenever it asks.
    """

    def update(self) -> None:
        """Ask for the jobs that have not ended yet."""
        open_jobs = self._registered - self._finished
        if command := self._make_command():
            accounts = _answer(command)
            if accounts is not None:
                self._info_dict.update(self.read_info(accounts))
            else:
                self._delay_s = _QUEUE_SECONDS
                self._look_at_the_queue(open_jobs)
        self._last_status_check = time.time()
        self._finished.update(job for job in open_jobs if self.is_done(job, "cache"))

    def _look_at_the_queue(self, jobs: set[str]) -> None:
        # All of the user's: asked for single jobs squeue fails where the only one is no longer known.
        options = ["--array", "--states=all", "--noheader", "--format=%i|%T", f"--users={os.getuid()}"]
        queue = _answer(["squeue", *options])
        if queue is None:
            return
        found = self.read_info(f"JobID|State\n{queue}")
        for job in jobs:
            # One that was never there may be in the queue of another cluster.
            if job in found or job in self._info_dict:
                self._info_dict[job] = found.get(job, {"State": _GONE})

    def is_done(self, job_id: str, mode: str = "standard") -> bool:
        """Return whether a job has ended for good."""
        return self.get_state(job_id, mode).partition(" ")[0] in _ENDED  # "CANCELLED by 1000"


def _answer(command: Sequence[str]) -> str | None:
    # The user's own choice of what squeue shows, say of one partition, would hide jobs.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SQUEUE_")}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_ASKING_SECONDS)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout if done.returncode == 0 else None
