"""What a training is told beside its model and its data: the keys of ``conf/config.yaml``, typed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Lt

__all__ = [
    "PRECISIONS",
    "PROFILERS",
    "STRATEGIES",
    "BudgetConfig",
    "Count",
    "Seed",
    "TrainerSettings",
    "TrainingSettings",
]

Count = Annotated[int, Ge(1)]
Seed = Annotated[int, Ge(0), Lt(2**63)]

PRECISIONS = ("32-true", "bf16-mixed")
"""The weights, and all that enters a likelihood directly, stay in float32."""
STRATEGIES = ("auto", "ddp", "ddp_find_unused_parameters_false", "ddp_find_unused_parameters_true")
"""Those of Lightning by which the processes are started as a run expects it."""
PROFILERS = ("simple", "advanced", "pytorch")
"""Lightning's, by name."""


@dataclass(frozen=True)
class BudgetConfig:
    """When a run stops, and how often it validates.

    Args:
        examples: Training examples to see, on all devices together, or None.
        minutes: Minutes of training, over all starts of the run, or None.
        validations: Validations, evenly over the budget.

    Raises:
        ValueError: If there is neither a limit of examples nor one of minutes.
    """

    examples: Count | None
    minutes: Annotated[float, Gt(0)] | None
    validations: Annotated[int, Ge(1), Le(1_000_000)]

    def __post_init__(self) -> None:
        if self.examples is None and self.minutes is None:
            raise ValueError("budget.examples and budget.minutes are both null, expected at least one of them.")


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """What the callbacks of a training go by.

    Args:
        seed: Of the weights, the order of the data and all noise.
        budget: When it stops, and how often it validates.
        ema_decay: Weight that the averaged weights keep at each step, or None for no average.
        checkpoint_minutes: Minutes of training between two saves of the last checkpoint.
        log_every: Optimizer steps between two rows of metrics.
        validation_samples: Images, or ten times as many vectors, whose quality each validation measures, or None.
        grid_samples: Images in each picture drawn during training.
    """

    seed: Seed
    budget: BudgetConfig
    ema_decay: Annotated[float, Ge(0), Lt(1)] | None
    checkpoint_minutes: Annotated[float, Gt(0)]
    log_every: Count
    validation_samples: Annotated[int, Ge(100), Le(1_000_000)] | None
    grid_samples: Annotated[int, Ge(1), Le(10_000)]


@dataclass(frozen=True, kw_only=True)
class TrainerSettings:
    """What is asked of Lightning's trainer, as far as we look at it ourselves; see ``conf/trainer/auto.yaml``.

    Args:
        accelerator: ``"auto"``, ``"cpu"``, ``"gpu"`` and so on.
        devices: Number of devices, -1 or ``"auto"`` for all of them, or the numbers of some, as a list or ``"0,1"``.
        num_nodes: Number of machines.
        strategy: One of `STRATEGIES`, or a node that makes one.
        precision: ``"auto"``, ``"32-true"`` or ``"bf16-mixed"``.
        profiler: One of `PROFILERS`, a node that makes one, or None.
        cuda_graphs: ``"auto"`` to replay training steps as CUDA graphs where that can be, or False. Not Lightning's.

    Raises:
        ValueError: If a text names nothing of its kind.
    """

    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps", "tpu"] = "auto"
    devices: Annotated[int, Ge(1), Le(100_000)] | Literal["auto", -1] | list[Annotated[int, Ge(0)]] | str = 1
    num_nodes: Annotated[int, Ge(1), Le(100_000)] = 1
    strategy: Any = "auto"
    precision: Literal["auto", "32-true", "bf16-mixed"] = "auto"
    profiler: Any = None
    cuda_graphs: Literal["auto", False] = "auto"

    def __post_init__(self) -> None:
        if self.devices == [] or (isinstance(self.devices, str) and not _DEVICES.fullmatch(self.devices)):
            raise ValueError(f"trainer.devices is {self.devices!r}, expected a number, auto, or a list as [0,1].")
        if not _is_named(self.strategy, STRATEGIES):
            raise ValueError(
                f"trainer.strategy is {self.strategy!r}, expected {', '.join(STRATEGIES)}, or trainer=fsdp to divide "
                "the training's state among the devices."
            )
        if self.profiler is not None and not _is_named(self.profiler, PROFILERS):
            raise ValueError(f"trainer.profiler is {self.profiler!r}, expected {', '.join(PROFILERS)} or null.")


_DEVICES = re.compile(r"auto|-1|\d{1,6}(,\d{1,6})*,?")


def _is_named(value: Any, names: tuple[str, ...]) -> bool:
    # What is neither text nor a number is an object, or a node that makes one, for the trainer to judge.
    return value in names if isinstance(value, str) else not isinstance(value, int | float | list | None)
