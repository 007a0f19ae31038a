"""The keys of each command's config, their types and ranges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Lt

__all__ = [
    "BudgetConfig",
    "CompareConfig",
    "DashboardConfig",
    "EvaluateConfig",
    "ExtractorBudgetConfig",
    "ExtractorConfig",
    "PathsConfig",
    "SampleConfig",
    "TrainConfig",
]

Count = Annotated[int, Ge(1)]
Seed = Annotated[int, Ge(0), Lt(2**63)]


@dataclass
class BudgetConfig:
    """When a run stops, and how often it validates.

    Args:
        examples: Training examples to see, on all devices together, or None.
        minutes: Minutes of training, over all starts of the run, or None.
        validations: Validations, evenly over the budget.
    """

    examples: Count | None
    minutes: Annotated[float, Gt(0)] | None
    validations: Count

    def __post_init__(self) -> None:
        if self.examples is None and self.minutes is None:
            raise ValueError("budget.examples and budget.minutes are both null, expected at least one of them.")


@dataclass
class PathsConfig:
    """Where files go.

    Args:
        logs: Root of what runs write.
    """

    logs: str


@dataclass
class TrainConfig:
    """The keys of ``conf/config.yaml`` and the groups that it composes; each is explained there."""

    model: Any
    data: Any
    trainer: Any
    logger: Any
    evaluation: Any
    seed: Seed
    rerun: bool
    budget: BudgetConfig
    ema_decay: Annotated[float, Ge(0), Lt(1)] | None
    checkpoint_minutes: Annotated[float, Gt(0)]
    log_every: Count
    validation_samples: Annotated[int, Ge(100)] | None
    grid_samples: Count
    paths: PathsConfig


@dataclass
class EvaluateConfig:
    """The keys of ``conf/evaluate.yaml``; each is explained there."""

    run: str
    checkpoint: Literal["best", "last"]
    device: str
    evaluation: Any
    paths: PathsConfig


@dataclass
class SampleConfig:
    """The keys of ``conf/sample.yaml``; each is explained there."""

    run: str
    n: Count
    seed: Seed
    label: Annotated[int, Ge(0)] | None
    checkpoint: Literal["best", "last"]
    out: str | None
    device: str
    paths: PathsConfig


@dataclass
class ExtractorBudgetConfig:
    """When the training of an extractor stops; see `BudgetConfig`."""

    examples: Count
    minutes: Annotated[float, Gt(0)] | None


@dataclass
class ExtractorConfig:
    """The keys of ``conf/train_extractor.yaml``; each is explained there."""

    data: Any
    budget: ExtractorBudgetConfig
    seed: Seed
    lr: Annotated[float, Gt(0)]
    weight_decay: Annotated[float, Ge(0)]
    label_smoothing: Annotated[float, Ge(0), Lt(1)]
    width: Count
    shift: Annotated[int, Ge(0)]
    flip: bool
    binarize: bool
    out: str | None


@dataclass
class CompareConfig:
    """The keys of ``compare.yaml``; each is explained there."""

    data: str | None
    protocol: str | None
    folders: list[str] | None
    out: str | None
    formats: list[Literal["markdown", "csv", "latex", "html"]]
    wandb: str | None
    paths: PathsConfig


@dataclass
class DashboardConfig:
    """The keys of ``dashboard.yaml``; each is explained there."""

    project: str
    entity: str | None
    name: str
    data: str | None
    protocol: str | None
    sweep: list[str]
    dry_run: bool
    out: str | None
