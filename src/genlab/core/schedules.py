"""Learning-rate schedules: multipliers as functions of the fraction of the budget that is spent."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Le

__all__ = ["WarmupConstant", "WarmupCosine"]

Fraction = Annotated[float, Ge(0), Le(1)]


@dataclass(frozen=True)
class WarmupConstant:
    """Rise linearly over the first part of the budget, then stay at 1.

    Args:
        warmup: Fraction of the budget over which the rate rises.
    """

    warmup: Fraction = 0.0

    def __call__(self, fraction: float) -> float:
        """Return the multiplier when ``fraction`` of the budget, in ``[0, 1]``, is spent."""
        return min(1.0, fraction / self.warmup) if self.warmup > 0 else 1.0


@dataclass(frozen=True)
class WarmupCosine:
    """Rise linearly, then fall along half a cosine.

    Loshchilov and Hutter (2017), "SGDR", equation 5, without restarts.

    Args:
        warmup: Fraction of the budget over which the rate rises.
        final: Multiplier when the budget is spent.
    """

    warmup: Fraction = 0.02
    final: Fraction = 0.0

    def __call__(self, fraction: float) -> float:
        """Return the multiplier when ``fraction`` of the budget, in ``[0, 1]``, is spent."""
        if fraction < self.warmup:
            return fraction / self.warmup
        spent = min(1.0, (fraction - self.warmup) / max(1e-12, 1 - self.warmup))
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * spent))
