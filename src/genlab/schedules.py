"""Learning-rate schedules: multipliers as functions of the fraction of the budget that is spent."""

from __future__ import annotations

import math
from typing import Annotated

from annotated_types import Ge, Le

__all__ = ["constant", "warmup_cosine"]

Fraction = Annotated[float, Ge(0), Le(1)]


def constant(fraction: float, warmup: Fraction = 0.0) -> float:
    """Rise linearly over the first ``warmup`` of the budget, then stay at 1.

    Args:
        fraction: Fraction of the budget spent, in ``[0, 1]``.
        warmup: Fraction of the budget over which the rate rises.
    """
    return min(1.0, fraction / warmup) if warmup > 0 else 1.0


def warmup_cosine(fraction: float, warmup: Fraction = 0.02, final: Fraction = 0.0) -> float:
    """Rise linearly over ``warmup``, then fall along half a cosine to ``final``.

    Loshchilov and Hutter (2017), "SGDR", equation 5, without restarts.

    Args:
        fraction: Fraction of the budget spent, in ``[0, 1]``.
        warmup: Fraction of the budget over which the rate rises.
        final: Multiplier when the budget is spent.
    """
    if fraction < warmup:
        return fraction / warmup
    spent = min(1.0, (fraction - warmup) / max(1e-12, 1 - warmup))
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * spent))
