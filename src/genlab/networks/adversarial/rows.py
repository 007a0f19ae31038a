"""Generator of rows of a mixed table."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genlab.core.codec import one_hot
from genlab.networks.blocks.rows import Rows

__all__ = ["RowGenerator"]

TEMPERATURE = 0.5
"""Of the soft categories through which gradients pass; Xu et al. (2019) draw theirs at 0.2."""


class RowGenerator(nn.Module):
    """Perceptron from noise to vectors of rows; after CTGAN, Xu et al. (2019).

    Numbers are its outputs as they are. Categories are drawn from probabilities, Gumbel-softmax, Jang et al. (2017),
    straight through: what comes out is one category, as in real rows, and its gradient that of a soft one. And of one
    column of categories, each row another at random, the category is given, drawn by its frequency in the training
    rows, and completed to a row by the network: a rare category is never forgotten. In the paper the discriminator is
    told what was given, and the generator is punished where it draws another; here what was given stands in the row, so
    that the discriminator sees rows alone, whose distribution is to be that of the data and not of a resampled one.

    Args:
        network: Perceptron from ``[N, inputs]`` to ``[N, rows.dims]``.
        rows: What the vectors are of; of the model, and no part of this module.
        latent_dims: Length of the noise that the network gets.
        num_classes: Labels that the network is given, one-hot after the noise, or 0.
    """

    frequencies: Tensor

    def __init__(self, network: nn.Module, rows: Rows, latent_dims: int, num_classes: int) -> None:
        super().__init__()
        self.network = network
        self.latent_dims, self.num_classes = latent_dims, num_classes
        self._rows = (rows,)
        start = torch.cat([torch.full((n,), 1 / n) for n in rows.levels]) if rows.levels else torch.zeros(0)
        self.register_buffer("frequencies", start.repeat(max(1, num_classes), 1))

    @staticmethod
    def noise_dims(rows: Rows, latent_dims: int) -> int:
        """Return the length of the noise: that of the network, a number for each category, and one for the given."""
        return latent_dims + rows.symbols + bool(rows.symbols)

    @staticmethod
    def inputs(rows: Rows, latent_dims: int) -> int:
        """Return how many inputs the network has, beside labels: its noise and what is given."""
        return latent_dims + rows.symbols

    @torch.no_grad()
    def fit(self, x: Tensor, y: Tensor | None) -> None:
        """Take the frequencies of the categories in rows ``[N, D]``, of each label by itself where labels are given."""
        rows = self._rows[0]
        for label in range(self.num_classes):
            of_label = x[y == label]
            if len(of_label):
                self.frequencies[label] = rows.frequencies(of_label)
        if not self.num_classes:
            self.frequencies[0] = rows.frequencies(x)

    def forward(self, z: Tensor) -> Tensor:
        """Map standard normal noise and labels ``[N, noise_dims + num_classes]`` to vectors ``[N, rows.dims]``."""
        rows = self._rows[0]
        if not rows.symbols:
            return self.network(z)
        sizes = [self.latent_dims, rows.symbols, 1, self.num_classes]
        latent, for_categories, for_given, labels = z.split(sizes, dim=1)
        given = self._given(for_given, labels)
        values = self.network(torch.cat([latent, given, labels], dim=1))
        numbers, logits = values.split([rows.num_numbers, rows.symbols], dim=1)
        # The negative logarithm of an exponential variable has Gumbel's distribution.
        gumbel = -torch.log(-torch.special.log_ndtr(for_categories))
        columns = zip(*map(rows.by_column, (logits + gumbel, given)), strict=True)
        return torch.cat([numbers, *(_drawn(scores, of_column) for scores, of_column in columns)], dim=1)

    def _given(self, noise: Tensor, labels: Tensor) -> Tensor:
        """Draw a column and, by its frequency, a category of it: one-hot ``[N, symbols]``."""
        up_to = (self.frequencies[labels.argmax(1)] if self.num_classes else self.frequencies).cumsum(1)
        total = up_to[:, -1:]  # the number of columns
        # Where rounding reaches the total, the last category that there is, and not one of frequency 0 after it.
        chosen = torch.minimum((up_to <= torch.special.ndtr(noise) * total).sum(1), (up_to < total).sum(1))
        return one_hot(chosen, up_to.shape[1], noise.dtype)


def _drawn(scores: Tensor, given: Tensor) -> Tensor:
    """Return 1 at the category and -1 elsewhere, ``[N, K]``: that which is given, or else that of the highest score."""
    soft = (scores / TEMPERATURE).softmax(1)
    hard = one_hot(scores.argmax(1), scores.shape[1], scores.dtype)
    drawn = hard + (soft - soft.detach())
    return 2 * torch.where(given.any(1, keepdim=True), given, drawn) - 1
