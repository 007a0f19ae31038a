"""What latent-variable models share: bounds of the likelihood, their weighting in training, data in and out."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from itertools import groupby
from typing import Annotated, Any, NamedTuple, Unpack

import torch
from annotated_types import Ge, Gt, Le
from torch import Generator, Tensor, nn

from genlab.core.batch import Batch
from genlab.core.codec import one_hot
from genlab.core.contract import Inpainting
from genlab.core.errors import GenlabError
from genlab.core.likelihood import active_units, bits_per_dim, importance_weighted, mean_bits_per_dim, sum_dims
from genlab.core.noise import normal, uniform
from genlab.core.spec import DataSpec
from genlab.core.tails import Tails
from genlab.core.words import counted
from genlab.modalities import modality_of
from genlab.models.base import GenerativeModel
from genlab.models.filling_in import FillsIn, Given
from genlab.models.options import TrainingOptions, Width
from genlab.networks.blocks.columns import Columns
from genlab.networks.blocks.lengths import Lengths
from genlab.networks.blocks.mixed_observation import observation_of
from genlab.networks.blocks.observations import ObservationModel, ObservationName
from genlab.networks.flow.invertible import ActNorm, data_dependent_init

__all__ = ["Draws", "LatentModel", "LatentOptions", "ObjectiveConfig", "Observed"]

CHUNK_VALUES = 2**20
"""Predicted parameters that importance sampling holds at a time; bounds its memory whatever the number of draws."""


ROUNDS = 100
"""Steps of the chain by which values are filled in, unless said otherwise."""


@dataclass(frozen=True)
class ObjectiveConfig:
    """What training maximizes; what is reported and evaluated never depends on it.

    With one draw, the ELBO with its divergence times ``beta``: Higgins et al. (2017), equation 4. With several, the
    importance-weighted bound: Burda et al. (2016), equation 8, the latents' part of each log-weight times ``beta``.

    Args:
        draws: Posterior samples per example.
        beta: Weight of the divergence; 1 is the ELBO.
        free_bits: Nats per latent dimension below which its divergence, averaged over the batch, costs nothing;
            one draw only. Kingma et al. (2016), appendix C.8. Pooled where the prior gives no divergence for each.
        kl_warmup: Fraction of the budget over which ``beta`` rises from 0; Sønderby et al. (2016), section 3.2.
    """

    draws: Annotated[int, Ge(1), Le(10_000)]
    beta: Annotated[float, Gt(0)]
    free_bits: Annotated[float, Ge(0)]
    kl_warmup: Annotated[float, Ge(0), Le(1)]

    def weight(self, fraction: float | Tensor) -> float | Tensor:
        """Return the divergence's weight when this fraction of the budget is spent."""
        if self.kl_warmup == 0:
            return self.beta
        risen = fraction / self.kl_warmup
        return self.beta * (risen.clamp(max=1) if isinstance(risen, Tensor) else min(1.0, risen))

    def nats(self, draws: Draws, fraction: float | Tensor) -> Tensor:
        """Return the scalar to minimize, nats per example."""
        weight = self.weight(fraction)
        if self.draws > 1:
            return -importance_weighted(draws.log_likelihood + weight * draws.log_ratio).mean()
        divergence = draws.kl.mean(0)
        if self.free_bits > 0:
            dims = [divergence.new_full((len(list(group)),), size) for size, group in groupby(draws.group_dims)]
            divergence = torch.maximum(divergence, self.free_bits * torch.cat(dims))
        return weight * divergence.sum() - draws.log_likelihood.mean()


@dataclass(frozen=True)
class Draws:
    """Posterior samples of a batch, judged.

    Attributes:
        log_likelihood: log p(x | z), nats ``[K, N]``.
        log_ratio: log p(z) - log q(z | x), nats ``[K, N]``.
        kl: Divergence of posterior from prior for each group of latents, nats ``[N, G]``, in closed form where there
            is one; its expectation is that of minus ``log_ratio``.
        group_dims: Latent dimensions of each group.
        places: The posterior's means ``[K N or N, Z]``, off the prior's where that varies.
        diagnostics: Scalars worth logging.
    """

    log_likelihood: Tensor
    log_ratio: Tensor
    kl: Tensor
    group_dims: list[int]
    places: Tensor
    diagnostics: dict[str, Tensor] = field(default_factory=dict)

    @property
    def log_weights(self) -> Tensor:
        """Importance weights log p(x, z) - log q(z | x), nats ``[K, N]``."""
        return self.log_likelihood + self.log_ratio


class Observed(NamedTuple):
    """What a decoder is judged by.

    Attributes:
        x: ``[N, *shape]``.
        mask: ``[N, *shape]``, bool, true where there is a value; None: all is there.
    """

    x: Tensor
    mask: Tensor | None = None

    def repeated(self, draws: int) -> Observed:
        """Return the same examples for each of several draws, ``[draws N, *shape]``."""
        return Observed(*(None if t is None else t.expand(draws, *t.shape).flatten(0, 1) for t in self))

    def total(self, log_prob: Tensor, draws: int) -> Tensor:
        """Add up the log-probabilities ``[draws N, *shape]`` of what is there: ``[draws, N]``."""
        return sum_dims(log_prob, self.mask).view(draws, -1)


class LatentOptions(TrainingOptions):
    """The options of every family with latents.

    Attributes:
        observation: Distribution of the data given latents; see
            :func:`genlab.networks.blocks.observations.observation_model`.
        components: Logistics of ``observation=logistic_mixture``, and of a table's numbers.
        objective: What training maximizes.
    """

    observation: ObservationName
    components: Width
    objective: ObjectiveConfig


class LatentModel(FillsIn, GenerativeModel):
    """A model with latent variables z, a decoder p(x | z) and an approximate posterior q(z | x).

    A subclass implements the methods below and sets ``num_latents``. Continuous data is standardized on the way
    in, with the log-determinant in every figure; discrete data is scaled to [-1, 1] for the encoder alone, or one-hot
    where its levels are symbols without an order. Of a table, categories are one-hot for the encoder and numbers
    standardized; what decoders predict is of the table's own values. Of series the tails are brought nearer first, see
    :class:`genlab.core.tails.Tails`: else outliers drive codes and scales so far that training does not recover.

    Args:
        spec: What one example is.

    The other arguments are those of :class:`LatentOptions`.
    """

    uses = frozenset({"mask"})
    num_latents: int

    def __init__(
        self,
        spec: DataSpec,
        *,
        observation: ObservationName,
        components: Width,
        objective: ObjectiveConfig,
        **shared: Unpack[TrainingOptions],
    ) -> None:
        super().__init__(spec, **shared)
        if objective.draws > 1 and objective.free_bits > 0:
            raise GenlabError(
                f"model.objective.free_bits is {objective.free_bits} and draws is {objective.draws}, but free bits "
                "are part of the ELBO only: set free_bits=0 or draws=1."
            )
        self.objective = objective
        self.has_order = modality_of(spec).has_order
        self.columns = Columns(spec) if spec.fields and "fields" in self.uses else None
        self.observation: ObservationModel = observation_of(observation, spec, components, self.columns)
        as_it_is = spec.is_discrete or self.columns is not None
        self.tails = Tails(spec.shape) if modality_of(spec).has_heavy_tails and not as_it_is else None
        self.standardize: nn.Module = nn.Identity() if as_it_is else ActNorm(spec.num_dims)
        self.lengths = Lengths(spec, 0) if spec.has_mask else None

    # What a subclass implements.

    @abstractmethod
    def infer(self, inputs: Tensor) -> Any:
        """Compute once what all draws for ``inputs`` share, ``[N, *shape]`` or, of symbols, ``[N, *shape, levels]``."""

    @abstractmethod
    def draw(self, observed: Observed, inferred: Any, noise: Tensor) -> Draws:
        """Turn standard normal ``noise [K, N, num_latents]`` into judged posterior samples."""

    @abstractmethod
    def generate(self, n: int, generator: Generator | None) -> Tensor:
        """Draw ``[n, *shape]`` of what decoders predict, given n draws from the prior."""

    @abstractmethod
    def expected(self, z: Tensor) -> Tensor:
        """Return ``[N, *shape]`` of what decoders predict: what latents ``z [N, num_latents]`` stand for."""

    @abstractmethod
    def _encode(self, x: Tensor) -> Tensor:
        """Return the posterior's means ``[N, num_latents]`` for data ``x [N, *shape]``."""

    @abstractmethod
    def propose(self, inferred: Any, noise: Tensor) -> Tensor:
        """Turn standard normal ``noise [N, num_latents]`` into draws from the posterior, of the same shape."""

    @abstractmethod
    def log_weight(self, observed: Observed, inferred: Any, z: Tensor) -> Tensor:
        """Return log p(x, z) - log q(z | x), nats ``[N]``, of any latents ``z [N, num_latents]``."""

    @abstractmethod
    def redraw(self, z: Tensor, x: Tensor, kept: Tensor, generator: Generator | None) -> Tensor:
        """Draw what decoders predict, ``[N, *shape]``, given ``z [N, num_latents]`` and what of ``x`` is kept."""

    # What they share.

    def likelihood_kind(self, num_draws: int = 1) -> str:
        return "elbo" if num_draws == 1 else f"iwae-{num_draws}"

    def _loss(self, batch: Batch) -> dict[str, Tensor]:
        inputs, observed, log_det = self._embed(batch.x, batch.mask)
        noise = self._noise(self.objective.draws, inputs)
        draws = self.draw(observed, self.infer(inputs), noise)
        offset = log_det.mean()
        nats = self.objective.nats(draws, self.progress.fraction) - offset
        reconstruction, kl = -draws.log_likelihood.mean() - offset, draws.kl.sum(1).mean()
        elbo = -reconstruction - kl
        parts = {"loss": nats, "elbo_nats": elbo, "reconstruction_nats": reconstruction, "kl_nats": kl}
        if self.objective.draws > 1:
            parts["iwae_nats"] = importance_weighted(draws.log_weights).mean() + offset
        if self.spec.is_discrete:
            parts["loss"] = self._bits_per_dim(-nats, batch)
            parts["bits_per_dim"] = self._bits_per_dim(elbo, batch)
        return parts | {"active_units": active_units(draws.places)} | draws.diagnostics

    def _bits_per_dim(self, mean_nats: Tensor, batch: Batch) -> Tensor:
        if batch.mask is None:
            return bits_per_dim(mean_nats, self.spec.num_dims)
        return mean_bits_per_dim(mean_nats.expand(len(batch.x)), self.spec.num_dims, batch.mask)

    def _log_prob(
        self,
        x: Tensor,
        y: Tensor | None,
        *,
        mask: Tensor | None = None,
        num_draws: int,
        generator: Generator | None,
    ) -> Tensor:
        inputs, observed, log_det = self._embed(x, mask)
        inferred = self.infer(inputs)
        values = len(x) * self.observation.num_params * self.spec.num_dims
        chunk = max(1, CHUNK_VALUES // max(1, values))
        weights = [
            self.draw(observed, inferred, self._noise(min(chunk, num_draws - start), inputs, generator)).log_weights
            for start in range(0, num_draws, chunk)
        ]
        return importance_weighted(torch.cat(weights)) + log_det

    def latent_use(
        self, x: Tensor, *, mask: Tensor | None = None, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return what the latents tell of each example; see :class:`genlab.core.contract.UsesLatents`."""
        inputs, observed, _ = self._embed(x, mask)
        draws = self.draw(observed, self.infer(inputs), self._noise(1, inputs, generator))
        return draws.kl.sum(1), draws.places

    @property
    def validation_draws(self) -> int:
        """Those of training: a posterior for many draws is a poor one for a single draw."""
        return self.objective.draws

    def sample(self, n: int, y: Tensor | None = None, generator: Generator | None = None) -> Tensor:
        mask = None if self.lengths is None else self.lengths.sample(n, None, generator)
        values = self.generate(n, generator)
        x = self.codec.as_data(values) if self.spec.is_discrete else self._unstandardize(values)
        return x if mask is None else x.where(mask, modality_of(self.spec).padding(self.spec))

    def _fill_in(self, given: Given, generator: Generator | None, rounds: int | None) -> Tensor:
        """Draw in turn the latents from the posterior and the missing values given the latents.

        Drawn so they are those of the model if the posterior is: Rezende et al. (2014), appendix F. In the second half
        of the steps the latents are accepted or not as Mattei and Frellsen (2018), "Leveraging the exact likelihood of
        deep latent variable models", algorithm 1, have it, which with more and more steps is exact whatever the
        posterior.

        Args:
            given: What is kept.
            generator: Source of the noise.
            rounds: Steps of the chain; None: 100.
        """
        x, kept, y = given
        n, count = len(x), ROUNDS if rounds is None else max(1, rounds)
        there = None if self.lengths is None else self.lengths.sample(n, y, generator, kept)
        padding = modality_of(self.spec).padding(self.spec)

        def completed(values: Tensor) -> Tensor:
            own = self.codec.as_data(values) if self.spec.is_discrete else self._unstandardize(values).to(x.dtype)
            return x.where(kept, own if there is None else own.where(there, padding))

        filled, z = completed(self.generate(n, generator)), None
        for step in range(count):
            inputs, observed, _ = self._embed(filled, there)
            inferred = self.infer(inputs)
            other = self.propose(inferred, self._noise(1, inputs, generator)[0])
            chance = uniform((n,), generator, self.device, torch.float64)
            if z is None or step < count // 2:
                z = other
            else:
                new, old = (self.log_weight(observed, inferred, latents).double() for latents in (other, z))
                z = other.where((chance.log() < new - old)[:, None], z)
            filled = completed(self.redraw(z, observed.x, kept, generator))
        return filled

    def inpainting(self, mask: Tensor, rounds: int | None = None) -> Inpainting:
        steps = ROUNDS if rounds is None else max(1, rounds)
        return Inpainting(False, f"Metropolis within Gibbs, {counted(steps, 'step')}, the first half without rejection")

    def encode(self, x: Tensor, y: Tensor | None = None, *, mask: Tensor | None = None) -> Tensor:
        """Return the posterior's means ``[N, num_latents]`` for data ``x [N, *shape]`` as it is.

        Raises:
            GenlabError: If the data has another shape, dtype or range than :attr:`spec` says.
        """
        self.check(Batch(x, y, mask))
        return self._encode(self._filled(Batch(x, y, mask)).x)

    def encoding_kind(self) -> str:
        return "mean of the posterior"

    def encoding_evaluations(self) -> float:
        return 1 + self.nfe

    def decode(self, z: Tensor, y: Tensor | None = None, *, mask: Tensor | None = None) -> Tensor:
        """Return the expected data ``[N, *shape]``, floating point in the data's own units, given latents ``z``.

        Of series it is what the expected tamed values stand for. Of symbols without an order, which have no
        expectation, it is the most probable one at each place, int64.

        Raises:
            GenlabError: If the latents are not ``[N, num_latents]``.
        """
        self._check_latents(z, self.num_latents)
        return self._as_values(self.expected(z))

    def _as_values(self, expected: Tensor) -> Tensor:
        return expected if self.spec.is_discrete else self._unstandardize(expected)

    def reconstruct(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the expected data ``[N, *shape]`` given the posterior's means for ``x``; see :meth:`decode`."""
        return self.decode(self.encode(x, y), y)

    @torch.no_grad()
    def initialize(self, batch: Batch) -> None:
        if self.columns is not None:
            self.columns.fit(batch.x)
        if self.tails is not None:
            self.tails.fit(batch.x)
        with data_dependent_init(self.standardize):
            self._embed(batch.x)
        if self.lengths is not None:
            self.lengths.fit(batch.mask, batch.y)

    def _embed(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Observed, Tensor]:
        """Return the encoder's input, the values that the decoder predicts, and the log-determinant ``[N]``."""
        if self.spec.is_discrete:
            inputs = (
                self.codec.to_signed(x, self.dtype) if self.has_order else one_hot(x, self.codec.levels, self.dtype)
            )
            return inputs, Observed(x, mask), torch.zeros(len(x), device=x.device)
        if self.columns is not None:
            return self.columns.encode(x).flatten(1), Observed(x, mask), torch.zeros(len(x), device=x.device)
        tamed = x if self.tails is None else self.tails(x)
        flat, log_det = self.standardize(tamed.flatten(1)[:, :, None, None])
        inputs = flat.view_as(x)
        if mask is not None:
            log_det = sum_dims(self.standardize.log_scale.view(self.spec.shape).expand_as(x), mask)
        if self.tails is not None:
            log_det = log_det + sum_dims(self.tails.log_slope(x), mask)
        return inputs, Observed(inputs, mask), log_det

    def _unstandardize(self, values: Tensor) -> Tensor:
        if self.columns is not None:  # their distributions are of the table's own values
            return values
        tamed = self.standardize.inverse(values.flatten(1)[:, :, None, None]).view_as(values)
        return tamed if self.tails is None else self.tails.inverse(tamed)

    def _noise(self, draws: int, inputs: Tensor, generator: Generator | None = None) -> Tensor:
        # One call for each draw, so that the numbers do not depend on how draws are chunked.
        size = (len(inputs), self.num_latents)
        each = [normal(size, generator, inputs.device) for _ in range(draws)]
        return torch.stack(each).to(inputs.dtype)
