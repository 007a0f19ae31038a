"""The keys of each command's config, their types and ranges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Le, Lt, MinLen

from genlab.command.targets import Node
from genlab.core.spec import DataSpec
from genlab.training.settings import Count, Seed, TrainerSettings, TrainingSettings

__all__ = [
    "AnomaliesConfig",
    "AugmentConfig",
    "CompareConfig",
    "Config",
    "DashboardConfig",
    "DataNode",
    "DetectConfig",
    "EvaluateConfig",
    "EvaluateSamplesConfig",
    "EvaluationNode",
    "ExploreConfig",
    "ExportConfig",
    "ExportedConfig",
    "ExtractorBudgetConfig",
    "ExtractorConfig",
    "InpaintConfig",
    "InterpolateConfig",
    "LoggerNode",
    "ModelNode",
    "OtherDataConfig",
    "PathsConfig",
    "ReconstructConfig",
    "SampleConfig",
    "TrainConfig",
    "TrainedConfig",
    "TrainerNode",
    "TraverseConfig",
    "UseConfig",
]

Text = Annotated[str, MinLen(1)]
Index = Annotated[int, Ge(0), Le(1_000_000_000)]
Some = Annotated[int, Ge(2), Le(1_000_000)]
Steps = Annotated[int, Ge(2), Le(1000)]


@dataclass(frozen=True, kw_only=True)
class ModelNode(Node):
    """The group ``model``.

    Attributes:
        name: Name of the model in run folders and results.
    """

    makes: ClassVar[str] = "genlab.models.base.GenerativeModel"

    name: str


@dataclass(frozen=True, kw_only=True)
class DataNode(Node):
    """The group ``data``.

    Attributes:
        batch_size: Examples per optimizer step, all devices together.
    """

    makes: ClassVar[str] = "genlab.data.base.GenlabDataModule"

    batch_size: Annotated[int, Ge(1), Le(1_000_000)]


@dataclass(frozen=True, kw_only=True)
class TrainerNode(Node, TrainerSettings):
    """The group ``trainer``."""

    makes: ClassVar[str] = "pytorch_lightning.Trainer"
    for_the_program: ClassVar[frozenset[str]] = frozenset({"cuda_graphs"})


@dataclass(frozen=True, kw_only=True)
class LoggerNode(Node):
    """The group ``logger``."""

    makes: ClassVar[str] = "pytorch_lightning.loggers.Logger"


@dataclass(frozen=True, kw_only=True)
class EvaluationNode(Node):
    """The group ``evaluation``."""

    makes: ClassVar[str] = "genlab.measure.protocol.EvaluationProtocol"


@dataclass(frozen=True, kw_only=True)
class Config:
    """The config of a command, checked.

    Attributes:
        plain: All of it as plain containers, resolved: what a run's identity and its files are made of.
    """

    plain: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True)
class PathsConfig:
    """Where files go.

    Args:
        logs: Root of what runs write.
    """

    logs: Text


@dataclass(frozen=True, kw_only=True)
class TrainedConfig(Config):
    """What is needed of a run's config to build its model and its data again."""

    model: ModelNode
    data: DataNode
    seed: Seed


@dataclass(frozen=True, kw_only=True)
class ExportedConfig(TrainedConfig):
    """The config of an exported run: its model is built without its data, which nobody else may have.

    Attributes:
        spec: What one example is.
    """

    spec: DataSpec


@dataclass(frozen=True, kw_only=True)
class TrainConfig(TrainingSettings, TrainedConfig):
    """The keys of ``conf/config.yaml`` and the groups that it composes; each is explained there."""

    trainer: TrainerNode
    logger: LoggerNode
    evaluation: EvaluationNode
    rerun: bool
    paths: PathsConfig


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(Config):
    """The keys of ``conf/evaluate.yaml``; each is explained there."""

    run: Text
    checkpoint: Literal["best", "last"]
    device: Text
    evaluation: EvaluationNode
    paths: PathsConfig


@dataclass(frozen=True, kw_only=True)
class EvaluateSamplesConfig(Config):
    """The keys of ``conf/evaluate_samples.yaml``; each is explained there."""

    samples: Text
    data: DataNode
    name: Text
    trained_on: Text | None
    device: Text
    seed: Seed
    evaluation: EvaluationNode
    paths: PathsConfig


@dataclass(frozen=True, kw_only=True)
class UseConfig(Config):
    """What every use of a trained run is told.

    Attributes:
        run: Folder of the run, a checkpoint in it, or its id.
        checkpoint: ``"best"`` or ``"last"``.
        out: File to write, whose ending is exchanged; None: in the run's folder of samples.
        device: Where it is computed.
    """

    run: Text
    checkpoint: Literal["best", "last"]
    out: Text | None
    device: Text
    paths: PathsConfig


@dataclass(frozen=True, kw_only=True)
class SampleConfig(UseConfig):
    """The keys of ``conf/sample.yaml``; each is explained there."""

    n: Count
    seed: Seed
    label: Annotated[int, Ge(0)] | Text | None
    sampling: dict[str, Any] | None
    format: Literal["npz", "safetensors"]
    files: bool


@dataclass(frozen=True, kw_only=True)
class ReconstructConfig(UseConfig):
    """The keys of ``command/conf/reconstruct.yaml``; each is explained there."""

    split: Literal["train", "validation", "test"]
    n: Some


@dataclass(frozen=True, kw_only=True)
class InterpolateConfig(UseConfig):
    """The keys of ``command/conf/interpolate.yaml``; each is explained there."""

    split: Literal["train", "validation", "test"]
    a: Index
    b: Index
    steps: Steps
    path: Literal["spherical", "linear"]


@dataclass(frozen=True, kw_only=True)
class TraverseConfig(UseConfig):
    """The keys of ``command/conf/traverse.yaml``; each is explained there."""

    split: Literal["train", "validation", "test"]
    example: Index
    latents: Annotated[int, Ge(1), Le(1000)]
    steps: Steps
    reach: Annotated[float, Gt(0), Le(100)]
    n: Some


@dataclass(frozen=True, kw_only=True)
class DetectConfig(UseConfig):
    """The keys of ``conf/detect.yaml``; each is explained there."""

    against: Text
    background: Text | None
    scores: Annotated[list[Text], MinLen(1)] | None
    split: Literal["validation", "test"]
    n: Some
    draws: Annotated[int, Ge(1), Le(100_000)]
    seed: Seed


@dataclass(frozen=True, kw_only=True)
class OtherDataConfig(Config):
    """A data set beside that of a run."""

    data: DataNode
    seed: Seed


@dataclass(frozen=True, kw_only=True)
class InpaintConfig(UseConfig):
    """The keys of ``command/conf/inpaint.yaml``; each is explained there."""

    split: Literal["train", "validation", "test"]
    mask: Text
    n: Annotated[int, Ge(1), Le(1_000_000)]
    each: Annotated[int, Ge(1), Le(10_000)]
    seed: Seed
    rounds: Annotated[int, Ge(0), Le(100_000)] | None
    exact: Text | None


@dataclass(frozen=True, kw_only=True)
class AugmentConfig(UseConfig):
    """The keys of ``command/conf/augment.yaml``; each is explained there."""

    fraction: Annotated[float, Gt(0), Le(1)]
    n: Count
    seeds: Annotated[int, Ge(2), Le(1000)]


@dataclass(frozen=True, kw_only=True)
class ExportConfig(Config):
    """The keys of ``command/conf/export.yaml``; each is explained there."""

    run: Text
    to: Text
    checkpoint: Literal["best", "last"]
    licence: Text | None
    data_licence: Text | None
    network: bool
    overwrite: bool
    private: bool
    device: Text
    paths: PathsConfig


@dataclass(frozen=True)
class ExtractorBudgetConfig:
    """When the training of an extractor stops; see `genlab.training.settings.BudgetConfig`."""

    examples: Count
    minutes: Annotated[float, Gt(0)] | None


@dataclass(frozen=True, kw_only=True)
class ExtractorConfig(Config):
    """The keys of ``conf/train_extractor.yaml``; each is explained there."""

    data: DataNode
    budget: ExtractorBudgetConfig
    seed: Seed
    lr: Annotated[float, Gt(0)]
    weight_decay: Annotated[float, Ge(0)]
    label_smoothing: Annotated[float, Ge(0), Lt(1)]
    width: Annotated[int, Ge(1), Le(65_536)]
    shift: Annotated[int, Ge(0), Le(1_000)]
    flip: bool
    binarize: bool
    out: Text | None


@dataclass(frozen=True, kw_only=True)
class CompareConfig(Config):
    """The keys of ``compare.yaml``; each is explained there."""

    data: str | None
    protocol: str | None
    folders: Annotated[list[Text], MinLen(1)] | None
    out: Text | None
    formats: list[Literal["markdown", "csv", "latex", "html"]]
    wandb: Text | None
    paths: PathsConfig


@dataclass(frozen=True, kw_only=True)
class AnomaliesConfig(Config):
    """The keys of ``anomalies.yaml``; each is explained there."""

    data: Text | None
    figure: Literal["auroc", "average_precision", "fpr_at_95"]
    folders: Annotated[list[Text], MinLen(1)] | None
    out: Text | None
    paths: PathsConfig


@dataclass(frozen=True, kw_only=True)
class DashboardConfig(Config):
    """The keys of ``dashboard.yaml``; each is explained there."""

    project: Text
    entity: Text | None
    name: str
    data: str | None
    protocol: str | None
    sweep: list[str]
    dry_run: bool
    out: Text | None


@dataclass(frozen=True, kw_only=True)
class ExploreConfig(Config):
    """The keys of ``explore.yaml``; each is explained there."""

    host: Text
    port: Annotated[int, Ge(0), Le(65_535)]
    token: bool
    device: Text
    paths: PathsConfig
