"""Fréchet distance (FID) and its memorization-informed form (MiFID)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance

from genlab.measure.metrics.distances import BLOCK, block_slices, centre_of
from genlab.measure.metrics.rows import FeatureMetric, as_features, require_examples

__all__ = ["FrechetDistance", "MemorizationInformedFrechetDistance", "frechet_distance"]


def frechet_distance(first_mean: Tensor, first_cov: Tensor, second_mean: Tensor, second_cov: Tensor) -> Tensor:
    """Squared Fréchet (Wasserstein-2) distance between two Gaussians.

    ``|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2))``; Dowson and Landau (1982), "The Fréchet distance between
    multivariate normal distributions". With C = F F^T the trace of the root is the sum of the singular values of
    F1^T F2. The eigenvalues of C1 C2, whose roots have the same sum, are known only to their rounding error, and the
    root of that is large where a covariance has no full rank.

    Args:
        first_mean, second_mean: ``[D]``, float64.
        first_cov, second_cov: ``[D, D]``, float64, symmetric.

    Returns:
        A scalar, float64, at least zero.
    """
    overlap = torch.linalg.svdvals(_factor(first_cov).T @ _factor(second_cov)).sum()
    distance = (first_mean - second_mean).square().sum() + first_cov.trace() + second_cov.trace() - 2 * overlap
    return distance.clamp_min(0)


def _factor(cov: Tensor) -> Tensor:
    variances, directions = torch.linalg.eigh(cov)
    # Variances below the rounding error are noise; their roots would add up over directions without any variance.
    certain = variances > variances[-1].clamp_min(0) * len(cov) * torch.finfo(cov.dtype).eps
    return directions[:, certain] * variances[certain].sqrt()


class _Identity(nn.Identity):
    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features


class FrechetDistance(FrechetInceptionDistance):
    """Fréchet distance between the Gaussians that fit real and generated features.

    Heusel et al. (2017), "GANs trained by a two time-scale update rule converge to a local Nash equilibrium"; called
    FID with the features of Inception-v3. The estimate is biased upwards by an amount that grows with
    the number of features and falls with that of examples, so only figures of equal numbers compare.

    The moments are torchmetrics', sums in float64. The distance is :func:`frechet_distance`, because torchmetrics takes
    it from the eigenvalues of a product, which is inexact for covariances without full rank, and rounds it to float32.

    Args:
        num_features: Length D of one example's features.
    """

    def __init__(self, num_features: int) -> None:
        super().__init__(feature=_Identity(num_features))
        self.num_features = num_features

    def update(self, features: Tensor, real: bool) -> None:
        """Add the features ``[N, num_features]`` of real or of generated examples.

        Raises:
            ValueError: If the features' shape is another one.
            MetricError: If a feature is nan or infinite.
        """
        super().update(as_features(features, self.num_features), real)

    def compute(self) -> Tensor:
        """Return the distance, a float64 scalar, at least zero.

        Raises:
            MetricError: With fewer than two real or generated examples.
        """
        real = _moments_of_sums(
            "real", self.real_features_sum, self.real_features_cov_sum, self.real_features_num_samples
        )
        fake = _moments_of_sums(
            "generated", self.fake_features_sum, self.fake_features_cov_sum, self.fake_features_num_samples
        )
        return frechet_distance(*real, *fake)


def _moments_of_sums(name: str, total: Tensor, squares: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    require_examples(name, int(count), 2)
    mean = total / count
    return mean, (squares - count * torch.outer(mean, mean)) / (count - 1)


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    mean = centre_of(features)
    squares = torch.zeros(len(mean), len(mean), dtype=torch.float64, device=features.device)
    for rows in features.split(BLOCK):
        centred = rows.double() - mean
        squares += centred.T @ centred
    return mean, squares / (len(features) - 1)


class MemorizationInformedFrechetDistance(FeatureMetric):
    """Fréchet distance divided by the samples' mean cosine distance to the nearest training example.

    Bai et al. (2021), "On training sample memorization: lessons from benchmarking generative modeling with a
    large-scale competition": the cosine distance of a sample is 1 minus the largest absolute cosine of its
    angle with a training example; a mean at or above the threshold counts as 1, no memorization. The real examples have
    to be the **training** examples. The threshold belongs to the features of Inception-v3; features of other extractors
    lie closer or farther, so figures compare within one extractor only. A sample without any feature has distance 1.

    The minimum is over the training examples and the mean over the samples: so the competition of the paper defines it
    ("Generative Dog Images" on Kaggle, evaluation page: the minimum over all training examples, averaged over the
    generated images), and so its published evaluation code computes it, with the absolute cosine. torchmetrics 1.9
    exchanges the two: its minimum is over the samples and its mean over the real examples, which stays large for a
    model that copies few of them. It also holds all pairs at once. So the metric is written here.

    Args:
        num_features: Length D of one example's features.
        threshold: Mean cosine distance from which there is no penalty, in ``(0, 1]``.
    """

    higher_is_better = False

    def __init__(self, num_features: int, threshold: float = 0.1) -> None:
        super().__init__(num_features)
        if not 0 < threshold <= 1:
            raise ValueError(f"threshold must be in (0, 1], not {threshold}.")
        self.threshold = threshold

    def compute(self) -> Tensor:
        """Return the distance, a float64 scalar; zero where the Fréchet distance is below 1e-8, as torchmetrics has it.

        Raises:
            MetricError: With fewer than two real or generated examples.
        """
        real, fake = self.rows("real_features"), self.rows("fake_features")
        require_examples("real", len(real), 2)
        require_examples("generated", len(fake), 2)
        distance = frechet_distance(*_moments(real), *_moments(fake))
        if distance <= 1e-8:
            return torch.zeros_like(distance)
        penalty = _nearest_cosine_distances(fake, real).mean()
        # The constant keeps samples that all are copies, but of few examples, from a division by zero.
        return distance / (penalty + 1e-14) if penalty < self.threshold else distance


def _nearest_cosine_distances(samples: Tensor, training: Tensor) -> Tensor:
    cosines = torch.zeros(len(samples), dtype=torch.float64, device=samples.device)
    for rows, columns in block_slices(len(samples), len(training), samples.device):
        products = _unit(samples[rows]) @ _unit(training[columns]).T
        cosines[rows] = torch.maximum(cosines[rows], products.abs_().amax(1))
    return 1 - cosines.clamp_max(1)


def _unit(rows: Tensor) -> Tensor:
    return nn.functional.normalize(rows.double(), dim=1, eps=1e-300)
