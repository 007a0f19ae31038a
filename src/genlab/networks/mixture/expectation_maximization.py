"""Expectation maximization of mixtures from a k-means++ start."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from genlab.core.codec import one_hot
from genlab.networks.mixture.mixtures import Mixture

__all__ = ["fit_by_em", "k_means"]

_LLOYD_STEPS = 10
_CHUNK_ELEMENTS = 1 << 23  # numbers in the largest intermediate result: 64 MiB in double precision
_NEGLIGIBLE = 1e-20
_TOLERANCE = 1e-5  # nats per dimension that a step must gain


@torch.no_grad()
def k_means(x: Tensor, clusters: int, steps: int = _LLOYD_STEPS) -> Tensor:
    """Cluster by k-means++ and Lloyd's algorithm; random choices come from the global generator.

    Arthur and Vassilvitskii (2007), "k-means++: the advantages of careful seeding".

    Args:
        x: ``[N, D]``.
        clusters: Number of clusters.
        steps: Most steps of Lloyd's algorithm.

    Returns:
        The number of each example's cluster, ``[N]``; a cluster may be empty.
    """
    centres = _spread_centres(x, clusters)
    nearest = _nearest(x, centres)
    for _ in range(steps):
        members = one_hot(nearest, clusters, x.dtype)
        count = members.sum(0)[:, None]
        centres = torch.where(count > 0, members.T @ x / count.clamp_min(1), centres)
        before, nearest = nearest, _nearest(x, centres)
        if torch.equal(before, nearest):
            break
    return nearest


def _spread_centres(x: Tensor, clusters: int) -> Tensor:
    """Choose examples, each with a probability that grows with the squared distance to those before it."""
    norms = x.square().sum(1)
    chosen: list[int] = []
    distance = torch.full_like(norms, torch.inf)
    for _ in range(clusters):
        # The first, and those beyond the number of distinct examples, may fall anywhere.
        weights = distance if distance.isfinite().all() and distance.any() else torch.ones_like(distance)
        chosen.append(int(torch.multinomial(weights, 1)))
        newest = x[chosen[-1]]
        distance = torch.minimum(distance, (norms - 2 * (x @ newest) + newest @ newest).clamp_min(0))
    return x[chosen]


def _nearest(x: Tensor, centres: Tensor) -> Tensor:
    return (centres.square().sum(1) - 2 * (x @ centres.T)).argmin(1)


@torch.no_grad()
def fit_by_em(mixture: Mixture, x: Tensor, steps: int, prior: float) -> None:
    """Fit a mixture to data: calibration, k-means, then EM until a step gains too little.

    Dempster, Laird and Rubin (1977), "Maximum likelihood from incomplete data via the EM algorithm".

    Args:
        mixture: Left in the precision in which it came.
        x: ``[N, D]``.
        steps: Most steps of EM; with 0 the components are those of the k-means clusters.
        prior: Pseudo-examples of each component, per example.
    """
    dtype = mixture.logits.dtype
    mixture.to(mixture.em_dtype).calibrate(x)
    features = mixture.em_features(x)
    clusters = k_means(mixture.standardize(x), mixture.components)
    responsibilities = one_hot(clusters, mixture.components, features.dtype)
    pseudo_examples = prior * len(x)
    best = -torch.inf
    for step in range(steps + 1):
        mixture.maximize(features, responsibilities, pseudo_examples)
        mixture.set_weights(responsibilities, pseudo_examples)
        if step == steps:
            break
        responsibilities, log_prob = _expect(mixture, features)
        objective = float(log_prob + prior * mixture.log_prior()) / mixture.num_dims
        if objective - best < _TOLERANCE:
            break
        best = objective
    mixture.to(dtype)


def _expect(mixture: Mixture, features: Tensor) -> tuple[Tensor, Tensor]:
    """Return responsibilities ``[N, K]`` and the mean log-likelihood."""
    rows = max(1, _CHUNK_ELEMENTS // mixture.em_row_elements)
    log_weights = F.log_softmax(mixture.logits, 0)
    joint = torch.cat([log_weights + mixture.em_log_prob(chunk) for chunk in features.split(rows)])
    # Denormal numbers weigh nothing and make a CPU's matrix products several times slower.
    return F.threshold(joint.softmax(1), _NEGLIGIBLE, 0.0), joint.logsumexp(1).mean()
