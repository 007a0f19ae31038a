"""Points in the plane from known distributions, where a model's likelihood can be held against the truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Unpack, get_args

import numpy as np
import torch
from annotated_types import Ge, Le
from torch import Tensor

from genlab.core.batch import Batch
from genlab.core.errors import GenlabError, nearest
from genlab.core.spec import DataSpec
from genlab.data.base import GenlabDataModule, LoaderOptions, Split
from genlab.data.densities import DENSITIES

__all__ = ["Toy2D", "ToyName"]

ToyName = Literal["two_moons", "eight_gaussians", "checkerboard", "pinwheel", "two_spirals"]

_EVALUATION_SIZE = 10_000


class Toy2D(GenlabDataModule):
    """Points drawn from a distribution in the plane, float32 ``[N, 2]``; validation and test have 10,000 each.

    The points do not depend on ``seed``, which orders the training batches only. Labels are the components of the
    distribution (which moon, Gaussian, arm); the checkerboard has none. Nothing is read from ``root``.

    The other arguments are those of :class:`LoaderOptions`.

    Args:
        root: As for all data sets; not used.
        dataset: ``"two_moons"``, ``"eight_gaussians"``, ``"checkerboard"``, ``"pinwheel"`` or ``"two_spirals"``.
        train_size: Number of training points.

    Raises:
        GenlabError: If an argument is out of its range.
    """

    licence = "none: it is drawn from a formula"

    def __init__(
        self,
        root: str | Path = "data",
        *,
        dataset: ToyName = "two_moons",
        train_size: Annotated[int, Ge(1), Le(100_000_000)] = 50_000,
        **loader: Unpack[LoaderOptions],
    ) -> None:
        super().__init__(root, **loader)
        if dataset not in DENSITIES:
            raise GenlabError(
                f"data.dataset is '{dataset}', expected {', '.join(DENSITIES)}.{nearest(dataset, DENSITIES)}"
            )
        if train_size < 1:
            raise GenlabError(f"data.train_size is {train_size}, expected at least 1.")
        self.train_size = train_size
        self.density = DENSITIES[dataset]
        self.spec = DataSpec(f"toy2d_{dataset}", "vector", (2,), num_classes=self.density.num_classes)

    def load(self, split: Split) -> dict[Split, Batch]:
        size = self.train_size if split == "train" else _EVALUATION_SIZE
        # RandomState, because NumPy promises never to change its streams: the data must be the same everywhere.
        points, labels = self.density.sample(size, np.random.RandomState(get_args(Split).index(split)))
        y = None if labels is None else torch.from_numpy(labels).long()
        return {split: Batch(torch.from_numpy(points).float(), y)}

    def log_density(self, x: Tensor) -> Tensor:
        """Return the true log density in nats, ``[N]`` float64, at the points ``x`` ``[N, 2]``."""
        return self.density.log_density(x)

    def true_entropy(self) -> float:
        """Return the differential entropy of the distribution in nats, to an error below 1e-6.

        It is the least expected negative log-likelihood that a model can reach.
        """
        return self.density.entropy
