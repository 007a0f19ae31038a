"""Training steps replayed as CUDA graphs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import torch
from pytorch_lightning import Trainer
from pytorch_lightning.loops.optimization.automatic import Closure, ClosureResult
from pytorch_lightning.strategies import DDPStrategy, SingleDeviceStrategy
from torch import Tensor
from torch.optim import Optimizer

from genlab.core.batch import Batch
from genlab.core.contract import TakesTurns
from genlab.core.graphs import graphs_for
from genlab.models.base import GenerativeModel
from genlab.training.callbacks.base import Callback
from genlab.training.capturable import can_step_in_graph
from genlab.training.captured_gradients import CapturedGradients
from genlab.training.captured_moves import CapturedMoves
from genlab.training.captured_step import CapturedSteps
from genlab.training.sharding import ShardedStrategy

__all__ = ["ReplaySteps"]

_log = logging.getLogger("genlab")

ROUNDING = {"32-true": 1e-3, "bf16-mixed": 2e-2}
"""Most by which a replayed gradient may differ from the plain one: products of float32 may be of TensorFloat-32."""


class ReplaySteps(Callback):
    """On a GPU, replay each training step as a graph where that can be; see :class:`CapturedSteps`.

    On one device it stands in for ``run`` of Lightning's loop that optimizes, so that all of a step is replayed: the
    family's ``training_step``, backward, clipping and the optimizers. On several that average their gradients it stands
    in for what the optimizer calls for these, see :class:`CapturedGradients`, or where several optimizers move in turn
    for the strategy's ``training_step``, see :class:`CapturedMoves`: all else is Lightning's.
    """

    def __init__(self) -> None:
        self._replaced: tuple[Any, str] = (None, "")
        self._steps: CapturedSteps | CapturedMoves | None = None
        self._earlier_replays = 0

    @property
    def replays(self) -> int:
        """Steps that were replayed, in the trainings that have ended and in the present one."""
        return self._earlier_replays + (0 if self._steps is None else self._steps.replays)

    def on_train_start(self, trainer: Trainer, pl_module: GenerativeModel) -> None:
        make_graph = graphs_for(trainer.strategy.root_device)
        if make_graph is None:
            return
        if reason := _obstacle(trainer, pl_module):
            _log.info("Steps of %s are no CUDA graphs: %s.", pl_module.name, reason)
            return
        epoch, rounding = trainer.fit_loop.epoch_loop, ROUNDING[str(trainer.precision)]
        automatic = pl_module.automatic_optimization
        loop = epoch.automatic_optimization if automatic else epoch.manual_optimization
        if not isinstance(trainer.strategy, DDPStrategy):
            counts = loop.optim_progress if automatic else loop.optim_step_progress
            self._steps = CapturedSteps(pl_module, trainer.optimizers, counts, make_graph, rounding)
            self._stand_in_for(loop, "run", self._run)
        elif automatic:
            self._steps = CapturedGradients(pl_module, make_graph, rounding)
            self._stand_in_for(loop, "_make_closure", self._closure)
        else:
            context = trainer.precision_plugin.train_step_context
            self._steps = CapturedMoves(pl_module, trainer.optimizers, make_graph, rounding, context)
            self._stand_in_for(trainer.strategy, "training_step", self._moves)

    def _stand_in_for(self, owner: Any, name: str, function: Callable[..., Any]) -> None:
        setattr(owner, name, function)
        self._replaced = owner, name

    def _do_plainly(self, *arguments: Any) -> Any:
        """Call what is stood in for."""
        owner, name = self._replaced
        return getattr(type(owner), name)(owner, *arguments)

    def _run(self, *arguments: Any) -> dict[str, Any]:
        """Do what the loop does with these arguments, of which the last holds those of ``training_step``."""
        *others, given = arguments

        def plain(batch: Batch) -> dict[str, Tensor]:
            return self._do_plainly(*others, {**given, "batch": batch})

        return self._steps.train(given["batch"], plain)

    def _closure(self, given: Mapping[str, Any], optimizer: Optimizer, batch_idx: int) -> Closure:
        """Return what computes the gradients of a batch, averaged over the devices, as the optimizer calls it."""
        if self._steps.stopped:
            return self._do_plainly(given, optimizer, batch_idx)
        loop, _ = self._replaced
        trainer, zero = loop.trainer, loop._make_zero_grad_fn(batch_idx, optimizer)

        def local(batch: Batch) -> dict[str, Tensor]:
            with trainer.precision_plugin.train_step_context():
                # Not through the strategy, whose module would exchange the gradients within the backward pass.
                parts = trainer.lightning_module.training_step(*{**given, "batch": batch}.values())
            parts["loss"].backward()
            return {name: value.detach() for name, value in parts.items()}

        def step() -> ClosureResult:
            zero()
            return ClosureResult.from_training_step_output(self._steps.train(given["batch"], local))

        return Closure(step)

    def _moves(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Do the step of a family whose optimizers move in turn, each by gradients averaged over the devices."""
        return self._do_plainly(batch, batch_idx) if self._steps.stopped else self._steps.train(batch)

    def on_train_end(self, trainer: Trainer, pl_module: GenerativeModel) -> None:
        self._stop()

    def on_exception(self, trainer: Trainer, pl_module: GenerativeModel, exception: BaseException) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._steps is not None:
            delattr(*self._replaced)
            self._steps.stop()
            self._earlier_replays = self.replays
            self._replaced, self._steps = (None, ""), None


def _obstacle(trainer: Trainer, model: GenerativeModel) -> str | None:
    """Say why no step of a training can be a graph; None if nothing is in the way."""
    is_sharded = isinstance(trainer.strategy, ShardedStrategy)  # which to Lightning is a DDPStrategy
    if is_sharded or not isinstance(trainer.strategy, DDPStrategy | SingleDeviceStrategy):
        return "its devices exchange weights within a step"
    has_passes = model.automatic_optimization or isinstance(model, TakesTurns)
    if isinstance(trainer.strategy, DDPStrategy) and not has_passes:
        return "on several devices graphs hold one optimizer's gradients, or those of several that move in turn"
    if torch.is_anomaly_enabled():
        return "trainer.detect_anomaly looks at each operation"
    if not all(can_step_in_graph(optimizer) for optimizer in trainer.optimizers):
        return "of the optimizers, a graph holds Adam and AdamW"
    return model.not_captured
