"""A bare PyTorch loop, and what its steps cost: milliseconds, kernels, idle shares."""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

from genlab.core.batch import Batch
from genlab.core.hardware import fast_bfloat16


class CountOperators(TorchDispatchMode):
    """Count the operators of PyTorch that compute or copy: on a GPU each is about a kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.removeprefix("aten::")
        is_view = any(part.alias_info and not part.alias_info.is_write for part in func._schema.returns)
        self.count += not (is_view or name.startswith(("empty", "new_empty", "_unsafe_view", "detach")))
        return func(*args, **(kwargs or {}))


class Loop:
    """A bare PyTorch loop: loss, backward, clipping, optimizer; the players of a game step together.

    Args:
        loss: Loss of a batch.
        optimizers: All that are stepped.
        batches: What is trained on.
        clip: Largest norm of a gradient, or None.
        device: Where all of this lies.
    """

    def __init__(
        self,
        loss: Callable[[Batch], Tensor],
        optimizers: list[torch.optim.Optimizer],
        batches: Iterator[Batch],
        clip: float | None,
        device: torch.device,
    ) -> None:
        self.loss = loss
        self.optimizers = optimizers
        self.batches = batches
        self.clip = clip
        self.device = device
        self.parameters = [p for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]]

    def step(self) -> None:
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=fast_bfloat16(self.device.type)):
            loss = self.loss(next(self.batches))
        loss.backward()
        if self.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.clip)
        for optimizer in self.optimizers:
            optimizer.step()

    def milliseconds(self, steps: int) -> float:
        """Return those of a step, of so many, or as many as fit a second, after half as many to warm up."""
        self.run(warm(steps))
        started = time.perf_counter()
        done = self.run(steps)
        return 1000 * (time.perf_counter() - started) / done

    def run(self, steps: int) -> int:
        """Take so many steps, or as many as fit a second, and return how many."""
        started, done = time.perf_counter(), 0
        while done < steps and time.perf_counter() - started < 1:
            self.step()
            done += 1
        wait(self.device)
        return done

    def host_idle_share(self) -> float | None:
        """Return the part of two steps in which Python has asked for all and the GPU still works."""
        if self.device.type != "cuda":
            return None
        wait(self.device)
        started = time.perf_counter()
        self.step()
        self.step()
        asked = time.perf_counter() - started
        wait(self.device)
        return 1 - asked / (time.perf_counter() - started)

    def kernels(self) -> tuple[int, float | None]:
        """Return the kernels of a step and the milliseconds in which at least one ran."""
        if self.device.type != "cuda":
            with CountOperators() as counted:
                self.step()
            return counted.count, None
        steps = 3
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
