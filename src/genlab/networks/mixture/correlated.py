"""Mixtures of normals whose dimensions depend on each other: factor analyzers, and full covariances."""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn

from genlab.networks.mixture.box_probability import factor_log_weights, ghk_log_weights
from genlab.networks.mixture.conditioning import conditional_shift, marginal_log_density
from genlab.networks.mixture.mixtures import DiagonalGaussianMixture

__all__ = ["FullGaussianMixture", "LowRankGaussianMixture"]


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
