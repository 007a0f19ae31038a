"""A training's steps as graphs: each kind of step is recorded once, compared with the plain step, and replayed."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from genlab.core.batch import Batch
from genlab.core.finite import Check
from genlab.core.graphs import WARM_UPS, Graph, GraphFactory, first_line
from genlab.core.randomness import default_generator
from genlab.models.base import GenerativeModel
from genlab.models.steps import Progress
from genlab.training.capturable import StepsInGraph

__all__ = ["CapturedSteps", "PlainStep", "RecordedStep", "StepCounts"]

_log = logging.getLogger("genlab")

PlainStep = Callable[[Batch], dict[str, Tensor]]
"""Trains by a batch, all of it: forward, backward and the optimizers' steps; returns the parts of the loss."""

UPDATES = 0.1
"""Most by which the change of the weights may differ, relative to its norm: where a gradient is rounding alone, Adam
makes a whole step of it."""
MOST_KINDS = 8
"""Kinds of step of which a graph is kept."""
FAR = 1_000_000
"""Batches, and seconds, that a recorded step takes to have passed more than have."""
SMALL = 0.01
"""Gradients of a smaller share of the whole are compared as if they were this much: they may be rounding alone."""


class StepCounts(Protocol):
    """What a step counts, a tree of whole numbers; Lightning's progress of a loop."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> None: ...


class CapturedSteps:
    """Train by a batch, plainly for the first steps of a kind and then by replaying a graph of the whole step.

    The first steps of a kind (:meth:`genlab.models.base.GenerativeModel.step_kind`) are plain ones that warm up; then
    one is recorded. The next is done plainly, taken back and replayed, and gradients, losses and new weights are
    compared. It has another batch, seed and progress than the one that was recorded, so that it shows what Python
    computed for that one alone. From then on the steps of this kind are replayed; a batch of another shape, and a kind
    beyond the first few, still train plainly. If a step cannot be recorded or is not what the plain one is, all go on
    plainly, and a line says why.

    A step leaves behind what it does without graphs: weights, state of the optimizers, norm of the gradient, checks of
    the guard, Lightning's counts. Learning rates are those that the optimizers have at the time.

    Args:
        model: What is trained.
        optimizers: All that its steps use.
        counts: What its steps count.
        make_graph: Makes graphs on the model's device.
        rounding: Most by which a gradient may differ from the plain one, relative to its norm.
    """

    def __init__(
        self,
        model: GenerativeModel,
        optimizers: Sequence[Optimizer],
        counts: StepCounts,
        make_graph: GraphFactory,
        rounding: float,
    ) -> None:
        self._model = model
        self._parameters = dict(model.named_parameters())
        self._optimizers = StepsInGraph(optimizers, model.device)
        self._counts = counts
        self._make_graph = make_graph
        self._rounding = rounding
        self._fraction = torch.zeros((), device=model.device)
        self._kinds: dict[Hashable, _Kind] = {}
        self.stopped = False
        """Whether steps are plain for good."""
        self.replays = 0
        """Steps that a replay did, beside those that were compared."""

    def train(self, batch: Batch, plain: PlainStep) -> dict[str, Tensor]:
        """Train by a batch, as ``plain`` would, and return what that returns."""
        if self.stopped:
            return plain(batch)
        kind = self._kind(batch)
        if kind is None:
            with self._optimizers.capturable():
                return plain(batch)
        if kind.checked:
            return self._replay(kind.step, batch)
        if kind.step is not None:
            return self._check(kind, batch, plain)
        with self._optimizers.capturable():
            outputs = kind.graph.warm_up(lambda: plain(batch))
        kind.warmed_up += 1
        if kind.warmed_up >= WARM_UPS:
            self._record(kind, batch, plain)
        return outputs

    def _kind(self, batch: Batch) -> _Kind | None:
        """Return the kind of step that a batch is; None for one that always is a plain one."""
        key = self._model.step_kind()
        if key not in self._kinds and len(self._kinds) < MOST_KINDS and not self.stopped:
            self._kinds[key] = _Kind(self._make_graph(), _shapes(batch))
        kind = self._kinds.get(key)
        return None if kind is None or kind.shapes != _shapes(batch) else kind

    def stop(self, reason: str = "") -> None:
        """Give back the graphs' memory and leave the optimizers as plain steps expect them; a reason is said."""
        if reason:
            _log.warning("Steps of %s go on without CUDA graphs: %s.", self._model.name, reason.rstrip("."))
        self.stopped = True
        for kind in self._kinds.values():  # whoever does a step now still has its kind in hand
            kind.graph = kind.step = None
        self._kinds.clear()
        self._optimizers.release()

    def _record(self, kind: _Kind, batch: Batch, plain: PlainStep) -> None:
        counts, norm, progress = copy.deepcopy(self._counts.state_dict()), self._model.grad_norm, self._model.progress
        held = _held(self._model)
        self._forget_gradients()
        try:
            self._model.progress = self._elsewhere(progress)
            static = batch.each(Tensor.clone)
            with self._optimizers.capturable(), self._model.guard.collecting() as checks:
                outputs = kind.graph.capture(lambda: plain(static))
            if replaced := [key for key, tensor in _held(self._model).items() if held.get(key) is not tensor]:
                raise RuntimeError(f"a step puts another tensor in the place of {replaced[0][1]}")
            counted = _combined(self._counts.state_dict(), counts, -1)
            kind.step = RecordedStep(
                kind.graph, static, outputs, checks, self._model.grad_norm, self._gradients(), counted
            )
        except Exception as error:
            self.stop(first_line(error))
        finally:  # Python went through a step that the device did not do
            self._counts.load_state_dict(counts)
            self._model.grad_norm, self._model.progress = norm, progress
            for (module, name), tensor in held.items():
                setattr(module, name, tensor)
            self._forget_gradients()

    def _elsewhere(self, progress: Progress) -> Progress:
        """Return a progress far from the present one, with the same kind of step.

        What Python computes from it would change so little in a step that no comparison noticed: so it is wrong at
        once. The fraction may be used, in a tensor.
        """
        kind, present = self._model.step_kind(), self._model.progress
        for batches in range(progress.batches + FAR, progress.batches + FAR + 1000):
            self._model.progress = Progress(progress.examples + 100 * FAR, batches, progress.seconds + FAR)
            if self._model.step_kind() == kind:
                break
        else:
            self._model.progress.batches = progress.batches
        far, self._model.progress = self._model.progress, present
        far.fraction = self._fraction
        return far

    def _check(self, kind: _Kind, batch: Batch, plain: PlainStep) -> dict[str, Tensor]:
        """Do a step plainly, then once more by a replay, compare, and leave what the plain one did."""
        self._forget_gradients()
        if (done := self._done(batch, plain)) is None:
            return plain(batch)
        before, outputs, after, gradients = done
        try:
            before.restore()
            self._queue(kind.step, batch)
            reason = self._difference(kind.step, gradients, outputs, before, after)
        except Exception as error:
            reason = first_line(error)
        after.restore()
        self._leave(kind.step, gradients)
        kind.checked = True
        if reason:
            self.stop(reason)
        return outputs

    def _done(
        self, batch: Batch, plain: PlainStep
    ) -> tuple[_State, dict[str, Tensor], _State, dict[str, Tensor]] | None:
        """Do a step plainly, and return the state before it, its outputs, the state after it and its gradients.

        None where beside a graph there is no room for that: then nothing is left of it, nor of the graphs.
        """
        before, counts = None, copy.deepcopy(self._counts.state_dict())
        try:
            before = self._state()
            with self._optimizers.capturable():
                outputs = plain(batch)
            return before, outputs, self._state(), self._gradients()
        except torch.OutOfMemoryError as error:
            if before is not None:
                before.restore()
            self._counts.load_state_dict(counts)
            self._forget_gradients()  # of a part of the step
            self.stop(first_line(error))
            return None

    def _leave(self, step: RecordedStep, gradients: dict[str, Tensor]) -> None:
        """Leave of the gradients, once the step with these ``gradients`` is done, what steps leave."""
        self._forget_gradients()
        step.gradients.clear()

    def _difference(
        self,
        step: RecordedStep,
        gradients: dict[str, Tensor],
        outputs: dict[str, Tensor],
        before: _State,
        after: _State,
    ) -> str:
        """Say how what a replay did, which is still there, differs from the plain step; nothing if it does not."""
        if step.gradients.keys() != gradients.keys():
            return "a replayed step gives other parameters a gradient"
        plain_norms = torch.stack(torch._foreach_norm(list(gradients.values())))
        if not bool(torch.stack([*plain_norms, *_losses(outputs).values()]).isfinite().all()):
            return "the plain step that it is compared with is not finite"
        errors = torch.stack(
            torch._foreach_norm(torch._foreach_sub(list(step.gradients.values()), list(gradients.values())))
        )
        allowed = self._rounding * (plain_norms + SMALL * torch.linalg.vector_norm(plain_norms))
        # In the negative, so that what is not a number is no agreement.
        if bad := [name for name, good in zip(gradients, (errors <= allowed).tolist(), strict=True) if not good]:
            return f"a replayed step has another gradient of {bad[0]}"
        if outputs.keys() != step.outputs.keys() or not _close(step.outputs, outputs, self._rounding):
            return "a replayed step has another loss"
        for name, replayed in after.tensors.items():
            made, start = after.copies[name], before.copies[name]
            if made and not bool(_distance(replayed, made) <= UPDATES * _distance(made, start)):
                return f"a replayed step changes the {name} otherwise"
        return ""

    def _replay(self, step: RecordedStep, batch: Batch) -> dict[str, Tensor]:
        self._queue(step, batch)
        self.replays += 1
        self._model.grad_norm = step.grad_norm
        for check in step.checks:
            self._model.guard.watch(check, self._model.where())
        self._counts.load_state_dict(_combined(self._counts.state_dict(), step.counted, 1))
        return {name: value.clone() for name, value in step.outputs.items()}  # the next replay writes over them

    def _queue(self, step: RecordedStep, batch: Batch) -> None:
        for static, new in zip(step.batch, batch, strict=True):
            if static is not None:
                static.copy_(new)
        self._fraction.fill_(self._model.progress.fraction)
        self._optimizers.follow_rates()
        step.graph.replay()

    def _state(self) -> _State:
        parts = {"weights": self._parameters.values(), "buffers": self._model.buffers()}
        return _State({**parts, "optimizers": self._optimizers.tensors()}, self._model.device)

    def _gradients(self) -> dict[str, Tensor]:
        return {name: p.grad for name, p in self._parameters.items() if p.grad is not None}

    def _forget_gradients(self) -> None:
        """Have the next backward pass make tensors of its own for them, as at each plain step."""
        for parameter in self._parameters.values():
            parameter.grad = None


@dataclass
class _Kind:
    graph: Graph | None
    shapes: list[Any]
    warmed_up: int = 0
    step: RecordedStep | None = None
    checked: bool = False


@dataclass(frozen=True)
class RecordedStep:
    """A recorded step: what it reads, and what it leaves behind."""

    graph: Graph
    batch: Batch
    outputs: dict[str, Tensor]
    checks: list[Check]
    grad_norm: Tensor | None
    gradients: dict[str, Tensor]
    counted: dict[str, Any]


class _State:
    """What a step changes, and the state of the generators, to be brought back."""

    def __init__(self, parts: Mapping[str, Iterable[Tensor]], device: torch.device) -> None:
        # Data: what a pass that is still to go back has used is put back as it was, and has not changed for it.
        self.tensors = {name: [tensor.data for tensor in tensors] for name, tensors in parts.items()}
        self.copies = {name: [tensor.clone() for tensor in tensors] for name, tensors in self.tensors.items()}
        self._generators = [torch.default_generator, default_generator(device)]
        self._random = [generator.get_state() for generator in self._generators]

    def restore(self) -> None:
        for name, tensors in self.tensors.items():
            for tensor, kept in zip(tensors, self.copies[name], strict=True):
                tensor.copy_(kept)
        for generator, state in zip(self._generators, self._random, strict=True):
            generator.set_state(state)


def _held(model: nn.Module) -> dict[tuple[nn.Module, str], Tensor]:
    """Return the tensors, beside its parameters, that a model's modules hold by name."""
    held = {}
    for module in model.modules():
        named = {**module._buffers, **vars(module)}
        held |= {(module, name): value for name, value in named.items() if isinstance(value, Tensor)}
    held.pop((model, "grad_norm"), None)  # each step has another
    return held


def _shapes(batch: Batch) -> list[Any]:
    return [None if tensor is None else (tensor.shape, tensor.dtype, tensor.device) for tensor in batch]


def _distance(some: list[Tensor], others: list[Tensor]) -> Tensor:
    """Return the norm of the difference of two lists of tensors."""
    differences = torch._foreach_sub([tensor.float() for tensor in some], [tensor.float() for tensor in others])
    return torch.stack(torch._foreach_norm(differences)).norm()


def _losses(parts: dict[str, Tensor]) -> dict[str, Tensor]:
    # Of the other parts some are counts, which jump where a number is rounded across a threshold.
    return {name: value.float() for name, value in parts.items() if name.endswith("loss")}


def _close(some: dict[str, Tensor], others: dict[str, Tensor], rounding: float) -> bool:
    losses = _losses(others)
    one, other = (torch.stack([parts[name] for name in losses]) for parts in (_losses(some), losses))
    return bool((one - other).norm() <= rounding * other.norm())


def _combined(counts: Any, others: Any, sign: int) -> Any:
    """Add or subtract two trees of counts."""
    if isinstance(counts, dict):
        return {name: _combined(value, others[name], sign) for name, value in counts.items()}
    return counts + sign * others
