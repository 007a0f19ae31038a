"""Sampling that keeps to what is probable: it changes the distribution that samples come from, never the likelihood."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

__all__ = ["TruncationConfig"]


@dataclass(frozen=True)
class TruncationConfig:
    """How each symbol is drawn from the probabilities that the network gives it.

    Args:
        temperature: What log-probabilities are divided by; below 1 the probable becomes more so.
        top_k: Only so many of the most probable symbols are drawn, or None for all.
        top_p: Only the most probable symbols are drawn that together have this probability, the last of them whole;
            Holtzman et al. (2020), "The curious case of neural text degeneration", section 3.1.
    """

    temperature: Annotated[float, Gt(0)] = 1.0
    top_k: Annotated[int, Ge(1), Le(1_000_000)] | None = None
    top_p: Annotated[float, Gt(0), Le(1)] = 1.0

    @property
    def settings(self) -> dict[str, Any]:
        """What is not neutral, by its name."""
        neutral = TruncationConfig()
        return {name: value for name, value in vars(self).items() if value != getattr(neutral, name)}

    def __str__(self) -> str:
        return ", ".join(f"{name.replace('_', '-')} {value:g}" for name, value in self.settings.items())

    def __call__(self, logits: Tensor) -> Tensor:
        """Return logits ``[N, K]`` of the distribution that is drawn from; what is never drawn has -inf."""
        logits = logits / self.temperature
        if self.top_k is not None and self.top_k < logits.shape[1]:
            least = logits.topk(self.top_k, dim=1).values[:, -1:]
            logits = logits.masked_fill(logits < least, -torch.inf)
        if self.top_p < 1:
            ordered, places = logits.sort(dim=1, descending=True)
            probabilities = ordered.double().softmax(1)
            # A symbol is kept if those before it have not reached the sum: the most probable one always is.
            beyond = probabilities.cumsum(1) - probabilities >= self.top_p
            logits = logits.masked_fill(torch.zeros_like(beyond).scatter(1, places, beyond), -torch.inf)
        return logits
