"""The options that families share, each declared once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, TypedDict

from annotated_types import Ge, Gt, Le
from torch.optim import Optimizer

__all__ = [
    "CommonOptions",
    "ConditionalOptions",
    "Depth",
    "GradClip",
    "LearningRate",
    "OptimizerFactory",
    "Repeats",
    "SamplingSteps",
    "Schedule",
    "TrainingOptions",
    "Width",
]

Width = Annotated[int, Ge(1), Le(65_536)]
"""Channels, features, units, latents, components: what a layer has side by side. Far above what anybody trains, so that
a slip of the keyboard is refused before anything is allocated."""
Depth = Annotated[int, Ge(1), Le(1_000)]
"""Layers, blocks, transforms, heads: what a network has one after the other, made one by one."""
Repeats = Annotated[int, Ge(0), Le(1_000)]
"""As `Depth`, where none is as good."""
SamplingSteps = Annotated[int, Ge(1), Le(100_000)]
"""Evaluations of a network, one after the other, for a sample or a likelihood."""
LearningRate = Annotated[float, Gt(0)]
GradClip = Annotated[float, Gt(0)]
OptimizerFactory = Callable[..., Optimizer]
Schedule = Callable[[float], float]


class CommonOptions(TypedDict):
    """The options of every family, also of one that is fitted without steps.

    Attributes:
        name: Name of the model in run folders and results.
    """

    name: str


class TrainingOptions(CommonOptions):
    """The options of every family that is trained by steps.

    A family states its own options and passes on these, ``**shared: Unpack[TrainingOptions]``, so that each option is
    declared once and yet all stand side by side in a config.

    Attributes:
        optimizer: Called with parameters and ``lr``; a partial from the config.
        lr: Peak learning rate.
        schedule: Multiplier of the learning rate, called with the fraction of the budget spent.
        grad_clip: Largest gradient norm of an optimizer step, or None.
    """

    optimizer: OptimizerFactory
    lr: LearningRate
    schedule: Schedule
    grad_clip: GradClip | None


class ConditionalOptions(TrainingOptions):
    """The options of every family that can model data given its label.

    Attributes:
        conditional: Model the data given its label.
    """

    conditional: bool
