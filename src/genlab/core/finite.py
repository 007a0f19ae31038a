"""The guard against numbers that are not finite, which does not wait for the device."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from genlab.core.errors import GenlabError

__all__ = ["Check", "FiniteGuard", "NonFiniteError", "gradient_norms", "lag_on", "loss_check", "zero_if_finite"]

LAG = 8
"""Checks whose answers a CUDA device may still owe."""


class NonFiniteError(GenlabError):
    """A loss or a gradient was infinite or not a number."""


def lag_on(device: torch.device) -> int:
    """Return how many checks may wait for their answers on such a device; none where an answer is there at once."""
    return LAG if device.type == "cuda" else 0


@dataclass(frozen=True)
class Check:
    """Numbers of a step that shall be finite.

    Attributes:
        answers: ``[K]``, bool.
        explain: Given the answers, says what was not finite, or None if all is well.
    """

    answers: Tensor
    explain: Callable[[list[bool]], str | None]


@dataclass(frozen=True)
class _Owed:
    check: Check
    where: Callable[[], str]
    copied: torch.cuda.Event | None


class FiniteGuard:
    """Raise :class:`NonFiniteError` for a check of numbers on a device, without making the host wait for it.

    To read an answer from a CUDA device, the host waits for all that it has queued there. So each answer is copied
    behind the work, and read some checks later, when it is there. Whoever keeps what a step made, in a checkpoint or a
    row of figures, calls :meth:`settle` first.
    """

    def __init__(self) -> None:
        self.is_apart = False
        """Whether a device computes by itself what it exchanges afterwards: then its loss is not checked."""
        self._owed: deque[_Owed] = deque()
        self._collected: list[Check] | None = None

    @contextmanager
    def collecting(self) -> Iterator[list[Check]]:
        """Keep the checks of a step that is only recorded; each time it is replayed they are to be watched."""
        self._collected = []
        try:
            yield self._collected
        finally:
            self._collected = None

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Leave the check of the loss to whoever brings together what each device computes meanwhile by itself.

        An error here would be of one device, for which the others waited.
        """
        self.is_apart = True
        try:
            yield
        finally:
            self.is_apart = False

    def watch(self, check: Check, where: Callable[[], str]) -> None:
        """Note a check, and read those whose answers are due.

        Args:
            check: Numbers of a step; the device may change them as soon as this has returned.
            where: Says which step that was.

        Raises:
            NonFiniteError: If a check whose answers are due was not well: this one, or one some steps ago.
        """
        if self._collected is not None:
            self._collected.append(check)
            return
        answers, copied = check.answers, None
        if answers.is_cuda:
            host = torch.empty(answers.shape, dtype=torch.bool, pin_memory=True)
            host.copy_(answers, non_blocking=True)
            answers, device, copied = host, answers.device, torch.cuda.Event()
            copied.record(torch.cuda.current_stream(device))
        else:
            device = answers.device
        self._owed.append(_Owed(Check(answers, check.explain), where, copied))
        self._read(lag_on(device))

    def settle(self) -> None:
        """Read all answers that are still owed.

        Raises:
            NonFiniteError: As :meth:`watch`.
        """
        self._read(0)

    def _read(self, lag: int) -> None:
        while len(self._owed) > lag:
            owed = self._owed.popleft()
            if owed.copied is not None:
                owed.copied.synchronize()
            if (reason := owed.check.explain(owed.check.answers.tolist())) is not None:
                self._owed.clear()  # later steps built on this one
                raise NonFiniteError(f"{owed.where()}: {reason}")


def zero_if_finite(parts: Mapping[str, Tensor]) -> Tensor:
    """Return 0 for each part of a loss that is finite, and NaN for any other: float32, ``[K]``.

    A sum or a mean of that over several devices is 0 where the part is finite on all of them.

    Args:
        parts: Scalars.
    """
    values = torch.stack([value.detach().float() for value in parts.values()])
    return values - values


def loss_check(names: Iterable[str], zeros: Tensor) -> Check:
    """Return the check of a loss and its parts.

    Args:
        names: Of the parts; ``"loss"`` is the one that must be finite, and where it is not, others are named beside it.
        zeros: What :func:`zero_if_finite` returned, or a sum or mean of that.
    """
    names = list(names)

    def explain(finite: list[bool]) -> str | None:
        bad = [name for name, good in zip(names, finite, strict=True) if not good]
        return f"the loss is not finite (part: {', '.join(bad)})." if "loss" in bad else None

    return Check(zeros == 0, explain)


def gradient_norms(gradients: list[Tensor]) -> list[Tensor]:
    """Return the norm of each gradient, a scalar; of several on one device by one operation."""
    if type(gradients[0]) is Tensor:
        return list(torch._foreach_norm(gradients))
    return [torch.linalg.vector_norm(gradient) for gradient in gradients]  # divided among devices
