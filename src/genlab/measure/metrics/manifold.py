"""Precision, recall, density and coverage by nearest neighbours in feature space."""

from __future__ import annotations

import torch
from torch import Tensor

from genlab.measure.metrics.distances import centre_of, nearest_neighbours, squared_distance_blocks
from genlab.measure.metrics.rows import FeatureMetric, as_labels, require_examples

__all__ = ["ManifoldMetrics"]


class ManifoldMetrics(FeatureMetric):
    """Precision, recall, density and coverage: how generated examples lie among real ones and the reverse.

    A ball around each example reaches to its k-th nearest neighbour of the same set.

    - precision: generated examples inside a real ball; recall: real examples inside a generated ball. Kynkäänniemi et
      al. (2019), "Improved precision and recall metric for assessing generative models", equations 1 and 2, with k = 3.
    - density: real balls that hold a generated example, on average over those, divided by k; coverage: real balls with
      a generated example in them. Naeem et al. (2020), "Reliable fidelity and diversity metrics for generative models",
      section 3, with k = 5.

    Exact: distances are in float64, and an example on the surface of a ball is in it. Memory grows with N, not N^2.
    Recall and coverage of equal distributions are below 1, by an amount that depends on the numbers of examples.

    Args:
        num_features: Length D of one example's features.
        k_precision_recall: Neighbours that a ball of precision and recall reaches to.
        k_density_coverage: Neighbours that a ball of density and coverage reaches to.
        num_classes: With it, real examples come with labels and recall is also given per class.
    """

    higher_is_better = True

    def __init__(
        self,
        num_features: int,
        k_precision_recall: int = 3,
        k_density_coverage: int = 5,
        num_classes: int | None = None,
    ) -> None:
        super().__init__(num_features)
        if min(k_precision_recall, k_density_coverage) < 1:
            raise ValueError(f"k must be at least 1, not {k_precision_recall} and {k_density_coverage}.")
        self.k_precision_recall = k_precision_recall
        self.k_density_coverage = k_density_coverage
        self.num_classes = num_classes
        if num_classes is not None:
            self.add_rows("real_labels", torch.empty(0, dtype=torch.int64))

    def update(self, features: Tensor, real: bool, labels: Tensor | None = None) -> None:
        """Add the features of real or of generated examples.

        Args:
            features: ``[N, num_features]``.
            real: Whether the examples are real.
            labels: ``[N]``, whole numbers below ``num_classes``: the real examples' classes. Needed for real examples
                if ``num_classes`` is given; not used otherwise.

        Raises:
            ValueError: If the shapes are others, or the labels are missing or out of range.
            MetricError: If a feature is nan or infinite.
        """
        if real and self.num_classes is not None:
            labels = _checked(labels, len(features), self.num_classes)
            super().update(features, real)
            self.keep("real_labels", labels)
        else:
            super().update(features, real)

    def compute(self) -> dict[str, Tensor]:
        """Return ``precision``, ``recall``, ``density`` and ``coverage`` as float64 scalars.

        All are in ``[0, 1]`` but the density, which is at least 0. With ``num_classes`` there is ``recall_per_class``
        too, ``[num_classes]``: the recall of the real examples of each class; nan for a class without any.

        Raises:
            MetricError: If there are not more real and generated examples than a ball has neighbours.
        """
        real, fake = self.rows("real_features"), self.rows("fake_features")
        k = max(self.k_precision_recall, self.k_density_coverage)
        require_examples("real", len(real), k + 1)
        require_examples("generated", len(fake), self.k_precision_recall + 1)
        precise, recalled, covered, inside = self._count(real, fake)
        figures = {
            "precision": precise.double().mean(),
            "recall": recalled.double().mean(),
            "density": inside.double() / (self.k_density_coverage * len(fake)),
            "coverage": covered.double().mean(),
        }
        if self.num_classes is not None:
            labels = self.rows("real_labels")
            hits = torch.bincount(labels[recalled], minlength=self.num_classes)
            figures["recall_per_class"] = hits.double() / torch.bincount(labels, minlength=self.num_classes)
        return figures

    def _count(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        centre = centre_of(real)
        small, large = _squared_radii(real, [self.k_precision_recall, self.k_density_coverage], centre)
        (generated,) = _squared_radii(fake, [self.k_precision_recall], centre)
        precise = torch.zeros(len(fake), dtype=torch.bool, device=real.device)
        recalled, covered = torch.zeros(2, len(real), dtype=torch.bool, device=real.device)
        inside = torch.zeros((), dtype=torch.int64, device=real.device)
        for rows, columns, values in squared_distance_blocks(fake, real, centre):
            precise[rows] |= (values <= small[columns]).any(1)
            recalled[columns] |= (values <= generated[rows, None]).any(0)
            hits = values <= large[columns]
            covered[columns] |= hits.any(0)
            inside += torch.count_nonzero(hits)
        return precise, recalled, covered, inside


def _checked(labels: Tensor | None, count: int, num_classes: int) -> Tensor:
    if labels is None or labels.shape != (count,):
        given = "none" if labels is None else f"the shape {list(labels.shape)}"
        raise ValueError(f"Real examples need labels of the shape [{count}] for the recall per class, not {given}.")
    return as_labels(labels, num_classes)


def _squared_radii(points: Tensor, neighbours: list[int], centre: Tensor) -> list[Tensor]:
    # An example is its own nearest neighbour, at a distance of zero, which is not counted.
    found = nearest_neighbours(points, points, max(neighbours) + 1, centre).squared_distances
    norms = torch.cat([(rows.double() - centre).square().sum(1) for rows in points.split(1024)])
    # The same distance, computed in two places, may round differently, and then an example that lies exactly on the
    # surface (a copy of a real one, or data on a grid) would fall out of the ball. A point in the ball has at most the
    # squared norm 2 (norm + radius), so this slack covers the rounding error of both.
    slack = 16 * points.shape[1] * torch.finfo(torch.float64).eps
    return [radii + slack * (norms + radii) for radii in (found[:, k] for k in neighbours)]
