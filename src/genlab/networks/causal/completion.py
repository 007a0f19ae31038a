"""Values that are missing before others that are given: what an order of prediction alone cannot draw."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from genlab.core.noise import uniform

__all__ = ["Choice", "comes_first", "metropolis_sweep"]

Predict = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Maps values ``[N, D]`` to the parameters ``[N, P, D]`` that are predicted for each, and its log-probability
``[N, D]``, zero where a value counts for nothing."""
Propose = Callable[[int, Tensor], Tensor]
"""Draws the value ``[N]`` of one place, given the parameters ``[N, P]`` that are predicted for it."""


def comes_first(kept: Tensor) -> Tensor:
    """Return whether what is kept of an example comes before all that is not, ``[N]``, of ``kept [N, D]`` in order."""
    return (kept[:, :-1] | ~kept[:, 1:]).all(1)


class Choice:
    """One of several candidates, chosen by chance in proportion to its weight: importance resampling.

    Rubin (1988), "Using the SIR algorithm to simulate posterior distributions". Candidates come one by one; the best of
    their log-weights plus Gumbel noise is such a choice.
    """

    def __init__(self) -> None:
        self.values: Tensor | None = None
        self._best: Tensor | None = None

    def offer(self, values: Tensor, log_weight: Tensor, generator: Generator | None) -> None:
        """Take a candidate ``[N, ...]`` of log-weight ``[N]``, or keep the one before."""
        u = uniform(log_weight.shape, generator, log_weight.device, torch.float64)
        score = log_weight.double() - (-u.clamp_min(1e-300).log()).log()
        if self.values is None or self._best is None:
            self.values, self._best = values, score
            return
        better = score > self._best
        self.values = values.where(better.view(-1, *[1] * (values.ndim - 1)), self.values)
        self._best = score.where(better, self._best)


def metropolis_sweep(
    values: Tensor,
    free: Tensor,
    predict: Predict,
    propose: Propose,
    chance: Tensor,
) -> Tensor:
    """Draw each free value anew from its prediction, in order, and keep it by chance of what follows: a Gibbs sweep.

    The proposal is p(value | those before it), so that of the ratio of Metropolis and Hastings there remains that of
    the values after it: min(1, p(after | before, new) / p(after | before, old)). Each step leaves the distribution of
    the free values given the others as it is; Tierney (1994), "Markov chains for exploring posterior distributions",
    section 2.

    Args:
        values: ``[N, D]``, in the order of prediction.
        free: ``[N, D]``, bool: what may change.
        predict: The model.
        propose: Draws from a prediction.
        chance: Uniform numbers ``[N, D]``.

    Returns:
        ``[N, D]``.
    """
    params, log_probs = predict(values)
    for place in free.any(0).nonzero()[:, 0].tolist():
        other = values.clone()
        other[:, place] = propose(place, params[:, :, place]).to(values.dtype).where(free[:, place], values[:, place])
        new_params, new_log_probs = predict(other)
        ratio = (new_log_probs - log_probs)[:, place + 1 :].double().sum(1)
        # Where both are impossible there is no ratio, and nothing that is lost by a move.
        accepted = free[:, place] & (chance[:, place].log() < ratio.nan_to_num(nan=0.0, posinf=1e30, neginf=-1e30))
        values = torch.where(accepted[:, None], other, values)
        log_probs = torch.where(accepted[:, None], new_log_probs, log_probs)
        params = torch.where(accepted[:, None, None], new_params, params)
    return values
