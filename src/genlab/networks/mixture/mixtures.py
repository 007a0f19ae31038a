"""Mixtures of Bernoulli vectors and of independent normals, to be fitted by expectation-maximization (EM) or by
gradients."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from genlab.core.codec import CONSTANT
from genlab.core.noise import normal, uniform

__all__ = [
    "BernoulliMixture",
    "DiagonalGaussianMixture",
    "Mixture",
]

_LOG_2PI = math.log(2 * math.pi)
# Smallest scale of a dimension that is constant but for rounding, relative to the overall standard deviation. Any other
# has its own, whatever its unit.
_MIN_UNIT = 1e-3


class Mixture(nn.Module):
    """A weighted sum of K distributions over vectors of length D.

    Pseudo-examples, which are spread like the data as a whole, keep each component from collapsing onto a few examples:
    see :meth:`prior_log_prob`.

    Args:
        components: K.
        num_dims: D.
    """

    em_dtype: torch.dtype = torch.float64
    """Precision in which EM runs."""

    def __init__(self, components: int, num_dims: int) -> None:
        super().__init__()
        self.num_dims = num_dims
        self.logits = nn.Parameter(torch.zeros(components))

    @property
    def components(self) -> int:
        """Number of components, K."""
        return len(self.logits)

    @property
    def em_row_elements(self) -> int:
        """How many numbers :meth:`em_log_prob` holds in memory per example, which limits the size of a batch."""
        return self.components

    def log_prob(self, x: Tensor, there: Tensor | None = None) -> Tensor:
        """Log-probability or log-density ``[N]``, nats, of ``x [N, D]``, or of its values ``there [N, D]`` alone."""
        of_components = self.component_log_prob(x) if there is None else self.partial_log_prob(x, there)
        return torch.logsumexp(F.log_softmax(self.logits, 0) + of_components, 1)

    def log_prior(self) -> Tensor:
        """Log-likelihood of one pseudo-example for each component, nats, a scalar."""
        return (F.log_softmax(self.logits, 0) + self.prior_log_prob()).sum()

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        """Draw ``[n, D]``; the generator lies on the mixture's device."""
        # By inversion. Without the last sum, which rounding may leave below 1, no index can exceed the last.
        cumulative = self.logits.softmax(0).cumsum(0)[:-1]
        u = uniform((n,), generator, cumulative.device, cumulative.dtype)
        chosen = torch.searchsorted(cumulative, u, right=True)
        return self.draw(chosen, generator)

    def complete(self, x: Tensor, kept: Tensor, generator: Generator | None = None) -> Tensor:
        """Keep the values of ``x [N, D]`` that are ``kept [N, D]`` and draw the others given them.

        A component is drawn by its probability given what is kept, and the others from it. What stands where nothing is
        kept must be a value like any other.
        """
        log_joint = F.log_softmax(self.logits, 0) + self.partial_log_prob(x, kept)
        cumulative = log_joint.double().softmax(1).cumsum(1)[:, :-1]
        u = uniform((len(x),), generator, cumulative.device, cumulative.dtype)
        drawn = self.draw_given((cumulative <= u[:, None]).sum(1), x, kept, generator)
        return torch.where(kept, x, drawn.to(x.dtype))

    def draw_given(self, chosen: Tensor, x: Tensor, kept: Tensor, generator: Generator | None) -> Tensor:
        """Draw ``[N, D]`` from components ``[N]`` given what is kept of ``x``; independent dimensions: as ever."""
        return self.draw(chosen, generator)

    def calibrate(self, x: Tensor) -> None:
        """Set the constants that depend on the data ``[N, D]``; called once, before all other methods."""
        raise NotImplementedError

    def component_log_prob(self, x: Tensor) -> Tensor:
        """Log-probability or log-density of ``x [N, D]`` under each component, ``[N, K]``, nats."""
        raise NotImplementedError

    def partial_log_prob(self, x: Tensor, there: Tensor) -> Tensor:
        """As :meth:`component_log_prob`, of the values alone that are ``there [N, D]``; of independent dimensions."""
        raise NotImplementedError(f"{type(self).__name__} has no marginals.")

    def standardize(self, x: Tensor) -> Tensor:
        """Map ``x [N, D]`` to floats on one scale, so that Euclidean distances between them make sense."""
        raise NotImplementedError

    def em_features(self, x: Tensor) -> Tensor:
        """Return what both steps of EM use of ``x [N, D]``: ``[N, F]``, float."""
        return self.standardize(x)

    def em_log_prob(self, features: Tensor) -> Tensor:
        """Return :meth:`component_log_prob` of features ``[N, F]``, up to a constant; a cheap approximation will do."""
        raise NotImplementedError

    def maximize(self, features: Tensor, responsibilities: Tensor, prior: float) -> None:
        """Set the components to the maximum of their weighted log-likelihood plus ``prior`` times :meth:`log_prior`.

        Args:
            features: ``[N, F]`` of :meth:`em_features`.
            responsibilities: Probability of each component for each example, ``[N, K]``.
            prior: Number of pseudo-examples for each component.
        """
        raise NotImplementedError

    def prior_log_prob(self) -> Tensor:
        """Expected log-likelihood of a pseudo-example under each component, ``[K]``, nats."""
        raise NotImplementedError

    def draw(self, chosen: Tensor, generator: Generator | None) -> Tensor:
        """Draw ``[n, D]``, one example from each of the components ``chosen [n]``."""
        raise NotImplementedError

    def set_weights(self, responsibilities: Tensor, prior: float) -> None:
        """Set the weights of the components to the maximum of the objective of :meth:`maximize`."""
        self.logits.data = (responsibilities.sum(0) + prior).log().log_softmax(0)

    def _noise(self, n: int, size: int, generator: Generator | None) -> Tensor:
        like = self.logits
        return normal((n, size), generator, like.device, like.dtype)


class BernoulliMixture(Mixture):
    """A mixture of independent binary dimensions.

    In a pseudo-example the value of each dimension is its average over the data.

    Args:
        components: K.
        num_dims: D.
    """

    em_dtype = torch.float32
    average: Tensor

    def __init__(self, components: int, num_dims: int) -> None:
        super().__init__(components, num_dims)
        self.ones = nn.Parameter(torch.zeros(components, num_dims))
        """Logits of a one, ``[K, D]``."""
        self.register_buffer("average", torch.full((num_dims,), 0.5))

    def calibrate(self, x: Tensor) -> None:
        # As if one more 0 and one more 1 had been seen, so that no average is 0 or 1.
        self.average.copy_((x.to(self.average.dtype).sum(0) + 1) / (len(x) + 2))

    def component_log_prob(self, x: Tensor) -> Tensor:
        return self.standardize(x) @ self.ones.T + F.logsigmoid(-self.ones).sum(1)

    def partial_log_prob(self, x: Tensor, there: Tensor) -> Tensor:
        weights = there.to(self.ones.dtype)
        return (self.standardize(x) * weights) @ self.ones.T + weights @ F.logsigmoid(-self.ones).T

    def standardize(self, x: Tensor) -> Tensor:
        return x.to(self.ones.dtype)

    def em_log_prob(self, features: Tensor) -> Tensor:
        return self.component_log_prob(features)

    def maximize(self, features: Tensor, responsibilities: Tensor, prior: float) -> None:
        ones = responsibilities.T @ features + prior * self.average
        count = responsibilities.sum(0)[:, None] + prior
        self.ones.data = ones.log() - (count - ones).clamp_min(prior * (1 - self.average.max())).log()

    def prior_log_prob(self) -> Tensor:
        return (self.average * self.ones).sum(1) + F.logsigmoid(-self.ones).sum(1)

    def draw(self, chosen: Tensor, generator: Generator | None) -> Tensor:
        p = self.ones[chosen].sigmoid()
        return (uniform(p.shape, generator, p.device) < p).long()


class DiagonalGaussianMixture(Mixture):
    """A mixture of normals with diagonal covariance, and the base of the other mixtures of normals.

    Means and scales are in units of standardized data, where pseudo-examples have mean 0 and variance 1.

    Args:
        components: K.
        num_dims: D.
        min_scale: Smallest standard deviation, in units of the data's.
        common_scale: Whether one scale standardizes all dimensions. True suits dimensions of the same unit, such as
            pixels: one that is constant in the training data may still vary in other data. False gives each dimension
            its own scale, so that the likelihood does not depend on units; one that is constant but for rounding gets
            at least a thousandth of the overall one, as otherwise its density would grow without bound.
    """

    location: Tensor
    unit: Tensor

    def __init__(self, components: int, num_dims: int, *, min_scale: float, common_scale: bool) -> None:
        super().__init__(components, num_dims)
        self.min_scale = min_scale
        self._common_scale = common_scale
        self.mean = nn.Parameter(torch.zeros(components, num_dims))
        self.log_scale = nn.Parameter(torch.zeros(components, num_dims))
        """Logarithm of ``scale - min_scale``, ``[K, D]``."""
        self.register_buffer("location", torch.zeros(num_dims))
        self.register_buffer("unit", torch.ones(num_dims))

    @property
    def scale(self) -> Tensor:
        """Standard deviations in units of standardized data, ``[K, D]``."""
        return self.min_scale + self.log_scale.exp()

    @property
    def em_row_elements(self) -> int:
        return self.components * self.num_dims

    def calibrate(self, x: Tensor) -> None:
        variance, mean = torch.var_mean(x.double(), 0, correction=0)
        overall = variance.mean() if variance.any() else torch.ones_like(variance[0])
        self.location.copy_(mean)
        if not self._common_scale:
            varies = variance.sqrt() > CONSTANT * x.double().abs().amax(0)
            overall = torch.where(varies, variance, variance.clamp_min(_MIN_UNIT**2 * overall))
        self.unit.copy_(overall.sqrt())

    def standardize(self, x: Tensor) -> Tensor:
        return (x.to(self.mean.dtype) - self.location) / self.unit

    def component_log_prob(self, x: Tensor) -> Tensor:
        return self._log_density(self.standardize(x)) - self.unit.log().sum()

    def partial_log_prob(self, x: Tensor, there: Tensor) -> Tensor:
        deviation = (self.standardize(x)[:, None] - self.mean) / self.scale
        each = -0.5 * (deviation.square() + _LOG_2PI) - (self.scale * self.unit).log()
        return each.where(there[:, None], 0).sum(2)

    def em_log_prob(self, features: Tensor) -> Tensor:
        return self._log_density(features)

    def maximize(self, features: Tensor, responsibilities: Tensor, prior: float) -> None:
        count = self._maximize_means(features, responsibilities, prior)
        mean, total = self.mean.data, responsibilities.T @ features
        # A difference of large sums, which is precise enough: standardized data is of order one, EM runs in float64.
        squares = responsibilities.T @ features.square() - 2 * mean * total + responsibilities.sum(0)[:, None] * mean**2
        variance = (squares.clamp_min(0) + prior * (1 + mean**2)) / count
        self._set_scale((variance + self.min_scale**2).sqrt())

    def prior_log_prob(self) -> Tensor:
        return self._log_density(torch.zeros_like(self.mean[:1]))[0] - 0.5 * self._precision_trace()

    def draw(self, chosen: Tensor, generator: Generator | None) -> Tensor:
        noise = self._noise(len(chosen), self.num_dims, generator)
        return self.location + self.unit * (self.mean[chosen] + self.scale[chosen] * noise)

    def _deviations(self, x: Tensor) -> Tensor:
        """Deviations of ``x [N, D]`` from the means, standardized, float64: ``[N, K, D]``."""
        return ((x.double() - self.location) / self.unit)[:, None] - self.mean

    def _log_density(self, z: Tensor) -> Tensor:
        deviation = (z[:, None] - self.mean) / self.scale
        return self._normal(deviation.square().sum(-1), self.scale.log().sum(-1))

    def _precision_trace(self) -> Tensor:
        return self.scale.pow(-2).sum(-1)

    def _normal(self, distance: Tensor, log_det: Tensor) -> Tensor:
        return -0.5 * (distance + self.num_dims * _LOG_2PI) - log_det

    def _maximize_means(self, features: Tensor, responsibilities: Tensor, prior: float) -> Tensor:
        count = responsibilities.sum(0)[:, None] + prior
        self.mean.data = responsibilities.T @ features / count
        return count

    def _set_scale(self, scale: Tensor) -> None:
        # Where the scale is the smallest one, the logarithm of the excess 0 does not exist: a thousandth replaces it.
        self.log_scale.data = (scale - self.min_scale).clamp_min(1e-3 * self.min_scale).log()
