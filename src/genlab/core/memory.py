"""What cannot fit into memory is refused before it is allocated: the kernel's killer says nothing and asks nobody."""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from genlab.core.errors import GenlabError

__all__ = ["BuildWithinMemory", "check_examples_fit", "memory_bytes", "say_bytes"]

_LIMITS_OF_CONTAINERS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_UNITS = ("bytes", "KB", "MB", "GB", "TB", "PB", "EB")
_BYTES_OF_A_VALUE = 4
"""Of a float32: whatever the data's own type, networks see, and samplers draw, values of this size."""


def memory_bytes() -> float:
    """Return the main memory that this process may still use: of the machine, or of its container; inf if not known."""
    known = [float(text) for text in map(_read, _LIMITS_OF_CONTAINERS) if text.isdecimal()]
    if available := re.search(r"^MemAvailable:\s+(\d+) kB", _read("/proc/meminfo"), re.MULTILINE):
        known.append(1024.0 * int(available[1]))
    with contextlib.suppress(ValueError, OSError, AttributeError):  # a system that does not say
        known.append(float(os.sysconf("SC_PAGE_SIZE")) * os.sysconf("SC_PHYS_PAGES"))
    return min((size for size in known if size > 0), default=math.inf)


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


def say_bytes(count: float) -> str:
    """Return a size for people, in steps of a thousand: ``"1.5 GB"``."""
    power = min(int(math.log10(max(count, 1)) // 3), len(_UNITS) - 1)
    return f"{count / 1000**power:.3g} {_UNITS[power]}"


def check_examples_fit(
    key: str, count: int, num_dims: int, examples: str = "examples", value_bytes: int = _BYTES_OF_A_VALUE
) -> None:
    """Refuse so many examples at once that their values alone exceed the memory that there is.

    Args:
        key: The setting that says how many.
        count: How many.
        num_dims: Values of one example.
        examples: What they are called.
        value_bytes: Bytes of each value; those of a float32 by default.

    Raises:
        GenlabError: If they cannot fit, whatever is computed of them.
    """
    needed, there = float(count) * num_dims * value_bytes, memory_bytes()
    if needed > there:
        most = int(there // (num_dims * value_bytes))
        raise GenlabError(
            f"{key} is {count:,}: so many {examples} alone take {say_bytes(needed)}, and this machine has "
            f"{say_bytes(there)} of memory left. Give far fewer than {most:,}."
        )


class BuildWithinMemory(TorchDispatchMode):
    """Within it no tensors are made that exceed the machine's memory, each alone or all new ones together.

    A model is built so: weights begin as empty tensors, whose sizes are known before anything is allocated.

    Args:
        what: What is built, for the message.

    Raises:
        GenlabError: In place of the allocation, with what it takes and what there is.
    """

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what
        self.limit = memory_bytes()
        self.made = 0.0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        options = dict(kwargs or {})
        if func in _SIZED:
            if torch.device(options.get("device") or "cpu").type != "meta":
                self.made += _SIZED[func](args) * (options.get("dtype") or torch.get_default_dtype()).itemsize
                self._check(self.made)
        elif len(tensors := [value for value in args if isinstance(value, Tensor)]) > 1:
            self._check(self.made + _bytes_of_result(tensors))  # which may be let go again, and is not added up
        return func(*args, **options)

    def _check(self, needed: float) -> None:
        if needed > self.limit:
            raise GenlabError(
                f"{self.what} takes more than {say_bytes(needed)}, and this machine has {say_bytes(self.limit)} of "
                "memory left. Lower its widths or its depth."
            )


def _bytes_of_result(tensors: list[Tensor]) -> float:
    """Return the size of what tensors give together, value by value: two long vectors give a large matrix."""
    try:
        shape = torch.broadcast_shapes(*(tensor.shape for tensor in tensors))
    except RuntimeError:  # not value by value
        return 0.0
    return math.prod(map(float, shape)) * max(tensor.itemsize for tensor in tensors)


def _of_size(args: tuple[Any, ...]) -> float:
    return math.prod(map(float, args[0]))


_aten = torch.ops.aten
_SIZED: dict[Any, Callable[[tuple[Any, ...]], float]] = {
    _aten.empty.memory_format: _of_size,
    _aten.empty_strided.default: _of_size,
    _aten.zeros.default: _of_size,
    _aten.ones.default: _of_size,
    _aten.full.default: _of_size,
    _aten.rand.default: _of_size,
    _aten.rand.generator: _of_size,
    _aten.randn.default: _of_size,
    _aten.randn.generator: _of_size,
    _aten.eye.default: lambda args: float(args[0]) ** 2,
    _aten.eye.m: lambda args: float(args[0]) * args[1],
    _aten.arange.default: lambda args: float(args[0]),
}
"""Operations that make a tensor from nothing but a size, and how many values it has."""
