"""Generative adversarial networks: a generator against a discriminator, under interchangeable losses."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Annotated, ClassVar, Literal, Unpack

import torch
from annotated_types import Ge, Gt, Le
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from genlab.core.batch import Batch
from genlab.core.codec import mean_and_deviation, one_hot
from genlab.core.noise import normal
from genlab.core.spec import DataSpec
from genlab.modalities import Layout, modality_of, require_grid
from genlab.models.base import GenerativeModel
from genlab.models.gan_networks import ConvConfig, MLPConfig, WaveConfig
from genlab.models.options import ConditionalOptions, Depth, Width
from genlab.networks.adversarial.augmentation import AugmentationName, augment
from genlab.networks.adversarial.inversion import invert
from genlab.networks.adversarial.losses import (
    LOSSES,
    Critic,
    input_gradient,
    one_centered_penalty,
    zero_centered_penalty,
)
from genlab.networks.adversarial.networks import Score
from genlab.networks.adversarial.rows import RowGenerator
from genlab.networks.adversarial.spectral_norm import normalize_spectrally
from genlab.networks.blocks.lengths import Lengths
from genlab.networks.blocks.rows import MOST_ROWS, Rows, encodes_rows

__all__ = ["Gan", "ObjectiveConfig"]

Weight = Annotated[float, Ge(0)]

_GENERATOR, _DISCRIMINATOR = 0, 1
"""Players, by the places of their optimizers."""
_STARTS, _SEARCH_STEPS = 64, 300
"""Of the search for an example's noise."""


@dataclass(frozen=True)
class ObjectiveConfig:
    """What the two networks play for.

    Args:
        loss: See :data:`genlab.networks.adversarial.losses.LOSSES`.
        r1: Weight of the zero-centred gradient penalty on real examples.
        r2: Weight of the same on generated examples.
        gradient_penalty: Weight of the one-centred gradient penalty between real and generated examples.
        penalty_interval: Batches from one with penalties to the next; their weights are multiplied by it. Karras et al.
            (2020), "StyleGAN2", section 3.1.
        critic_steps: Discriminator steps, of a batch each, for each generator step.
        augment: Random changes of all images that the discriminator sees.
    """

    loss: Literal["non_saturating", "wasserstein", "hinge", "relativistic"]
    r1: Weight
    r2: Weight
    gradient_penalty: Weight
    penalty_interval: Annotated[int, Ge(1), Le(1_000_000)]
    critic_steps: Depth
    augment: list[AugmentationName]

    def penalties(self, critic: Critic, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """Return the penalties whose weight is not zero, as yet without it."""
        points: dict[str, Tensor] = {"r1": real, "r2": fake}
        found = {name: zero_centered_penalty(_slope(critic, x)) for name, x in points.items() if getattr(self, name)}
        if self.gradient_penalty:
            mix = torch.rand([len(real)] + [1] * (real.ndim - 1), device=real.device)
            found["gradient_penalty"] = one_centered_penalty(_slope(critic, real + mix * (fake - real)))
        return found

    def describe(self) -> str:
        """Return what distinguishes the objective, in a few words."""
        names = {"r1": "R1", "r2": "R2", "gradient_penalty": "gradient penalty"}
        return " + ".join([self.loss, *(text for name, text in names.items() if getattr(self, name)), *self.augment])


def _slope(critic: Critic, x: Tensor) -> Tensor:
    x = x.detach().requires_grad_()
    return input_gradient(critic(x), x)


class _Discriminator(nn.Module):
    def __init__(self, features: nn.Module, num_classes: int) -> None:
        super().__init__()
        self.features = features
        self.score = Score(features.width, num_classes)

    def forward(self, x: Tensor, y: Tensor | None) -> Tensor:
        return self.score(self.features(x), y)


class Gan(GenerativeModel):
    """Generative adversarial network; Goodfellow et al. (2014).

    Each batch trains the discriminator, and each ``critic_steps``-th one then the generator, on the same noise. Images
    and other discrete data are scaled to [-1, 1] and rounded on the way out; continuous data is standardized. Rows of a
    mixed table are seen as vectors, see :class:`genlab.networks.blocks.rows.Rows`, and generated as
    :class:`genlab.networks.adversarial.rows.RowGenerator` says.

    Args:
        spec: Images, vectors, sound, series or tables, discrete, continuous or mixed.
        network: ``conv``, ``mlp``, ``wave``, or ``auto`` for what suits the data.
        latent_dims: Length of the noise vector.
        spectral_norm: Bound the gain of each layer of the discriminator; see
            :class:`genlab.networks.adversarial.spectral_norm.SpectralNorm`.
        conv: Sizes of ``network=conv``.
        mlp: Sizes of ``network=mlp``.
        wave: Sizes of ``network=wave``.
        objective: What the networks play for.
        discriminator_lr_ratio: Learning rate of the discriminator, as a multiple of ``lr``, which is the generator's;
            Heusel et al. (2017).

    The other arguments are those of :class:`genlab.models.options.ConditionalOptions`; each network has an optimizer of
    its own.

    Raises:
        GenlabError: If labels or images are asked for that the data does not have.
    """

    family = "gan"
    layouts: ClassVar[Mapping[Layout, str]] = {
        "grid": "conv",
        "signal": "wave",
        "flat": "mlp",
        "series": "wave",
    }
    uses = frozenset({"mask", "fields", "cells"})
    adversarial = True
    partial_gradients = True

    location: Tensor
    scale: Tensor

    def __init__(
        self,
        spec: DataSpec,
        *,
        network: Literal["auto", "conv", "mlp", "wave"],
        latent_dims: Width,
        spectral_norm: bool,
        conv: ConvConfig,
        mlp: MLPConfig,
        wave: WaveConfig,
        objective: ObjectiveConfig,
        discriminator_lr_ratio: Annotated[float, Gt(0)],
        **shared: Unpack[ConditionalOptions],
    ) -> None:
        super().__init__(spec, **shared)
        self.automatic_optimization = False
        if objective.augment:
            require_grid("model.objective.augment", spec, "Leave it [].")
        self.latent_dims = latent_dims
        self.objective = objective
        self._lr_ratio = discriminator_lr_ratio
        kind = self.default_network(spec) if network == "auto" else network
        sizes: dict[str, ConvConfig | MLPConfig | WaveConfig] = {"conv": conv, "mlp": mlp, "wave": wave}
        self.lengths = Lengths(spec, self.num_classes) if spec.has_mask else None
        self.rows = Rows(spec) if encodes_rows(spec) else None
        self.generator, features = self._players(sizes[kind])
        self.discriminator = _Discriminator(features, self.num_classes)
        if spectral_norm:
            normalize_spectrally(self.discriminator)
        self.register_buffer("location", torch.zeros(spec.shape))
        self.register_buffer("scale", torch.ones(spec.shape))
        traits = [objective.describe(), conv.kind if kind == "conv" else kind]
        self._variant = ", ".join(
            traits + ["spectral norm"] * spectral_norm + ["class-conditional"] * self.conditional,
        )

    def _players(self, sizes: ConvConfig | MLPConfig | WaveConfig) -> tuple[nn.Module, nn.Module]:
        if self.rows is None:
            # Where lengths differ, the generator is told the length, and the discriminator sees it by the padding.
            return sizes.build(self.spec, self.latent_dims + self.num_classes + self.spec.has_mask)
        self.initial_examples = MOST_ROWS
        inputs = RowGenerator.inputs(self.rows, self.latent_dims) + self.num_classes
        network, features = sizes.build(self.rows.spec, inputs)
        return RowGenerator(network, self.rows, self.latent_dims, self.num_classes), features

    @property
    def variant(self) -> str:
        return self._variant

    def sample(self, n: int, y: Tensor | None = None, generator: Generator | None = None) -> Tensor:
        labels = self._labels_to_draw(n, y, generator)
        mask = None if self.lengths is None else self.lengths.sample(n, labels, generator)
        values = self._generate(self._noise(n, generator), labels, mask)
        if self.rows is not None:
            return self.codec.as_data(self.rows.decode(values))
        x = self.codec.from_signed(values) if self.spec.is_discrete else self.location + self.scale * values
        return x if mask is None else x.where(mask, modality_of(self.spec).padding(self.spec))

    @property
    def noise_dims(self) -> int:
        """Length of the noise from which an example is made: rows of mixed tables also draw their categories by it."""
        return self.latent_dims if self.rows is None else RowGenerator.noise_dims(self.rows, self.latent_dims)

    def encode(self, x: Tensor, y: Tensor | None = None, *, mask: Tensor | None = None) -> Tensor:
        """Return noise ``[N, noise_dims]`` from which the generator makes something like ``x [N, *shape]``.

        It is searched for, since no network encodes; see :func:`genlab.networks.adversarial.inversion.invert`.

        Raises:
            GenlabError: If the data has another shape, dtype or range than :attr:`spec` says, or labels are missing.
        """
        self.check(Batch(x, y, mask))
        x, y, mask, _ = self._filled(Batch(x, y, mask))
        starts = self._noise(_STARTS, Generator(self.device).manual_seed(0))
        target = self._embed(x) if self.rows is None else self.rows.encode(x, within=0.5)
        return invert(lambda z: self._generate(z, y, mask), target, starts, _SEARCH_STEPS, mask)

    def decode(self, z: Tensor, y: Tensor | None = None, *, mask: Tensor | None = None) -> Tensor:
        """Return what the generator makes of noise ``z [N, noise_dims]``: ``[N, *shape]``, not rounded.

        Raises:
            GenlabError: If the noise has another length.
        """
        self._check_latents(z, self.noise_dims)
        values = self._generate(z, y, mask)
        if self.rows is not None:
            return self.rows.decode(values)
        return self.codec.unsigned(values) if self.spec.is_discrete else self.location + self.scale * values

    def encoding_kind(self) -> str:
        return f"searched for: the best of {_STARTS} draws, then {_SEARCH_STEPS} steps of Adam down the squared error"

    def encoding_evaluations(self) -> float:
        return math.inf

    def _loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return both players' losses and, as ``"loss"``, their sum; the gradient of each reaches its player alone."""
        real, y = self._embed(batch.x), batch.y
        fake = self._generate(self._noise(len(real)), y, batch.mask)
        parts = self._discriminator_parts(real, fake.detach(), y) | self._generator_parts(real, fake, y)
        return {"loss": parts["d_loss"] + parts["g_loss"], **parts}

    def validation_loss(self, batch: Batch) -> Tensor | None:
        """None: what the players lose to each other says nothing of the samples."""
        return None

    @torch.no_grad()
    def initialize(self, batch: Batch) -> None:
        if self.rows is not None:
            self.rows.fit(batch.x)
            self.generator.fit(batch.x, batch.y)
        elif not self.spec.is_discrete:
            mean, deviation = mean_and_deviation(batch.x, smallest=1e-6, correction=0)
            self.location.copy_(mean)
            self.scale.copy_(deviation)
        if self.lengths is not None:
            self.lengths.fit(batch.mask, batch.y)

    def configure_optimizers(self) -> list[Optimizer]:
        return [
            self._make_optimizer(self.generator.parameters(), self._lr),
            self._make_optimizer(self.discriminator.parameters(), self._lr * self._lr_ratio),
        ]

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        moves = self.moves(batch)

        def gradients(player: int) -> dict[str, Tensor]:
            _, parts = next(moves)
            self.check_finite(parts)
            self.manual_backward(parts["loss"])
            return {name: value.detach() for name, value in parts.items()}

        return self.play(gradients)

    def play(self, gradients: Callable[[int], dict[str, Tensor]]) -> dict[str, Tensor]:
        found, of_all = {}, []
        for player in (_DISCRIMINATOR, _GENERATOR)[: 1 + self._generator_is_due]:
            optimizer = self.optimizers()[player]
            optimizer.zero_grad()
            parts = gradients(player)
            optimizer.step()
            # One for each player in place of the one of all families, which would be that of whoever moved last.
            if self.grad_norm is not None:
                parts[f"{'gd'[player]}_grad_norm"], self.grad_norm = self.grad_norm, None
            of_all.append(parts.pop("loss"))
            found |= ({"loss": sum(of_all)} if player == _GENERATOR else {}) | parts
        return found

    def moves(self, batch: Batch) -> Iterator[tuple[int, dict[str, Tensor]]]:
        self._check_loss_input(batch)
        return self._moves(self._filled(batch))

    def _moves(self, batch: Batch) -> Iterator[tuple[int, dict[str, Tensor]]]:
        generator_is_due = self._generator_is_due
        real, y = self._embed(batch.x), batch.y
        with torch.set_grad_enabled(generator_is_due):
            fake = self._generate(self._noise(len(real)), y, batch.mask)
        parts = self._discriminator_parts(real, fake.detach(), y)
        yield _DISCRIMINATOR, {"loss": parts["d_loss"], **parts}
        of_generator = self._generator_parts(real, fake, y)
        yield _GENERATOR, {"loss": of_generator["g_loss"], **of_generator}

    def step_kind(self) -> Hashable:
        return self._generator_is_due, self._penalties_are_due

    # By the count of the run's batches, so that a resumed run keeps the rhythm.

    @property
    def _generator_is_due(self) -> bool:
        return (self.progress.batches + 1) % self.objective.critic_steps == 0

    @property
    def _penalties_are_due(self) -> bool:
        return self.progress.batches % self.objective.penalty_interval == 0

    def _discriminator_parts(self, real: Tensor, fake: Tensor, y: Tensor | None) -> dict[str, Tensor]:
        """Judge real and generated examples, the latter without a way back to the generator."""
        objective = self.objective
        real, fake = augment(real, objective.augment), augment(fake, objective.augment)
        of_real, of_fake = self._scores(torch.cat([real, fake]), y).chunk(2)
        adversarial = LOSSES[objective.loss].discriminator(of_real, of_fake)
        parts = {"d_loss": adversarial, "d_real": of_real.mean(), "d_fake": of_fake.mean()}
        if not self._penalties_are_due:
            return parts
        for name, penalty in objective.penalties(partial(self._scores, y=y), real, fake).items():
            parts["d_loss"] = parts["d_loss"] + getattr(objective, name) * objective.penalty_interval * penalty
            parts[name] = penalty
        return parts

    def _generator_parts(self, real: Tensor, fake: Tensor, y: Tensor | None) -> dict[str, Tensor]:
        """Judge generated examples by a discriminator that this does not change."""
        names = self.objective.augment
        with _frozen(self.discriminator):
            of_fake = self._scores(augment(fake, names), y)
            with torch.no_grad():
                of_real = self._scores(augment(real, names), y)
        return {"g_loss": LOSSES[self.objective.loss].generator(of_real, of_fake)}

    def _scores(self, x: Tensor, y: Tensor | None) -> Tensor:
        """Score embedded examples ``[N, *shape]``, or several times as many as there are labels: float32, ``[N]``."""
        labels = y.repeat(len(x) // len(y)) if self.conditional and y is not None else None
        return self.discriminator(x, labels)

    def _generate(self, z: Tensor, y: Tensor | None, mask: Tensor | None) -> Tensor:
        """Map noise of :meth:`_noise`, labels and where values are to embedded examples ``[N, *shape]``."""
        if self.conditional:
            z = torch.cat([z, one_hot(y, self.spec.num_classes, z.dtype)], dim=1)
        if self.lengths is not None:
            share = z.new_ones(len(z), 1) if mask is None else mask.flatten(1).to(z.dtype).mean(1, keepdim=True)
            z = torch.cat([z, share], dim=1)
        values = self.generator(z)
        values = values.tanh() if self.spec.is_discrete else values
        return values if mask is None else torch.where(mask, values, self._embed(self._padding(z.device)))

    def _noise(self, n: int, generator: Generator | None = None) -> Tensor:
        return normal((n, self.noise_dims), generator, self.device).to(self.dtype)

    def _padding(self, device: torch.device) -> Tensor:
        padding = modality_of(self.spec).padding(self.spec)
        return torch.full((1, *self.spec.shape), padding, device=device)

    def _embed(self, x: Tensor) -> Tensor:
        if self.rows is not None:
            return self.rows.encode(x)
        return self.codec.to_signed(x, self.dtype) if self.spec.is_discrete else (x - self.location) / self.scale


@contextmanager
def _frozen(network: nn.Module) -> Iterator[None]:
    """Keep what is computed meanwhile from giving the network's parameters a gradient; its inputs still get one."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    try:
        for parameter in trained:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_()
