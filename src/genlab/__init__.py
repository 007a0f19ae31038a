"""genlab: train, sweep and fairly compare families of generative models."""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = [
    "DataSpec",
    "GenlabError",
    "__version__",
    "anomalies",
    "compare",
    "detect",
    "evaluate",
    "load_run",
    "reconstruct",
    "sample",
    "train",
]
__version__ = "0.1.0"

from genlab.core.errors import GenlabError
from genlab.core.spec import DataSpec

if TYPE_CHECKING:
    from genlab.command.calls import anomalies, compare, detect, evaluate, reconstruct, sample, train
    from genlab.command.load import load_run


def __getattr__(name: str) -> object:
    # What these need, torch and Hydra, `import genlab` must not import.
    if name == "load_run":
        from genlab.processes.deferring import SELDOM_USED, deferred

        with deferred(*SELDOM_USED):
            from genlab.command.load import load_run

        return load_run
    if name in __all__:
        from genlab.command import calls

        return getattr(calls, name)
    raise AttributeError(f"module 'genlab' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
