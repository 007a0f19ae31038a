"""From a run's settings to its callbacks and its trainer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from genlab.core.errors import GenlabError
from genlab.core.hardware import fast_bfloat16
from genlab.core.timetable import Timetable
from genlab.measure.protocol import EvaluationProtocol
from genlab.models.base import GenerativeModel
from genlab.processes.display import Display
from genlab.processes.job_reports import current_report
from genlab.runs.checkpoints import AtomicCheckpointIO
from genlab.runs.folder import RunDir
from genlab.training.callbacks.budget import NEVER, Budget
from genlab.training.callbacks.counter_noise import CounterNoise
from genlab.training.callbacks.display import ShowProgress
from genlab.training.callbacks.ema import EMA
from genlab.training.callbacks.log_metrics import LogMetrics
from genlab.training.callbacks.replay_steps import ReplaySteps
from genlab.training.callbacks.report_progress import ReportProgress
from genlab.training.callbacks.sample_grids import SampleGrids
from genlab.training.callbacks.sample_quality import SampleQuality
from genlab.training.callbacks.saving import SaveCheckpoints
from genlab.training.callbacks.stopping import SaveOnSignal
from genlab.training.foresight import Foresight
from genlab.training.settings import TrainerSettings, TrainingSettings
from genlab.training.sharding import ShardedStrategy

__all__ = ["build_callbacks", "build_trainer", "resolve_precision"]

MakeTrainer = Callable[..., Trainer]


def build_callbacks(
    settings: TrainingSettings,
    run: RunDir,
    model: str,
    batch_size: int,
    display: Display | None = None,
    evaluation: EvaluationProtocol | None = None,
) -> list[Callback]:
    """Make the callbacks of a run, in the order in which they act at the end of a step.

    Args:
        settings: What they go by.
        run: The run's folder.
        model: Name of the model, for titles.
        batch_size: Examples per optimizer step, all devices together.
        display: Shows how far the run is; nothing does by default.
        evaluation: What follows the training, if anything does.
    """
    display = display or Display(Timetable())
    limits = settings.budget
    budget = Budget(limits.examples, limits.minutes, limits.validations, batch_size)
    checkpoints = SaveCheckpoints(run.checkpoints, settings.checkpoint_minutes, budget)
    title = f"{model} on {run.path.parent.parent.name}, run {run.id}"
    metrics = LogMetrics(settings.log_every)
    quality = SampleQuality(settings.validation_samples, settings.seed, display.timetable)
    grids = SampleGrids(run.samples, settings.grid_samples, settings.seed, title)
    foresight = None if evaluation is None else Foresight(evaluation, run, quality, grids)
    # Grids and qualities before EMA: they are of samples drawn while the averaged weights are still in place.
    callbacks: list[Callback] = [CounterNoise(settings.seed), quality, grids]
    if settings.ema_decay:
        callbacks.append(EMA(settings.ema_decay))
    report = current_report()
    return [
        *callbacks,
        budget,
        metrics,
        *([] if report is None else [ReportProgress(report)]),
        checkpoints,
        SaveOnSignal(checkpoints, budget),
        ShowProgress(budget, metrics, checkpoints, display, foresight),
    ]


def build_trainer(
    settings: TrainerSettings,
    make: MakeTrainer,
    run: RunDir,
    model: GenerativeModel,
    callbacks: list[Callback],
    loggers: list[Logger],
) -> Trainer:
    """Make the trainer. When to validate, save and stop is for the callbacks alone.

    Args:
        settings: What is asked of it.
        make: Makes it with these settings and further arguments, which come first.
        run: The run's folder.
        model: What is trained.
        callbacks: From `build_callbacks`.
        loggers: Where figures go.

    Raises:
        GenlabError: If the trainer's settings fit neither this machine nor the model.
    """
    strategy, precision = settings.strategy, resolve_precision(settings)
    if settings.cuda_graphs:
        callbacks = [*callbacks, ReplaySteps()]
    try:
        trainer = _make_trainer(make, run, callbacks, loggers, precision=precision)
        if model.partial_gradients and strategy in ("auto", "ddp") and trainer.world_size > 1:
            # auto is known for what it is only now.
            strategy = "ddp_find_unused_parameters_true"
            trainer = _make_trainer(make, run, callbacks, loggers, precision=precision, strategy=strategy)
    except (MisconfigurationException, TypeError, ValueError) as error:  # Lightning raises all three of its settings
        reason = " ".join(str(error).split())
        raise GenlabError(
            f"The trainer does not fit this machine: {reason}\nUse trainer=auto or trainer=cpu."
        ) from error
    is_sharded = isinstance(trainer.strategy, ShardedStrategy)
    if not model.learns_by_steps and (is_sharded or trainer.world_size > 1):
        raise GenlabError(f"{model.name} is fitted by one process, without steps. Use trainer=cpu.")
    if is_sharded and not model.automatic_optimization:
        raise GenlabError(f"trainer=fsdp trains by one optimizer, but {model.name} has several. Use trainer=ddp.")
    return trainer


def _make_trainer(
    make: MakeTrainer, run: RunDir, callbacks: list[Callback], loggers: list[Logger], **settings: Any
) -> Trainer:
    return make(
        **settings,
        callbacks=callbacks,
        logger=loggers,
        plugins=[AtomicCheckpointIO()],
        default_root_dir=str(run.path),
        max_epochs=-1,
        max_steps=-1,
        val_check_interval=NEVER,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        log_every_n_steps=NEVER,
        use_distributed_sampler=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def resolve_precision(settings: TrainerSettings) -> str:
    """Return the precision for ``auto``: ``bf16-mixed`` where the hardware multiplies it fast, else ``32-true``.

    See :func:`genlab.core.hardware.fast_bfloat16`. Likelihoods stay in float32 either way.
    """
    if settings.precision != "auto":
        return settings.precision
    on_gpu = settings.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    return "bf16-mixed" if fast_bfloat16("cuda" if on_gpu else "cpu") else "32-true"
