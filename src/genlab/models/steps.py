"""How every family is trained and validated: one optimizer, a rate that follows the budget, a guard against what is
not finite."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer

from genlab.core.batch import Batch
from genlab.core.errors import GenlabError
from genlab.core.finite import Check, FiniteGuard, gradient_norms, loss_check, zero_if_finite
from genlab.core.negative_log_likelihood import NegativeLogLikelihood
from genlab.core.randomness import Stream, generator, stream_seed
from genlab.core.sharded import whole
from genlab.models.options import GradClip, LearningRate, OptimizerFactory, Schedule

__all__ = ["Progress", "TrainedBySteps"]


@dataclass
class Progress:
    """How much of its budget a run has spent.

    Attributes:
        examples: Training examples seen, on all devices together.
        batches: Global batches seen.
        seconds: Wall time spent training, over all starts of the run.
        fraction: Fraction of the budget spent, in ``[0, 1]``; while a step is recorded as a graph, a scalar tensor on
            the device, which each replay finds as it is by then.
    """

    examples: int = 0
    batches: int = 0
    seconds: float = 0.0
    fraction: float | Tensor = 0.0


_UNFIT = (torch.optim.LBFGS, torch.optim.SparseAdam)
"""Optimizers that evaluate a batch's loss several times, or want sparse gradients."""


class TrainedBySteps(LightningModule):
    """A model whose loss one optimizer lowers, step by step; all but what the loss is.

    :class:`genlab.models.base.GenerativeModel` is the rest of it, and the only class made of it: it brings ``spec``,
    ``loss``, ``log_prob`` and what validation asks for. A family with several optimizers sets
    ``automatic_optimization = False`` and overrides :meth:`configure_optimizers` and :meth:`training_step`.

    Args:
        optimizer: Makes the optimizer of parameters and a rate.
        lr: Peak learning rate.
        schedule: What the rate is multiplied by, as a function of the spent fraction of the budget.
        grad_clip: Largest gradient norm of a step; None: any.
    """

    learns_by_steps: ClassVar[bool] = True
    """Whether steps train the model. One that ``initialize`` fits for good has no parameters, and a training of one
    step, which only measures the loss; the examples it has seen are those that it was fitted to."""

    def __init__(
        self, *, optimizer: OptimizerFactory, lr: LearningRate, schedule: Schedule, grad_clip: GradClip | None
    ) -> None:
        super().__init__()
        self.progress = Progress()
        self._optimizer = optimizer
        self._lr = lr
        self._schedule = schedule
        self._grad_clip = grad_clip
        self.grad_norm: Tensor | None = None
        self.guard = FiniteGuard()
        # A plain tuple, so that the metric is no part of the module's state.
        self._validation = (NegativeLogLikelihood(),)

    def configure_optimizers(self) -> list[Optimizer]:
        if not self.learns_by_steps:
            return []
        return [self._make_optimizer(self.parameters(), self._lr)]

    def _make_optimizer(self, parameters: Iterator[nn.Parameter], lr: float) -> Optimizer:
        try:
            optimizer = self._optimizer(parameters, lr=lr)
        except (TypeError, ValueError, RuntimeError) as error:  # a setting whose range no annotation says
            raise GenlabError(f"model.optimizer does not take its settings: {error}") from error
        if isinstance(optimizer, _UNFIT):
            raise GenlabError(
                f"model.optimizer is {type(optimizer).__name__}, which does not train by one dense gradient a step. "
                "Use torch.optim.Adam or another of its kind."
            )
        return optimizer

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        multiplier = self._schedule(self.progress.fraction)
        for optimizer in self.trainer.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group.setdefault("initial_lr", group["lr"]) * multiplier

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        parts = self.loss(batch)
        self.check_finite(parts)
        return {name: value if name == "loss" else value.detach() for name, value in parts.items()}

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        norms = torch.stack(gradient_norms([p.grad for p in parameters]))
        total = torch.linalg.vector_norm(norms)
        if self._grad_clip is not None:
            torch.nn.utils.clip_grads_with_norm_(parameters, self._grad_clip, total)
        self.grad_norm = whole(total)

        def explain(finite: list[bool]) -> str | None:
            if finite[0]:
                return None
            names = {id(p): name for name, p in self.named_parameters()}
            bad = (names[id(p)] for p, good in zip(parameters, finite[1:], strict=True) if not good)
            return f"the gradient of {next(bad, 'the model as a whole')} is not finite."

        finite = torch.cat([self.grad_norm[None], whole(norms)]).isfinite()
        self.guard.watch(Check(finite, explain), self.where())

    def check_finite(self, parts: dict[str, Tensor]) -> None:
        """Have :attr:`guard` stop the run if the loss is not finite on any device, naming its bad parts and the step.

        Args:
            parts: ``"loss"`` and what it is made of, scalars.
        """
        if self.guard.is_apart:
            return
        zeros = zero_if_finite(parts)
        if self._trainer is not None:  # all devices stop together: one that stopped alone would keep the others waiting
            zeros = self._trainer.strategy.reduce(zeros, reduce_op="sum")
        self.guard.watch(loss_check(parts, zeros), self.where())

    def where(self) -> Callable[[], str]:
        """Return what says, if it is ever asked, that training stopped at the present step."""
        batches, examples = self.progress.batches, self.progress.examples
        return lambda: f"Training stopped at step {batches + 1:,} ({examples:,} examples seen)"

    def on_validation_epoch_start(self) -> None:
        self.guard.settle()  # else the validation would be blamed for a step before it
        self._validation[0].to(self.device).reset()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        # In float32, as the final figures are.
        with torch.autocast(self.device.type, enabled=False):
            log_prob = self._validation_score(batch, batch_idx)
        if log_prob is not None:
            self._validation[0].update(log_prob, batch.dims)

    def _validation_score(self, batch: Batch, batch_idx: int) -> Tensor | None:
        # The same noise at every validation, so that checkpoints are compared and not their luck.
        if not self.chosen_by_samples:
            noise = generator(Stream.VALIDATION, self.global_rank, batch_idx, device=self.device)
            return self.log_prob(batch.x, batch.y, mask=batch.mask, num_draws=self.validation_draws, generator=noise)
        torch.manual_seed(stream_seed(Stream.VALIDATION, self.global_rank, batch_idx))
        loss = self.validation_loss(batch)
        return None if loss is None else -loss.expand(len(batch.x))

    def on_validation_epoch_end(self) -> None:
        if not self._validation[0].update_called:
            return
        nats = self._validation[0].compute()
        figures: dict[str, Any] = {"val/loss": nats}
        if not self.chosen_by_samples:
            figures = {"val/nats": nats}
            if self.spec.is_discrete:
                with self._validation[0].sync_context():
                    figures["val/bits_per_dim"] = self._validation[0].bits_per_dim()
        self.log_dict(figures, logger=False)
