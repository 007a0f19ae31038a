"""Jobs as fresh operating-system processes, so many at a time, each in a place of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from genlab.sweeps.jobs import Job, Outcome

__all__ = ["ProcessPool"]


class ProcessPool:
    """Runs jobs as processes of their own, one in each place.

    Args:
        command_for: Returns the full command line of a job from its overrides.
        folder: Where the jobs' logs go: ``<folder>/<number>.log``.
    """

    def __init__(self, command_for: Callable[[Sequence[str]], list[str]], folder: Path) -> None:
        self.command_for = command_for
        self.folder = folder

    def run(
        self, jobs: Iterable[Job], watch: Callable[[Job, Mapping[str, Any]], bool] | None = None
    ) -> Iterator[Outcome]:
        """Run the jobs and yield their outcomes as they end.

        Args:
            jobs: Taken one by one, each when a place is free for it: what comes next may depend on what has ended.
            watch: Called with each report of progress; True stops the job, which saves and counts as pruned.
        """
        raise NotImplementedError
