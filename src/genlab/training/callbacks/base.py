"""What genlab's callbacks share."""

from __future__ import annotations

from typing import Any

import pytorch_lightning

__all__ = ["Callback"]

STEP_HOOKS = (
    "on_train_batch_start",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_train_batch_end",
    "on_validation_batch_start",
    "on_validation_batch_end",
)


class Callback(pytorch_lightning.Callback):
    """A callback that costs nothing at the hooks of a step that it does not use.

    Lightning enters a profiler's context for each hook of each callback, empty ones too: some fifty at every step. It
    passes over a hook that is no function.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for hook in STEP_HOOKS:
            if getattr(cls, hook) is getattr(pytorch_lightning.Callback, hook):
                setattr(cls, hook, None)
