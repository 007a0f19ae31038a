"""Variational autoencoders: one layer of latents, trained by the ELBO or by importance-weighted bounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, NamedTuple, Unpack

import torch
from annotated_types import Ge, Le, MinLen
from torch import Generator, Tensor, nn

from genlab.core.batch import Batch
from genlab.core.errors import GenlabError
from genlab.core.spec import DataSpec
from genlab.modalities import Layout, has_layout, modality_of, require_grid
from genlab.models.latent import Draws, LatentModel, LatentOptions, Observed
from genlab.models.options import Depth, Repeats, Width
from genlab.networks.blocks.columns import encoded_dims
from genlab.networks.latent.autoencoders import ConvDecoder, ConvEncoder, MLPDecoder, MLPEncoder
from genlab.networks.latent.decoding import AtOnce, Decoding, InTurn
from genlab.networks.latent.latents import DiagonalNormal
from genlab.networks.latent.priors import FlowPrior, LatentDensity, NormalPrior, Prior, VampPrior
from genlab.networks.latent.recurrent import RecurrentDecoder, RecurrentEncoder
from genlab.networks.latent.signal_autoencoders import SignalDecoder, SignalEncoder

__all__ = ["ConvConfig", "MLPConfig", "PriorConfig", "RecurrentConfig", "SignalConfig", "Vae"]


@dataclass(frozen=True)
class MLPConfig:
    """Sizes of the gated perceptrons.

    Args:
        hidden: Widths of the encoder's hidden layers, first to last; the decoder has them in reverse.
    """

    hidden: list[Width]

    def build(self, spec: DataSpec, latent_dims: int, num_params: int) -> tuple[nn.Module, nn.Module]:
        """Return an encoder and a decoder."""
        if not modality_of(spec).has_order:
            raise GenlabError(
                f"network=mlp needs values with an order, but {spec.name} is {spec.modality}. "
                "Use model.network=recurrent."
            )
        encoder = MLPEncoder(encoded_dims(spec), self.hidden, 2 * latent_dims)
        return encoder, MLPDecoder(latent_dims, spec.shape, hidden=self.hidden[::-1], num_params=num_params)


@dataclass(frozen=True)
class ConvConfig:
    """Sizes of the residual convolutional networks.

    Args:
        channels: Channels at each scale, finest first; the image is halved once for each.
        blocks: Residual blocks at each scale.
    """

    channels: list[Width]
    blocks: Repeats

    def build(self, spec: DataSpec, latent_dims: int, num_params: int) -> tuple[nn.Module, nn.Module]:
        """Return an encoder and a decoder."""
        require_grid("network=conv", spec, "Use model.network=mlp.")
        if not self.channels:
            raise GenlabError("model.conv.channels is empty, expected the channels of at least one scale.")
        channels, blocks = self.channels, self.blocks
        encoder = ConvEncoder(spec.shape, channels=channels, blocks=blocks, outputs=2 * latent_dims)
        return encoder, ConvDecoder(latent_dims, spec.shape, channels=channels, blocks=blocks, num_params=num_params)


@dataclass(frozen=True)
class SignalConfig:
    """Sizes of the residual convolutional networks for sound.

    Args:
        channels: Channels at each scale, finest first; the sound is shortened four times for each.
        blocks: Residual blocks at each scale.
    """

    channels: Annotated[list[Width], MinLen(1)]
    blocks: Repeats

    def build(self, spec: DataSpec, latent_dims: int, num_params: int) -> tuple[nn.Module, nn.Module]:
        """Return an encoder and a decoder."""
        if not has_layout(spec, "signal"):
            raise GenlabError(f"network=signal needs sound, but {spec.name} is {spec.modality}. Use model.network=mlp.")
        channels, blocks = self.channels, self.blocks
        encoder = SignalEncoder(spec.shape, channels=channels, blocks=blocks, outputs=2 * latent_dims)
        return encoder, SignalDecoder(latent_dims, spec.shape, channels=channels, blocks=blocks, num_params=num_params)


@dataclass(frozen=True)
class RecurrentConfig:
    """Sizes of the recurrent networks for text.

    Args:
        embedding: Features of a symbol.
        hidden: Features of the state of the decoder, and of each direction of the encoder.
        word_dropout: Probability that the decoder is not shown a symbol in training, in [0, 1]: what it would say must
            then come from the latents. Bowman et al. (2016), section 3.1.
    """

    embedding: Width
    hidden: Width
    word_dropout: Annotated[float, Ge(0), Le(1)]

    def build(self, spec: DataSpec, latent_dims: int, num_params: int) -> tuple[nn.Module, nn.Module]:
        """Return an encoder and a decoder."""
        if modality_of(spec).has_order or not has_layout(spec, "sequence"):
            raise GenlabError(
                f"network=recurrent needs text, but {spec.name} is {spec.modality}. Use model.network=auto."
            )
        symbols, size = spec.levels or 0, {"embedding": self.embedding, "hidden": self.hidden}
        decoder = RecurrentDecoder(
            latent_dims, symbols, spec.num_dims, num_params=num_params, word_dropout=self.word_dropout, **size
        )
        return RecurrentEncoder(symbols, outputs=2 * latent_dims, **size), decoder


@dataclass(frozen=True)
class PriorConfig:
    """The distribution of latents.

    Args:
        kind: ``normal``, ``vamp`` (a mixture of the posteriors of pseudo-inputs) or ``flow``.
        pseudo_inputs: Components of ``vamp``.
        transforms: Transforms of ``flow``.
        hidden: Widths of the hidden layers of each transform of ``flow``.
    """

    kind: Literal["normal", "vamp", "flow"]
    pseudo_inputs: Width
    transforms: Depth
    hidden: list[Width]

    def build(self, input_shape: tuple[int, ...], latent_dims: int) -> Prior:
        """Return the prior of latents of this length, for an encoder of inputs of this shape."""
        makers: dict[str, Callable[[], Prior]] = {
            "normal": lambda: NormalPrior(latent_dims),
            "vamp": lambda: VampPrior(input_shape, self.pseudo_inputs),
            "flow": lambda: FlowPrior(latent_dims, self.transforms, self.hidden),
        }
        return makers[self.kind]()


class _Inferred(NamedTuple):
    posterior: DiagonalNormal
    prior: LatentDensity


class Vae(LatentModel):
    """Variational autoencoder; Kingma and Welling (2014). With several draws an IWAE; Burda et al. (2016).

    Its log-probability is a lower bound that rises with the number of draws. The loss reports the ELBO whatever the
    objective is, and how many latents are active, estimated on the batch.

    Args:
        spec: Images, vectors, sound or series, discrete or continuous, text, or tables.
        network: ``conv``, ``mlp``, ``signal``, ``recurrent``, or ``auto`` for what suits the data.
        latent_dims: Length of a latent vector.
        mlp: Sizes of ``network=mlp``.
        conv: Sizes of ``network=conv``.
        signal: Sizes of ``network=signal``.
        recurrent: Sizes of ``network=recurrent``.
        prior: Distribution of the latents.

    The other arguments are those of :class:`genlab.models.latent.LatentOptions`.
    """

    family = "vae"
    uses = frozenset({"mask", "fields", "cells"})
    layouts: ClassVar[Mapping[Layout, str]] = {
        "grid": "conv",
        "signal": "signal",
        "flat": "mlp",
        "sequence": "recurrent",
        "series": "mlp",
    }

    def __init__(
        self,
        spec: DataSpec,
        *,
        network: Literal["auto", "mlp", "conv", "signal", "recurrent"],
        latent_dims: Width,
        mlp: MLPConfig,
        conv: ConvConfig,
        signal: SignalConfig,
        recurrent: RecurrentConfig,
        prior: PriorConfig,
        **shared: Unpack[LatentOptions],
    ) -> None:
        super().__init__(spec, **shared)
        self.num_latents = latent_dims
        kind = self.default_network(spec) if network == "auto" else network
        sizes: dict[str, MLPConfig | ConvConfig | SignalConfig | RecurrentConfig] = {
            "mlp": mlp,
            "conv": conv,
            "signal": signal,
            "recurrent": recurrent,
        }
        self.encoder, self.decoder = sizes[kind].build(spec, latent_dims, self.observation.num_params)
        self.decoding: Decoding = (InTurn if kind == "recurrent" else AtOnce)(self.observation)
        self.prior = prior.build(self._input_shape(), latent_dims)
        self._variant = f"{kind}, {prior.kind} prior, {self.observation.name}"

    def _input_shape(self) -> tuple[int, ...]:
        """What the encoder sees of an example."""
        if self.columns is not None:
            return (encoded_dims(self.spec),)
        return self.spec.shape if self.has_order else (*self.spec.shape, self.codec.levels)

    @property
    def variant(self) -> str:
        draws = self.objective.draws
        return self._variant + (f", iwae-{draws}" if draws > 1 else "")

    @property
    def nfe(self) -> int:
        """Passes of the prior, one after the other, and those of the decoder: one, or one for each symbol."""
        return self.prior.nfe + self.decoding.passes(self.decoder)

    def infer(self, inputs: Tensor) -> _Inferred:
        return _Inferred(self._posterior(inputs), self.prior.given(self._posterior))

    def draw(self, observed: Observed, inferred: _Inferred, noise: Tensor) -> Draws:
        posterior, prior = inferred
        count, examples, dims = noise.shape
        expanded = posterior.expand(count)
        z = expanded.transform(noise)
        log_p = prior.log_prob(z.flatten(0, 1)).view(count, examples)
        log_ratio = log_p - expanded.log_prob(z).sum(-1)
        closed = prior.closed_kl(posterior)
        rows = observed.repeated(count)
        return Draws(
            rows.total(self.decoding.log_prob(self.decoder, z.flatten(0, 1), rows.x), count),
            log_ratio,
            -log_ratio.mean(0)[:, None] if closed is None else closed,
            [dims] if closed is None else [1] * dims,
            posterior.mean,
        )

    def propose(self, inferred: _Inferred, noise: Tensor) -> Tensor:
        return inferred.posterior.transform(noise)

    def log_weight(self, observed: Observed, inferred: _Inferred, z: Tensor) -> Tensor:
        log_likelihood = observed.total(self.decoding.log_prob(self.decoder, z, observed.x), 1)[0]
        return log_likelihood + inferred.prior.log_prob(z) - inferred.posterior.log_prob(z).sum(-1)

    def redraw(self, z: Tensor, x: Tensor, kept: Tensor, generator: Generator | None) -> Tensor:
        return self.decoding.redraw(self.decoder, z, x, kept, generator)

    def generate(self, n: int, generator: Generator | None) -> Tensor:
        z = self.prior.given(self._posterior).sample(n, generator)
        return self.decoding.sample(self.decoder, z, generator)

    def expected(self, z: Tensor) -> Tensor:
        return self.decoding.decode(self.decoder, z)

    def _encode(self, x: Tensor) -> Tensor:
        return self._posterior(self._embed(x)[0]).mean

    @torch.no_grad()
    def initialize(self, batch: Batch) -> None:
        super().initialize(batch)
        self.prior.initialize(self._embed(batch.x)[0])

    def _posterior(self, inputs: Tensor) -> DiagonalNormal:
        return DiagonalNormal.from_params(self.encoder(inputs))
