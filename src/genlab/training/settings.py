"""What a training is told beside its model and its data: the keys of ``conf/config.yaml``, typed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Ge, Gt, Lt

__all__ = ["BudgetConfig", "Count", "Seed", "TrainerSettings", "TrainingSettings"]

Count = Annotated[int, Ge(1)]
Seed = Annotated[int, Ge(0), Lt(2**63)]


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
    validations: Count

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
    validation_samples: Annotated[int, Ge(100)] | None
    grid_samples: Count


@dataclass(frozen=True, kw_only=True)
class TrainerSettings:
    """What is asked of Lightning's trainer, as far as we look at it ourselves; see ``conf/trainer/auto.yaml``.

    Args:
        accelerator: ``"auto"``, ``"cpu"``, ``"gpu"`` and so on.
        num_nodes: Number of machines.
        strategy: Name of a strategy of Lightning's, or whatever else the trainer takes.
        precision: ``"auto"``, ``"32-true"`` or ``"bf16-mixed"``.
    """

    accelerator: Any = "auto"
    num_nodes: Count = 1
    strategy: Any = "auto"
    precision: Any = "auto"
