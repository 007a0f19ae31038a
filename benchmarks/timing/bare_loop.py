"""A bare PyTorch loop, and what its steps cost: milliseconds, kernels, idle shares."""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from genlab.core.batch import Batch
from genlab.core.hardware import fast_bfloat16
from genlab.models.base import GenerativeModel
from genlab.models.steps import Progress
from timing.operators import CountOperators, without_lightning


class Loop:
    """A bare PyTorch loop, which stops only after whole periods of the kinds of step that a game has.

    Args:
        train: Trains by a batch.
        optimizers: All that it steps; each clips its gradient.
        batches: What is trained on.
        clip: Largest norm of a gradient, or None.
        device: Where all of this lies.
        progress: Counts the steps, as a model that decides by them which work the next one does expects it.
        period: Steps after which their kinds come again.
    """

    def __init__(
        self,
        train: Callable[[Batch], object],
        optimizers: list[torch.optim.Optimizer],
        batches: Iterator[Batch],
        clip: float | None,
        device: torch.device,
        progress: Progress | None = None,
        period: int = 1,
    ) -> None:
        self.train = train
        self.batches = batches
        self.device = device
        self.progress = progress or Progress()
        self.period = period
        for optimizer in optimizers if clip is not None else []:
            optimizer.register_step_pre_hook(partial(_clip, clip))

    def step(self) -> None:
        self.train(next(self.batches))
        self.progress.batches += 1

    def milliseconds(self, steps: int) -> float:
        """Return those of a step, of so many, or as many as fit a second, after half as many to warm up."""
        self.run(warm(steps))
        started = time.perf_counter()
        done = self.run(steps)
        return 1000 * (time.perf_counter() - started) / done

    def run(self, steps: int) -> int:
        """Take so many steps, or as many as fit a second, then what is missing of a period, and return how many."""
        started, done = time.perf_counter(), 0
        while done % self.period or (done < steps and time.perf_counter() - started < 1):
            self.step()
            done += 1
        wait(self.device)
        return done

    def host_idle_share(self) -> float | None:
        """Return the part of two periods in which Python has asked for all and the GPU still works."""
        if self.device.type != "cuda":
            return None
        wait(self.device)
        started = time.perf_counter()
        for _ in range(2 * self.period):
            self.step()
        asked = time.perf_counter() - started
        wait(self.device)
        return 1 - asked / (time.perf_counter() - started)

    def kernels(self) -> tuple[int, float | None]:
        """Return the kernels of a step and the milliseconds in which at least one ran, means over whole periods."""
        if self.device.type != "cuda":
            with CountOperators() as counted:
                self.run(self.period)
            return round(counted.count / self.period), None
        steps = whole_periods(3, self.period)
        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiled:
            for _ in range(steps):
                self.step()
            wait(self.device)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "trace.json"
            profiled.export_chrome_trace(str(file))
            events = json.loads(file.read_text())["traceEvents"]
        work = [e for e in events if e.get("cat") in ("kernel", "gpu_memcpy", "gpu_memset")]
        return round(len(work) / steps), busy_ms([(e["ts"], e["ts"] + e["dur"]) for e in work]) / steps


def by_loss(
    loss: Callable[[Batch], Tensor], optimizers: list[torch.optim.Optimizer], device: torch.device
) -> Callable[[Batch], None]:
    """Return what trains by a batch: loss, backward, optimizers."""

    def train(batch: Batch) -> None:
        for optimizer in optimizers:
            optimizer.zero_grad()
        with autocast(device):
            found = loss(batch)
        found.backward()
        for optimizer in optimizers:
            optimizer.step()

    return train


def by_own_steps(
    model: GenerativeModel, optimizers: list[torch.optim.Optimizer], device: torch.device
) -> Callable[[Batch], None]:
    """Return what trains a family by a batch that steps its optimizers itself, with nothing of Lightning."""
    without_lightning(model, optimizers)

    def train(batch: Batch) -> None:
        with autocast(device):  # around all of it, as Lightning has it
            model.training_step(batch, 0)

    return train


def autocast(device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16, enabled=fast_bfloat16(device.type))


def _clip(clip: float, optimizer: torch.optim.Optimizer, *_: object) -> None:
    torch.nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], clip)


def period_of(model: GenerativeModel, most: int = 64) -> int:
    """Return after how many steps the kinds of a model's steps come again.

    Raises:
        ValueError: If they do not within so many.
    """
    present, kinds = model.progress, []
    for batches in range(2 * most):
        model.progress = Progress(batches=batches)
        kinds.append(model.step_kind())
    model.progress = present
    for period in range(1, most + 1):
        if kinds[period:] == kinds[:-period]:
            return period
    raise ValueError(f"the kinds of step of {model.name} do not come again within {most} steps")


def whole_periods(steps: int, period: int) -> int:
    """Return the fewest steps, at least so many, that are whole periods."""
    return period * math.ceil(steps / period)


def busy_ms(spans: list[tuple[float, float]]) -> float:
    """Return the milliseconds that spans, in microseconds, cover together."""
    total, end = 0.0, -math.inf
    for begin, until in sorted(spans):
        total += max(0.0, until - max(begin, end))
        end = max(end, until)
    return total / 1000


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def warm(steps: int) -> int:
    return max(1, steps // 2)
