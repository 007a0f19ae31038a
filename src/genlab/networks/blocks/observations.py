"""Distributions over the data's own values, from the parameters that a network predicts for each dimension.

Every dimension is independent of the others given its parameters. All figures are float32 or better, whatever the
precision of the parameters.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from genlab.core.errors import GenlabError
from genlab.core.noise import normal, uniform
from genlab.core.spec import DataSpec
from genlab.modalities import modality_of

__all__ = [
    "Bernoulli",
    "Categorical",
    "Gaussian",
    "LogisticMixture",
    "ObservationModel",
    "ObservationName",
    "choose",
    "discretized_logistic_log_mass",
    "observation_model",
    "precise",
    "soft_floor",
]

ObservationName = Literal["auto", "bernoulli", "categorical", "logistic_mixture", "gaussian"]

MAX_CATEGORIES = 64
"""Most levels for which ``auto`` predicts a probability for each."""

_LEAST_U = 2.0**-25
"""Uniform numbers are multiples of 2^-24, and the logistic quantile of 0 is infinite."""


class ObservationModel(ABC):
    """A distribution over the values of each dimension.

    Attributes:
        name: What ``observation_model`` calls it.
        num_params: Parameters per dimension. All zero, they are a sensible start.
        num_noises: Numbers of noise that a draw of one dimension takes.
    """

    name: str
    num_params: int
    num_noises: int = 1

    def at(self, dim: int) -> ObservationModel:
        """Return the distribution of one dimension alone, where they are not all alike."""
        return self

    @abstractmethod
    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        """Log-probability of each dimension, nats; a log-density for continuous data.

        Args:
            x: ``[N, ...]`` in the data's own values.
            params: ``[N, num_params, ...]``.

        Returns:
            ``[N, ...]``, float32 or better.
        """

    def sample(self, params: Tensor, generator: Generator | None = None) -> Tensor:
        """Draw ``[N, ...]`` in the data's own values, int64 or float32, given ``params [N, num_params, ...]``.

        The noise comes from ``generator``, which lies on the device of ``params``.
        """
        return self.transform(params, self.noise((len(params), *params.shape[2:]), generator, params.device))

    def noise(self, shape: tuple[int, ...], generator: Generator | None, device: torch.device) -> Tensor:
        """Draw what :meth:`transform` makes values ``shape`` of: ``[*shape, num_noises]``."""
        return uniform((*shape, self.num_noises), generator, device)

    @abstractmethod
    def transform(self, params: Tensor, noise: Tensor) -> Tensor:
        """Turn noise into values ``[N, ...]``, as a function without chance; see :meth:`sample`."""

    @abstractmethod
    def mean(self, params: Tensor) -> Tensor:
        """Expected value ``[N, ...]`` in the data's own units, float32 or better, given ``[N, num_params, ...]``."""


def precise(params: Tensor) -> Tensor:
    """Return parameters in float32 or better."""
    return params.float() if params.dtype in (torch.bfloat16, torch.float16) else params


def choose(probabilities: Tensor, u: Tensor) -> Tensor:
    """Turn uniform numbers ``[N, ...]`` into indices along dimension 1, by inversion."""
    cumulative = probabilities.cumsum(1)
    # In units of the last sum, which rounding may leave below 1: what has no probability is never chosen.
    return (cumulative[:, :-1] <= u[:, None] * cumulative[:, -1:]).sum(1)


def soft_floor(x: Tensor, low: float) -> Tensor:
    """Keep above ``low`` smoothly: unlike a clamp it leaves a gradient that leads back."""
    return low + F.softplus(x - low)


class Bernoulli(ObservationModel):
    """Two levels; the parameter is the logit of level 1."""

    name = "bernoulli"
    num_params = 1

    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        logits = precise(params[:, 0])
        return F.logsigmoid(torch.where(x > 0, logits, -logits))

    def transform(self, params: Tensor, noise: Tensor) -> Tensor:
        return (noise[..., 0] < self.mean(params)).long()

    def mean(self, params: Tensor) -> Tensor:
        return torch.sigmoid(precise(params[:, 0]))


class Categorical(ObservationModel):
    """Any levels; the parameters are the logits of all of them.

    Args:
        levels: Number of values per dimension.
    """

    name = "categorical"

    def __init__(self, levels: int) -> None:
        self.num_params = levels

    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        # The levels last, as networks leave them in memory: half the time of normalizing along dimension 1.
        log_probabilities = precise(params.movedim(1, -1)).log_softmax(-1)
        return log_probabilities.gather(-1, x.long()[..., None])[..., 0]

    def transform(self, params: Tensor, noise: Tensor) -> Tensor:
        return choose(precise(params).softmax(1), noise[..., 0])

    def mean(self, params: Tensor) -> Tensor:
        probabilities = precise(params).softmax(1)
        values = torch.arange(self.num_params, device=params.device, dtype=probabilities.dtype)
        return torch.einsum("nk...,k->n...", probabilities, values)


def discretized_logistic_log_mass(x: Tensor, mean: Tensor, log_scale: Tensor, levels: int) -> Tensor:
    """Log-mass of a logistic distribution over the bin of each level, the outer bins reaching to infinity.

    Salimans et al. (2017), "PixelCNN++", equation 2. With a and b the standardized edges of a bin,
    sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a)), and each factor has a stable logarithm.

    Args:
        x: Integers in ``[0, levels)``; broadcasts with the parameters.
        mean: Means, in levels: the bin of level x is ``[x - 1/2, x + 1/2]``.
        log_scale: Logarithms of the scales, in levels; finite values within -20 and 15.
        levels: Number of values per dimension.

    Returns:
        Nats, in the broadcast shape.
    """
    # In units of levels neighbouring bins compute their common edge to the same bits, so masses add up to one.
    inverse_scale = torch.exp(-log_scale)
    below = F.logsigmoid((x + 0.5 - mean) * inverse_scale)
    above = F.logsigmoid((mean - (x - 0.5)) * inverse_scale)
    inner = below + above + torch.log(-torch.expm1(-inverse_scale))
    edge = torch.where(x == 0, below, above)
    return torch.where((x > 0) & (x < levels - 1), inner, edge)


class LogisticMixture(ObservationModel):
    """Mixture of logistic distributions, each rounded to the levels; for many ordered levels.

    Salimans et al. (2017), "PixelCNN++", section 2.1. The parameters are the weights' logits, the means and the
    log-scales of the components, in units of half the range of levels. Zero parameters spread the components evenly.

    Args:
        levels: Number of values per dimension.
        components: Number of logistics.
    """

    name = "logistic_mixture"
    num_noises = 2

    def __init__(self, levels: int, components: int) -> None:
        self.levels = levels
        self.components = components
        self.num_params = 3 * components

    def split(self, params: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return log-weights, means and log-scales, in levels, each ``[N, components, ...]``."""
        logits, means, log_scales = precise(params).chunk(3, dim=1)
        half_range = (self.levels - 1) / 2
        starts = (2 * torch.arange(self.components, device=params.device) + 1) / self.components
        starts = starts.to(means.dtype).view(-1, *[1] * (means.ndim - 2))
        log_scales = log_scales + math.log(half_range / self.components)
        # A scale of e^-5 levels puts all mass into one bin; beyond e^15 the levels no longer differ in float32.
        return logits.log_softmax(1), (means + starts) * half_range, soft_floor(log_scales, -5.0).clamp(max=15.0)

    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        log_weights, means, log_scales = self.split(params)
        log_masses = discretized_logistic_log_mass(x[:, None].to(means.dtype), means, log_scales, self.levels)
        return torch.logsumexp(log_weights + log_masses, dim=1)

    def transform(self, params: Tensor, noise: Tensor) -> Tensor:
        log_weights, means, log_scales = self.split(params)
        chosen = choose(log_weights.exp(), noise[..., 0])[:, None]
        mean, log_scale = means.gather(1, chosen)[:, 0], log_scales.gather(1, chosen)[:, 0]
        standard_logistic = torch.logit(noise[..., 1].to(mean.dtype).clamp_min(_LEAST_U))
        return (mean + log_scale.exp() * standard_logistic).round().clamp(0, self.levels - 1).long()

    def mean(self, params: Tensor) -> Tensor:
        log_weights, means, log_scales = self.split(params)
        # E[x] is the sum over thresholds t of P(x > t); one threshold at a time keeps the memory of one.
        exceeded = torch.zeros_like(means)
        for threshold in range(self.levels - 1):
            exceeded += torch.sigmoid((means - (threshold + 0.5)) * (-log_scales).exp())
        return (log_weights.exp() * exceeded).sum(1)


class Gaussian(ObservationModel):
    """Continuous values; the parameters are the mean and the log of the standard deviation, kept above e^-7."""

    name = "gaussian"
    num_params = 2

    def _split(self, params: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_scale = precise(params).unbind(1)
        return mean, soft_floor(log_scale, -7.0)

    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        mean, log_scale = self._split(params)
        return -0.5 * ((x - mean) * (-log_scale).exp()).square() - log_scale - 0.5 * math.log(2 * math.pi)

    def noise(self, shape: tuple[int, ...], generator: Generator | None, device: torch.device) -> Tensor:
        return normal((*shape, self.num_noises), generator, device)

    def transform(self, params: Tensor, noise: Tensor) -> Tensor:
        mean, log_scale = self._split(params)
        return (mean + log_scale.exp() * noise[..., 0]).float()

    def mean(self, params: Tensor) -> Tensor:
        return self._split(params)[0]


def observation_model(name: ObservationName, spec: DataSpec, components: int = 10) -> ObservationModel:
    """Make the distribution of a name for the data of ``spec``.

    Args:
        name: ``bernoulli`` (2 levels), ``categorical``, ``logistic_mixture`` (discrete data), ``gaussian``
            (continuous data), or ``auto``: Bernoulli for 2 levels, categorical up to 64, a mixture of logistics
            above, Gaussian for continuous data.
        spec: What one example is.
        components: Logistics of ``logistic_mixture``, at least 1.

    Raises:
        GenlabError: If the distribution is not one over such data.
    """
    chosen = _suited(spec) if name == "auto" else name
    levels = spec.levels
    if (chosen == "gaussian") != (levels is None) or (chosen == "bernoulli" and levels != 2):
        values = "continuous" if levels is None else f"discrete with {levels} levels"
        raise GenlabError(
            f"The {chosen} distribution was asked for, but {spec.name} is {values}. Use observation={_suited(spec)}."
        )
    makers: dict[str, Callable[[int], ObservationModel]] = {
        "bernoulli": lambda _: Bernoulli(),
        "categorical": Categorical,
        "logistic_mixture": lambda count: LogisticMixture(count, components),
        "gaussian": lambda _: Gaussian(),
    }
    return makers[chosen](levels or 0)


def _suited(spec: DataSpec) -> str:
    if spec.levels is None:
        return "gaussian"
    # A mixture of logistics uses the order of levels, which symbols do not have.
    if not modality_of(spec).has_order:
        return "categorical"
    if spec.levels == 2:
        return "bernoulli"
    return "categorical" if spec.levels <= MAX_CATEGORIES else "logistic_mixture"
