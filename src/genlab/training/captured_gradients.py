"""Several devices: forward and backward passes as graphs on each of them, whose gradients are averaged afterwards."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed
from torch._utils import _flatten_dense_tensors, _unflatten_dense_tensors
from torch.optim import Optimizer

from genlab.core.batch import Batch
from genlab.core.finite import loss_check, zero_if_finite
from genlab.core.graphs import GraphFactory
from genlab.models.base import GenerativeModel
from genlab.training.captured_step import CapturedSteps, PlainStep, RecordedStep

__all__ = ["CapturedGradients"]


class CapturedGradients(CapturedSteps):
    """As :class:`CapturedSteps`, of passes that end with a device's own gradients; then it averages them.

    Within a pass no device waits for another: what a step exchanges is one flat tensor of all gradients, behind the
    graph. What is not finite in each device's loss goes with it: so all know, and stop at the same step. All devices go
    from one way of doing a step to the next together: until a kind of step is checked, each says whether it goes on,
    and if one cannot, none does. The optimizer steps plainly.

    Args:
        model: What is trained.
        make_graph: Makes graphs on the model's device.
        rounding: Most by which a gradient may differ from the plain one, relative to its norm.
        optimizer: Whose parameters these are gradients of; None: of all.
    """

    def __init__(
        self, model: GenerativeModel, make_graph: GraphFactory, rounding: float, optimizer: Optimizer | None = None
    ) -> None:
        super().__init__(model, [], _NoCounts(), make_graph, rounding)
        if optimizer is not None:
            own = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
            self._parameters = {name: value for name, value in self._parameters.items() if id(value) in own}

    def train(self, batch: Batch, plain: PlainStep) -> dict[str, Tensor]:
        """Compute the gradients of a batch, averaged over the devices, and return the parts of this one's loss.

        Args:
            batch: This device's part of the batch.
            plain: Computes this device's gradients, where parameters have none before.
        """
        agreed = self._is_settled(batch)
        with self._model.guard.apart():
            outputs = super().train(batch, plain)
        zeros = zero_if_finite(outputs)
        self._average(zeros)
        self._model.guard.watch(loss_check(outputs, zeros), self._model.where())
        if not agreed:  # which waits for the device anyway; and where the run ends, nothing is said of graphs
            self._model.guard.settle()
            self._agree()
        return outputs

    def _is_settled(self, batch: Batch) -> bool:
        """Whether all devices know already how they do this step; the answer is the same on all of them."""
        kind = self._kind(batch)
        return kind is None or kind.checked

    def _agree(self) -> None:
        stopped = torch.tensor(float(self.stopped), device=self._model.device)
        distributed.all_reduce(stopped, distributed.ReduceOp.MAX)
        if stopped.item() and not self.stopped:
            self.stop("another device goes on so")

    def _average(self, *others: Tensor) -> None:
        """Average the gradients over the devices, and other tensors of their kind with them."""
        tensors = [*self._gradients().values(), *others]
        flat = _flatten_dense_tensors(tensors)
        distributed.all_reduce(flat)
        flat /= distributed.get_world_size()
        torch._foreach_copy_(tensors, list(_unflatten_dense_tensors(flat, tensors)))

    def _record(self, *arguments: Any) -> None:
        gradients = self._gradients()  # of the step that was done, which recording one forgets
        super()._record(*arguments)
        self._take(gradients)

    def _leave(self, step: RecordedStep, gradients: dict[str, Tensor]) -> None:
        self._take(gradients)

    def _replay(self, step: RecordedStep, batch: Batch) -> dict[str, Tensor]:
        outputs = super()._replay(step, batch)
        self._take(step.gradients)
        return outputs

    def _take(self, gradients: dict[str, Tensor]) -> None:
        for name, parameter in self._parameters.items():
            parameter.grad = gradients.get(name)


class _NoCounts:
    """Of what the loop counts a pass does nothing."""

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        pass
