"""What hardware there is: devices by name, what they are called, whether bfloat16 pays on them, memory."""

from __future__ import annotations

import platform
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from genlab.core.errors import GenlabError
from genlab.core.words import counted

__all__ = ["choose_device", "device_name", "fast_bfloat16", "full_float32", "peak_memory_bytes"]


def choose_device(name: str) -> torch.device:
    """Return the device of a name; ``"auto"`` is a GPU where there is one, else the CPU.

    Raises:
        GenlabError: If there is no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        if torch.device(name).type not in ("cpu", "cuda", "mps"):
            raise RuntimeError(name)
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise GenlabError(f"device is '{name}', which this machine lacks. Use device=auto.") from error


def device_name(device: torch.device, count: int = 1) -> str:
    """Return what a device, or so many of its kind, are called in results."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        name = f"{device.type} {platform.machine()}, {counted(torch.get_num_threads(), 'thread')}"
    return f"{count} x {name}" if count > 1 else name


def peak_memory_bytes(device: torch.device) -> int:
    """Most memory used so far: allocated on a GPU, resident on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def fast_bfloat16(device_type: str) -> bool:
    """Whether bfloat16 pays on this machine's devices of a type, ``"cuda"`` or ``"cpu"``.

    That is a GPU with bfloat16 units, or a CPU with AMX (convolutions run about three times faster) or AVX512-BF16
    (twice).
    """
    if device_type == "cuda":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    return device_type == "cpu" and (torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())


@contextmanager
def full_float32() -> Iterator[None]:
    """Keep a GPU from rounding float32 products to TensorFloat-32, so that every device gives the same figures."""
    matmul, convolution = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = matmul, convolution
