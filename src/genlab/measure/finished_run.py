"""What a run hands to the command that started it: its folder and its result, across processes as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genlab.runs.folder import RunDir

if TYPE_CHECKING:
    from genlab.measure.result import Result

__all__ = ["FinishedRun"]

# The result's own module is imported when there is a result: every command imports this one.


@dataclass(frozen=True)
class FinishedRun:
    """A run that was trained and evaluated.

    Attributes:
        place: Its folder.
        result: Its result under the protocol of the command.
    """

    place: RunDir
    result: Result

    def as_dict(self) -> dict[str, Any]:
        """Return plain containers, for another process."""
        return {"run_dir": str(self.place.path), "result": self.result.as_dict()}

    @classmethod
    def of(cls, content: object) -> FinishedRun | None:
        """Return what a job handed over, as an object or as plain containers; None for anything else."""
        if isinstance(content, FinishedRun):
            return content
        if not isinstance(content, Mapping) or not {"run_dir", "result"} <= content.keys():
            return None
        from genlab.measure.result import Result, ResultError

        try:
            return cls(RunDir(Path(content["run_dir"])), Result.of(content["result"]))
        except (ResultError, TypeError):
            return None
