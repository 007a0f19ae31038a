"""Inception score of a classifier's logits."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from genlab.measure.metrics.rows import RowsMetric, as_features, canonical_order, require_examples, subset

__all__ = ["InceptionScore"]


class InceptionScore(RowsMetric):
    """Exponential of the mean divergence KL(p(y|x) || p(y)) of a classifier's labels on generated examples.

    Salimans et al. (2016), "Improved techniques for training GANs", section 4. From 1 to the number of classes; it sees
    no real data and compares within one classifier only. Each split has its own p(y); the mean is over the splits.

    Written here because torchmetrics splits by the global generator and the order of the updates, and gives nan for a
    class whose probabilities underflow in float32. The sums are in float64, of logarithms. As the paper's authors have
    it, and unlike torchmetrics, the standard deviation divides by the number of splits.

    Args:
        num_classes: Number of logits of an example.
        num_splits: Number of parts of equal size (within one) that the examples are split into, at least 2.
        seed: Seed of the split.
    """

    higher_is_better = True

    def __init__(self, num_classes: int, num_splits: int = 10, seed: int = 0) -> None:
        super().__init__()
        if num_splits < 2:
            raise ValueError(f"num_splits must be at least 2, not {num_splits}.")
        self.num_classes = num_classes
        self.num_splits = num_splits
        self.seed = seed
        self.add_rows("logits", torch.empty(0, num_classes))

    def update(self, logits: Tensor, real: bool) -> None:
        """Add the logits, or logarithms of probabilities, ``[N, num_classes]`` of examples; real ones do not count.

        Raises:
            ValueError: If the logits' shape is another one.
            MetricError: If a logit is nan or infinite.
        """
        if not real:
            self.keep("logits", as_features(logits, self.num_classes))

    def compute(self) -> dict[str, Tensor]:
        """Return ``inception_score``, the mean, and ``inception_score_sd`` over the splits, as float64 scalars.

        Raises:
            MetricError: With fewer generated examples than splits.
        """
        logits = self.rows("logits")
        require_examples("generated", len(logits), self.num_splits)
        mixed = subset(canonical_order(logits), len(logits), Generator().manual_seed(self.seed))
        scores = torch.stack([_score(part.double()) for part in mixed.tensor_split(self.num_splits)])
        return {"inception_score": scores.mean(), "inception_score_sd": scores.std(unbiased=False)}


def _score(logits: Tensor) -> Tensor:
    log_p = logits.log_softmax(dim=1)
    log_marginal = log_p.logsumexp(dim=0) - math.log(len(log_p))
    return (log_p.exp() * (log_p - log_marginal)).sum(1).mean().exp()
