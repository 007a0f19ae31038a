"""The summary of failed jobs: which failed, why, and where their logs are."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from genlab.sweeps.jobs import Job, Outcome

__all__ = ["describe_failures", "explain_exit", "varying"]

_TAIL_BYTES = 20_000
_LONGEST_REASON = 400
_MOST_REASONS = 20
_MOST_JOBS = 10


def explain_exit(code: int, log: Path) -> str:
    """Say in one or two lines why a process ended that has not said so itself.

    Args:
        code: Its exit code as shells have it, not 0.
        log: What it printed.
    """
    if code > 128:
        try:
            name = signal.Signals(code - 128).name
        except ValueError:
            return f"Exit code {code}.{_last_line(log)}"
        if code - 128 == signal.SIGKILL:
            return "Killed by SIGKILL: out of memory?"
        return f"Killed by {name}.{_last_line(log)}"
    return f"Exit code {code}.{_last_line(log)}"


def _last_line(log: Path) -> str:
    try:
        with open(log, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    said = [line.strip() for line in lines if line.strip() and not line.startswith("$ ")]
    return f" It said last: {said[-1][:_LONGEST_REASON]}" if said else ""


def varying(jobs: Iterable[Job]) -> dict[int, str]:
    """Return a name for each job by its number: its settings without those that all jobs share."""
    jobs = list(jobs)
    shared = set(jobs[0].overrides).intersection(*(job.overrides for job in jobs)) if len(jobs) > 1 else set()
    return {job.number: " ".join(o for o in job.overrides if o not in shared) for job in jobs}


def describe_failures(outcomes: Sequence[Outcome], names: dict[int, str]) -> str:
    """Return the failed jobs as lines of text, those that failed for the same reason together.

    Args:
        outcomes: Of the whole sweep.
        names: What tells its jobs apart, from `varying`.
    """
    by_reason: dict[str, list[Outcome]] = {}
    for outcome in sorted((o for o in outcomes if o.failed), key=lambda outcome: outcome.job.number):
        by_reason.setdefault(outcome.error or f"Exit code {outcome.code}.", []).append(outcome)
    return "\n".join(_lines(by_reason, names))


def _lines(by_reason: dict[str, list[Outcome]], names: dict[int, str]) -> Iterator[str]:
    for reason, failed in list(by_reason.items())[:_MOST_REASONS]:
        for outcome in failed[:_MOST_JOBS]:
            name = names.get(outcome.job.number, "")
            yield f"  job {outcome.job.number}{': ' if name else ''}{name}  ({outcome.log})"
        if len(failed) > _MOST_JOBS:
            yield f"  and {len(failed) - _MOST_JOBS} more"
        for line in reason.splitlines():
            yield f"      {line}"
    if len(by_reason) > _MOST_REASONS:
        yield f"  and {len(by_reason) - _MOST_REASONS} other reasons"
