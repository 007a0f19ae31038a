"""The commands as functions, for notebooks and programs of one's own: the same words, in this process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import genlab
from genlab.command.cli import as_words
from genlab.command.entry import call_entry
from genlab.core.errors import GenlabError
from genlab.measure.finished_run import FinishedRun

if TYPE_CHECKING:
    from genlab.comparison.anomalies import AnomalyTable
    from genlab.comparison.ranking import Comparison

__all__ = ["anomalies", "compare", "detect", "evaluate", "reconstruct", "sample", "train"]

_PROGRAM = str(Path(genlab.__file__).with_name("__main__.py"))
"""What starts the same command as a process of its own, as Lightning does for each further device."""
_RUN = {"run": "<path or id>"}


def train(*words: str) -> FinishedRun:
    """Train and evaluate a model as ``genlab train`` does, print its result, and return the run.

    The same words are the same run: finished, it is returned at once; interrupted, it goes on.

    Args:
        words: What stands after the command, e.g. ``"model=flow", "data=digits", "logger=none"``.

    Returns:
        The run, whose folder is ``place.path``, id ``place.id``, and whose figures are ``result``.

    Raises:
        GenlabError: For everything that the user can mend, as the command would say it. So do the others here.
    """
    from genlab.command.train import run

    return _called(run, "config", "train", words)


def evaluate(*words: str) -> FinishedRun:
    """Measure a run under another protocol, or the samples of any program, as ``genlab evaluate`` does.

    Args:
        words: E.g. ``"run=3f2a91cc-s0", "evaluation=standard"``, or ``"samples=samples.npy", "data=digits"``.
    """
    if any(isinstance(word, str) and word.startswith("samples=") for word in words):
        from genlab.command.evaluate_samples import run as run_samples

        return _called(run_samples, "evaluate_samples", "evaluate", words, {"samples": "<file or folder>"})
    from genlab.command.evaluate import run

    return _called(run, "evaluate", "evaluate", words, _RUN)


def compare(*words: str) -> Comparison:
    """Print all results as one table, with what the marks mean, as ``genlab compare`` does.

    Args:
        words: E.g. ``"data=digits", "out=report"``.

    Returns:
        Its groups and rows.
    """
    from genlab.command.compare import run

    return _called(run, "compare", "compare", words)


def sample(*words: str) -> Path:
    """Draw samples from a run into files, as ``genlab sample`` does; `load_run` gives a model that draws tensors.

    Args:
        words: E.g. ``"run=3f2a91cc-s0", "n=500", "out=samples.csv"``.

    Returns:
        The file of the array; pictures, or a table as CSV, lie beside it.
    """
    from genlab.command.sample import run

    return _called(run, "sample", "sample", words, _RUN)


def reconstruct(*words: str) -> Path:
    """Encode and decode examples, and say how far off they are, as ``genlab reconstruct`` does.

    Args:
        words: E.g. ``"run=3f2a91cc-s0", "n=16"``.

    Returns:
        The file of arrays; the picture lies beside it.
    """
    from genlab.command.use import run_reconstruct

    return _called(run_reconstruct, "reconstruct", "reconstruct", words, _RUN)


def detect(*words: str) -> Path:
    """Score how unusual examples are, and say how well that tells another set apart, as ``genlab detect`` does.

    Args:
        words: E.g. ``"run=3f2a91cc-s0", "against=vertical_flip"``.

    Returns:
        The JSON file of the figures; each example's scores and the pictures lie beside it.
    """
    from genlab.command.detect import run

    return _called(run, "detect", "detect", words, {**_RUN, "against": "<data>"})


def anomalies(*words: str) -> list[AnomalyTable]:
    """Print what all runs found unusual as tables, as ``genlab anomalies`` does.

    Args:
        words: E.g. ``"data=digits", "figure=fpr_at_95"``.
    """
    from genlab.command.anomalies import run

    return _called(run, "anomalies", "anomalies", words)


def _called(
    run: Callable[..., object],
    config_name: str,
    name: str,
    words: tuple[str, ...],
    required: Mapping[str, str] | None = None,
) -> Any:
    for word in words:
        if not isinstance(word, str):
            raise GenlabError(
                f"genlab.{name} takes words as on the command line, each a string, such as 'data=digits'; it was given "
                f"a {type(word).__name__}."
            )
    given = [as_words(word, ("trained_on",)) for word in words]
    return call_entry(run, config_name, given, [_PROGRAM, name], required)
