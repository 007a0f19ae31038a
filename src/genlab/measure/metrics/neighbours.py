"""Memorization check: how near generated examples lie to training examples, beside held-out ones."""

from __future__ import annotations

import torch
from torch import Tensor

from genlab.measure.metrics.distances import centre_of, nearest_neighbours
from genlab.measure.metrics.rows import FeatureMetric, as_features, require_examples

__all__ = ["NearestTrainingDistance"]


class NearestTrainingDistance(FeatureMetric):
    """Median distance of samples to their nearest training examples, divided by that of held-out examples.

    Near 1 if samples are as far from the training set as new data is; much below 1 if they are copies; above 1 if they
    lie off the data. Distances are Euclidean in feature space. The comparison of the two sets of distances is that of
    Meehan et al. (2020), "A non-parametric test to detect data-copying in generative models"; the ratio of medians is
    this project's summary of it, since it keeps its meaning for any number of examples.

    Its training examples are for it alone: other metrics of the same ``MetricCollection`` would take them as real ones.

    Args:
        num_features: Length D of one example's features.
        num_pairs: Number of nearest pairs of a sample and a training example to name; all samples if there are fewer.
    """

    higher_is_better = None

    def __init__(self, num_features: int, num_pairs: int = 16) -> None:
        super().__init__(num_features)
        self.num_pairs = num_pairs
        self.add_rows("training_features", torch.empty(0, num_features))

    def update(self, features: Tensor, real: bool, training: bool = False) -> None:
        """Add features of examples of one of three sets.

        Args:
            features: ``[N, num_features]``.
            real: Whether the examples are real.
            training: Whether real examples are those that the model was trained on; otherwise they are held out.

        Raises:
            ValueError: If the features' shape is another one, or generated examples are called training examples.
            MetricError: If a feature is nan or infinite.
        """
        if not training:
            super().update(features, real)
        elif real:
            self.keep("training_features", as_features(features, self.num_features))
        else:
            raise ValueError("Training examples are real: give real=True with training=True.")

    def compute(self) -> dict[str, Tensor]:
        """Return the ratio, the two medians and the nearest pairs.

        Returns:
            ``nearest_ratio``, ``nearest_sample_median`` and ``nearest_test_median``: float64 scalars; the ratio is nan
            if the held-out median is zero. ``pair_samples`` and ``pair_training``, ``[P]``, int64: the places of the
            samples nearest to a training example, nearest first, and of those examples, in the order of the updates,
            process after process. ``pair_distances``, ``[P]``, float64.

        Raises:
            MetricError: Without an example of one of the three sets.
        """
        sets = {"training": "training_features", "held-out": "real_features", "generated": "fake_features"}
        for name, state in sets.items():
            require_examples(name, len(self.rows(state)), 1)
        training, test, samples = (self.rows(state) for state in sets.values())
        centre = centre_of(training)
        distances, indices = _nearest(samples, training, centre)
        sample_median, test_median = _median(distances), _median(_nearest(test, training, centre)[0])
        nearest = distances.sort(stable=True).indices[: self.num_pairs]
        return {
            "nearest_ratio": sample_median / test_median
            if test_median > 0
            else torch.full_like(test_median, torch.nan),
            "nearest_sample_median": sample_median,
            "nearest_test_median": test_median,
            "pair_samples": nearest,
            "pair_training": indices[nearest],
            "pair_distances": distances[nearest],
        }


def _nearest(queries: Tensor, points: Tensor, centre: Tensor) -> tuple[Tensor, Tensor]:
    indices = nearest_neighbours(queries, points, 1, centre).indices[:, 0]
    # The search's distances lose digits where points nearly meet, which is what copies do; so once more, directly.
    chunks = zip(queries.split(1024), indices.split(1024), strict=True)
    return torch.cat([(rows.double() - points[found].double()).norm(dim=1) for rows, found in chunks]), indices


def _median(values: Tensor) -> Tensor:
    ordered = values.sort().values
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
