"""What a logger may do besides numbers, and what every logger must do first: hide secrets and flatten."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from genlab.measure.result import Result

__all__ = ["ClosesRun", "LogsFiles", "LogsPicture", "LogsResult", "RunStatus", "flatten", "result_figures"]

#: How a run ended.
RunStatus = Literal["finished", "failed", "interrupted"]


@runtime_checkable
class LogsPicture(Protocol):
    """A logger that shows pictures."""

    def log_picture(self, name: str, path: Path, examples_seen: int) -> None:
        """Show a picture.

        Args:
            name: What it shows, e.g. ``"samples"``; pictures of one name form a series.
            path: A PNG file.
            examples_seen: Number of training examples seen when it was drawn.
        """
        ...


@runtime_checkable
class LogsFiles(Protocol):
    """A logger that lets samples be read or listened to."""

    def log_files(self, name: str, paths: Sequence[Path], examples_seen: int) -> None:
        """Show samples that are no pictures; files of a kind that it cannot show are passed over.

        Args:
            name: What they are, e.g. ``"samples"``.
            paths: TXT and WAV files.
            examples_seen: Number of training examples seen when they were drawn.
        """
        ...


@runtime_checkable
class LogsResult(Protocol):
    """A logger that shows the result of a run."""

    def log_result(self, result: Result) -> None:
        """Show a result.

        Args:
            result: That of one protocol.
        """
        ...


@runtime_checkable
class ClosesRun(Protocol):
    """A logger that must be told that the run is over."""

    def close(self, status: RunStatus) -> None:
        """Write out what is pending and stop; a second call does nothing.

        Args:
            status: How the run ended.
        """
        ...


def flatten(tree: Mapping[str, Any], separator: str = ".") -> dict[str, Any]:
    """Return nested sections as one level of keys, e.g. ``{"model.lr": 1e-3}``; a list stays one value."""
    return dict(_leaves(tree, "", separator))


def _leaves(tree: Mapping[str, Any], prefix: str, separator: str) -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}{separator}", separator)
        else:
            yield f"{prefix}{key}", value


def result_figures(result: Result) -> dict[str, float]:
    """Return the figures of a result under the names of a dashboard, e.g. ``test/bits_per_dim``.

    Likelihood and quality stand under the name of the split, those of the last checkpoint under ``<split>/last``, the
    other sections under their own names. What is missing is left out, never 0.

    Args:
        result: That of one protocol.
    """
    sections = result.as_dict()
    split = result.data.split.split(" ")[0]  # what stands behind the name says how the split was made
    prefixes = {
        "likelihood": split,
        "likelihood_last": f"{split}/last",
        "quality": split,
        "quality_last": f"{split}/last",
        "sampling": "sampling",
        "training": "training",
        "model": "model",
        "reference": "reference",
    }
    return {
        f"{prefix}/{name}": value
        for section, prefix in prefixes.items()
        for name, value in flatten(sections.get(section) or {}, separator="/").items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
