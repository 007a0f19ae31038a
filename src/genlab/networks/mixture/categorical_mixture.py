"""A mixture of products of categorical distributions."""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn

from genlab.core.codec import one_hot
from genlab.core.noise import uniform
from genlab.networks.mixture.mixtures import Mixture

__all__ = ["CategoricalMixture"]


class CategoricalMixture(Mixture):
    """A mixture of independent dimensions whose values have no order: latent class analysis.

    In a pseudo-example each dimension is spread over the values as it is in the data as a whole.

    Args:
        components: K.
        num_dims: D.
        levels: Number of values of a dimension, V.
    """

    em_dtype = torch.float32
    average: Tensor

    def __init__(self, components: int, num_dims: int, *, levels: int) -> None:
        super().__init__(components, num_dims)
        self.levels = levels
        self.values = nn.Parameter(torch.zeros(components, num_dims, levels))
        """Logits of each dimension's values, ``[K, D, V]``."""
        self.register_buffer("average", torch.full((num_dims, levels), 1 / levels))

    @property
    def em_row_elements(self) -> int:
        return self.components + self.num_dims * self.levels

    def calibrate(self, x: Tensor) -> None:
        # As if each value had been seen once more, so that no average is 0.
        self.average.copy_((self._one_hot(x).sum(0) + 1) / (len(x) + self.levels))

    def component_log_prob(self, x: Tensor) -> Tensor:
        return self._chosen(x).sum(2)

    def partial_log_prob(self, x: Tensor, there: Tensor) -> Tensor:
        return self._chosen(x).where(there[:, None], 0).sum(2)

    def standardize(self, x: Tensor) -> Tensor:
        return self._one_hot(x).flatten(1)

    def em_log_prob(self, features: Tensor) -> Tensor:
        return features @ self.values.log_softmax(2).flatten(1).T

    def maximize(self, features: Tensor, responsibilities: Tensor, prior: float) -> None:
        counts = (responsibilities.T @ features).view_as(self.values) + prior * self.average
        self.values.data = counts.log().log_softmax(2)

    def prior_log_prob(self) -> Tensor:
        return (self.average * self.values.log_softmax(2)).sum((1, 2))

    def draw(self, chosen: Tensor, generator: Generator | None) -> Tensor:
        # By inversion. Without the last sum, which rounding may leave below 1, no value can exceed the last.
        cumulative = self.values.softmax(2).cumsum(2)[..., :-1][chosen]
        u = uniform((len(chosen), self.num_dims), generator, cumulative.device, cumulative.dtype)
        return (cumulative <= u[..., None]).sum(2)

    def _chosen(self, x: Tensor) -> Tensor:
        """Log-probability of each value under each component, ``[N, K, D]``."""
        log_probabilities = self.values.log_softmax(2).permute(1, 2, 0)  # [D, V, K]
        return log_probabilities[torch.arange(self.num_dims, device=x.device), x.long()].transpose(1, 2)

    def _one_hot(self, x: Tensor) -> Tensor:
        return one_hot(x.long(), self.levels, self.values.dtype)
