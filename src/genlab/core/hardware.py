"""Which hardware multiplies bfloat16 fast."""

from __future__ import annotations

import torch

__all__ = ["fast_bfloat16"]


def fast_bfloat16(device_type: str) -> bool:
    """Whether bfloat16 pays on this machine's devices of a type, ``"cuda"`` or ``"cpu"``.

    That is a GPU with bfloat16 units, or a CPU with AMX (convolutions run about three times faster) or AVX512-BF16
    (twice).
    """
    if device_type == "cuda":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    return device_type == "cpu" and (torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())
