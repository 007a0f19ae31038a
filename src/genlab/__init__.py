"""genlab: train, sweep and fairly compare families of generative models."""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["DataSpec", "GenlabError", "__version__", "load_run"]
__version__ = "0.1.0"

from genlab.core.errors import GenlabError
from genlab.core.spec import DataSpec

if TYPE_CHECKING:
    from genlab.command.load import load_run


def __getattr__(name: str) -> object:
    # load_run needs torch, which `import genlab` must not.
    if name == "load_run":
        from genlab.processes.deferring import deferred

        with deferred("transformers"):  # which torchmetrics imports for a figure of texts
            from genlab.command.load import load_run

        return load_run
    raise AttributeError(f"module 'genlab' has no attribute {name!r}")
