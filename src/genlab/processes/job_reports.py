"""What a job tells its sweep: lines of JSON in a file that ``GENLAB_JOB_REPORT`` names.

``{"kind": "progress", "fraction": 0.4, "examples": 40000, "metrics": {"val/bits_per_dim": 3.1}}`` now and then, with
metrics only right after the validation that measured them, and at the end
``{"kind": "outcome", "code": 0, "error": null, "result": {...}}``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genlab.processes.ranks import is_first_process

__all__ = ["REPORT_VARIABLE", "JobReport", "ReportReader", "current_report", "is_job", "take_report"]

REPORT_VARIABLE = "GENLAB_JOB_REPORT"

_current: JobReport | None = None


class JobReport:
    """A job's own side.

    A report that cannot be written is lost, and the job goes on.

    Args:
        path: The file; lines are appended.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def progress(self, fraction: float, examples: int, metrics: Mapping[str, float] | None = None) -> None:
        """Say how far the job is.

        Args:
            fraction: Of the budget spent, in [0, 1].
            examples: Training examples seen.
            metrics: What a validation has just measured.
        """
        self._write({"kind": "progress", "fraction": fraction, "examples": examples, "metrics": dict(metrics or {})})

    def outcome(self, code: int, error: str | None, result: Mapping[str, Any] | None) -> None:
        """Say how the job ended.

        Args:
            code: Its exit code.
            error: What went wrong, in one or two lines.
            result: The run's result.
        """
        self._write({"kind": "outcome", "code": code, "error": error, "result": result})

    def _write(self, line: Mapping[str, Any]) -> None:
        data = (json.dumps(line, default=str) + "\n").encode()
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            try:
                os.write(descriptor, data)
            finally:
                os.close(descriptor)
        except OSError:
            pass


class ReportReader:
    """The sweep's side: what has been added to a report since the last look.

    Args:
        path: The file, which must be there.
    """

    def __init__(self, path: Path) -> None:
        self._file = open(path, "rb")  # noqa: SIM115  closed with the job, not with a block
        self._rest = b""

    def read(self) -> list[dict[str, Any]]:
        """Return the new lines that are complete; one that is no JSON object is passed over."""
        *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
        return [report for report in map(_parse, lines) if report is not None]

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def take_report() -> JobReport | None:
    """Make the report of this process, if it is a job of a sweep, and keep it for `current_report`.

    The variable leaves the environment: what the job starts, such as the other processes of a distributed training or
    a sweep of its own, must not report in its place. Of several processes of one job the first alone reports.
    """
    global _current
    path = os.environ.pop(REPORT_VARIABLE, None)
    _current = JobReport(path) if path and is_first_process() else None
    return _current


def is_job() -> bool:
    """Return whether this process is a job that a sweep of genlab started, and has not begun."""
    return REPORT_VARIABLE in os.environ


def current_report() -> JobReport | None:
    """Return the report of this process, or None where nobody waits for one."""
    return _current


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        report = json.loads(line)
    except ValueError:
        return None
    return report if isinstance(report, dict) else None
