"""Mixtures of normals and of Bernoulli vectors, to be fitted by expectation-maximization (EM) or by gradients."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from genlab.core.noise import normal, uniform
from genlab.networks.mixture.box_probability import factor_log_weights, ghk_log_weights
from genlab.networks.mixture.conditioning import conditional_shift, marginal_log_density

__all__ = [
    "BernoulliMixture",
    "DiagonalGaussianMixture",
    "FullGaussianMixture",
    "LowRankGaussianMixture",
    "Mixture",
]

_LOG_2PI = math.log(2 * math.pi)
# Smallest scale of a dimension, relative to the overall standard deviation. A larger one would blur dimensions whose
# unit makes their numbers small beside those of others.
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
            its own scale, but at least a thousandth of the overall one: otherwise the density of a nearly constant
            dimension would grow without bound.
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
        self.unit.copy_((overall if self._common_scale else variance.clamp_min(_MIN_UNIT**2 * overall)).sqrt())

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


class _CorrelatedGaussianMixture(DiagonalGaussianMixture):
    """What the mixtures of normals share whose dimensions are not independent."""

    @property
    def covariance(self) -> Tensor:
        """Of the components, ``[K, D, D]``, float64, in units of standardized data."""
        raise NotImplementedError

    def partial_log_prob(self, x: Tensor, there: Tensor) -> Tensor:
        units = self.unit.double().log().expand_as(x).where(there, 0).sum(1)
        return marginal_log_density(self._deviations(x), self.covariance, there) - units[:, None]

    def draw_given(self, chosen: Tensor, x: Tensor, kept: Tensor, generator: Generator | None) -> Tensor:
        drawn = self.draw(chosen, generator)
        return drawn + self.unit * conditional_shift((x - drawn) / self.unit, chosen, self.covariance, kept)


class LowRankGaussianMixture(_CorrelatedGaussianMixture):
    """A mixture of factor analyzers: normals with covariance W W^T plus a diagonal.

    Ghahramani and Hinton (1996), "The EM algorithm for mixtures of factor analyzers".

    Args:
        components: K.
        num_dims: D.
        min_scale: Smallest standard deviation of the diagonal part, in units of the data's.
        common_scale: As for :class:`DiagonalGaussianMixture`.
        rank: Columns of W, R.
    """

    def __init__(self, components: int, num_dims: int, *, min_scale: float, common_scale: bool, rank: int) -> None:
        super().__init__(components, num_dims, min_scale=min_scale, common_scale=common_scale)
        self.factors = nn.Parameter(0.1 * torch.randn(components, num_dims, rank))

    @property
    def covariance(self) -> Tensor:
        factors = self.factors.double()
        return factors @ factors.mT + torch.diag_embed(self.scale.double().square())

    def maximize(self, features: Tensor, responsibilities: Tensor, prior: float) -> None:
        count = self._maximize_means(features, responsibilities, prior)
        # Ghahramani and Hinton (1996), section 3, one component at a time to save memory.
        posterior, _ = self._posterior()
        rank = self.factors.shape[-1]
        scale = torch.empty_like(self.mean)
        for k, beta in enumerate(posterior.detach()):
            mean, weight = self.mean.data[k], responsibilities[:, k, None]
            centred = features - mean
            covered = centred.T @ (weight * (centred @ beta.T)) + prior * (beta.T + torch.outer(mean, beta @ mean))
            covered /= count[k]
            second = torch.eye(rank).to(mean) - beta @ self.factors.data[k] + beta @ covered
            self.factors.data[k] = torch.linalg.solve(second, covered.T).T
            variance = ((weight * centred.square()).sum(0) + prior * (1 + mean**2)) / count[k]
            rest = variance - (self.factors.data[k] * covered).sum(-1)
            scale[k] = (rest.clamp_min(0) + self.min_scale**2).sqrt()
        self._set_scale(scale)

    def draw(self, chosen: Tensor, generator: Generator | None) -> Tensor:
        code = self._noise(len(chosen), self.factors.shape[-1], generator)
        shift = torch.einsum("ndr,nr->nd", self.factors[chosen], code)
        return super().draw(chosen, generator) + self.unit * shift

    def box_log_weights(self, low: Tensor, high: Tensor, num_draws: int, generator: Generator | None) -> Tensor:
        """Log importance weights ``[S, N, K]`` of the probability of each box under each component.

        Args:
            low: Lower ends ``[N, D]``, ``-inf`` allowed.
            high: Upper ends ``[N, D]``, ``inf`` allowed.
            num_draws: S.
            generator: Source of the noise.

        Returns:
            Float64, without gradient; see :func:`genlab.networks.mixture.box_probability.factor_log_weights`.
        """
        ends = self._deviations(low), self._deviations(high)
        return factor_log_weights(*ends, self.factors, self.scale, num_draws, generator)

    def _posterior(self) -> tuple[Tensor, Tensor]:
        """Return the map ``[K, R, D]`` from deviation to code, and the Cholesky factor of the codes' precision."""
        weighted = self.factors.mT / self.scale.square()[:, None]
        eye = torch.eye(self.factors.shape[-1], dtype=weighted.dtype, device=weighted.device)
        cholesky = torch.linalg.cholesky(eye + weighted @ self.factors)
        return torch.cholesky_solve(weighted, cholesky), cholesky

    def _log_density(self, z: Tensor) -> Tensor:
        posterior, cholesky = self._posterior()
        deviation = z[:, None] - self.mean
        code = torch.einsum("krd,nkd->nkr", posterior, deviation)
        # A sum of squares: the usual form, by the Woodbury identity, is a difference of two large numbers, which
        # loses the digits of float32.
        rest = (deviation - torch.einsum("kdr,nkr->nkd", self.factors, code)) / self.scale
        distance = rest.square().sum(-1) + code.square().sum(-1)
        log_det = self.scale.log().sum(-1) + cholesky.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return self._normal(distance, log_det)

    def _precision_trace(self) -> Tensor:
        posterior, _ = self._posterior()
        explained = (posterior * self.factors.mT).sum(-2)
        return ((1 - explained) / self.scale.square()).sum(-1)


class FullGaussianMixture(_CorrelatedGaussianMixture):
    """A mixture of normals with full covariance.

    Each dimension is regressed on those before it: the modified Cholesky decomposition of Pourahmadi (1999), "Joint
    mean-covariance models", whose parameters have no constraints. ``scale`` is that of the residuals.

    Args:
        components: K.
        num_dims: D.
        min_scale: Smallest standard deviation of a dimension given those before it, in units of the data's.
        common_scale: As for :class:`DiagonalGaussianMixture`.
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, components: int, num_dims: int, *, min_scale: float, common_scale: bool) -> None:
        super().__init__(components, num_dims, min_scale=min_scale, common_scale=common_scale)
        rows, columns = torch.tril_indices(num_dims, num_dims, offset=-1)
        self.regression = nn.Parameter(torch.zeros(components, len(rows)))
        """The entries below the diagonal of the unit lower triangular matrix ``[K, D, D]``, row by row."""
        self.register_buffer("rows", rows, persistent=False)
        self.register_buffer("columns", columns, persistent=False)

    @property
    def whitening(self) -> Tensor:
        """The lower triangular ``[K, D, D]`` that maps deviations to standard normals."""
        return self._unit_lower / self.scale[..., None]

    @property
    def covariance(self) -> Tensor:
        whitening = self.whitening.double()
        eye = torch.eye(self.num_dims, dtype=whitening.dtype, device=whitening.device).expand_as(whitening)
        root = torch.linalg.solve_triangular(whitening, eye, upper=False)
        return root @ root.mT

    def box_log_weights(self, low: Tensor, high: Tensor, num_draws: int, generator: Generator | None) -> Tensor:
        """As for :class:`LowRankGaussianMixture`; see :mod:`genlab.networks.mixture.box_probability`."""
        ends = self._deviations(low), self._deviations(high)
        return ghk_log_weights(*ends, self._unit_lower, self.scale, num_draws, generator)

    def maximize(self, features: Tensor, responsibilities: Tensor, prior: float) -> None:
        count = self._maximize_means(features, responsibilities, prior)
        scale = torch.empty_like(self.mean)
        eye = torch.eye(self.num_dims).to(scale)
        for k, mean in enumerate(self.mean.data):
            centred = features - mean
            covariance = (responsibilities[:, k, None] * centred).T @ centred + prior * (eye + torch.outer(mean, mean))
            cholesky = torch.linalg.cholesky(covariance / count[k] + self.min_scale**2 * eye)
            scale[k] = cholesky.diagonal()
            unit_lower = scale[k, :, None] * torch.linalg.solve_triangular(cholesky, eye, upper=False)
            self.regression.data[k] = unit_lower[self.rows, self.columns]
        self._set_scale(scale)

    def draw(self, chosen: Tensor, generator: Generator | None) -> Tensor:
        noise = self._noise(len(chosen), self.num_dims, generator)
        z, whitening = torch.empty_like(noise), self.whitening
        for k in chosen.unique():
            rows = chosen == k
            z[rows] = self.mean[k] + torch.linalg.solve_triangular(whitening[k], noise[rows].T, upper=False).T
        return self.location + self.unit * z

    @property
    def _unit_lower(self) -> Tensor:
        matrix = torch.diag_embed(torch.ones_like(self.mean))
        matrix[:, self.rows, self.columns] = self.regression
        return matrix

    def _log_density(self, z: Tensor) -> Tensor:
        white = torch.einsum("kij,nkj->nki", self.whitening, z[:, None] - self.mean)
        return self._normal(white.square().sum(-1), self.scale.log().sum(-1))

    def _precision_trace(self) -> Tensor:
        return self.whitening.square().sum((-2, -1))
