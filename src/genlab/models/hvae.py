"""Hierarchical variational autoencoders: many layers of latents, from coarse to fine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Unpack

import torch
from torch import Generator, Tensor

from genlab.core.errors import GenlabError
from genlab.core.noise import normal
from genlab.core.spec import DataSpec
from genlab.core.words import counted
from genlab.modalities import Layout
from genlab.models.latent import Draws, LatentModel, LatentOptions, Observed
from genlab.models.options import Repeats, Width
from genlab.networks.latent.latents import DiagonalNormal
from genlab.networks.latent.topdown import BottomUp, TopDown

__all__ = ["HVae"]


class HVae(LatentModel):
    """Hierarchical VAE with top-down inference; Kingma et al. (2016), section 4; Child (2021).

    Its log-probability is a lower bound that rises with the number of draws. The loss reports the ELBO whatever the
    objective is, the divergence of each layer, numbered from the top, and how many latents are active. Vectors are
    images of one pixel.

    Args:
        spec: Images or vectors, discrete or continuous.
        channels: Channels at each scale, finest first; the image is halved once for each.
        layers: Layers of latents at each scale, finest first, as many numbers as in ``channels``.
        latents: Channels of each layer of latents.
        blocks: Residual blocks at each scale on the way up.

    The other arguments are those of :class:`genlab.models.latent.LatentOptions`.

    Raises:
        GenlabError: If the numbers of scales differ, or there is no layer.
    """

    family = "vae"
    called = "hierarchical vae"
    alternative = "Use model=vae."
    layouts: ClassVar[Mapping[Layout, str]] = {"grid": "topdown", "flat": "topdown"}

    def __init__(
        self,
        spec: DataSpec,
        *,
        channels: list[Width],
        layers: list[Repeats],
        latents: Width,
        blocks: Repeats,
        **shared: Unpack[LatentOptions],
    ) -> None:
        super().__init__(spec, **shared)
        if len(layers) != len(channels) or sum(layers) == 0:
            raise GenlabError(
                f"model.layers is {layers} and model.channels is {channels}, "
                "expected as many numbers in both and at least one layer."
            )
        self.image_shape = spec.shape if self.layout_of(spec) == "grid" else (spec.num_dims, 1, 1)
        self.bottom_up = BottomUp(self.image_shape[0], channels, blocks)
        self.top_down = TopDown(
            self.image_shape,
            channels=channels,
            layers=layers,
            latents=latents,
            num_params=self.observation.num_params,
        )
        self.sizes = [torch.Size(shape).numel() for shape in self.top_down.latent_shapes]
        self.num_latents = sum(self.sizes)

    @property
    def variant(self) -> str:
        draws, layers = self.objective.draws, counted(len(self.sizes), "layer")
        return f"top-down, {layers}, {self.observation.name}" + (f", iwae-{draws}" if draws > 1 else "")

    def infer(self, inputs: Tensor) -> list[Tensor]:
        return self.bottom_up(inputs.view(-1, *self.image_shape))

    def draw(self, observed: Observed, inferred: list[Tensor], noise: Tensor) -> Draws:
        count, examples, _ = noise.shape
        parts = self._parts(noise.flatten(0, 1))

        def pick(index: int, prior: DiagonalNormal, posterior: DiagonalNormal | None) -> Tensor:
            assert posterior is not None
            return posterior.transform(parts[index])

        features = [level.expand(count, *level.shape).flatten(0, 1) for level in inferred]
        params, steps = self.top_down(count * examples, pick, features)
        ratios, divergences, shifts = [], [], []
        for step in steps:
            assert step.posterior is not None
            ratios.append((step.prior.log_prob(step.z) - step.posterior.log_prob(step.z)).flatten(1).sum(1))
            divergences.append(step.posterior.kl(step.prior).flatten(1).sum(1).view(count, examples).mean(0))
            # Below the top the prior varies too: a unit is active where the data moves its posterior off the prior.
            shifts.append(((step.posterior.mean - step.prior.mean) * (-step.prior.log_scale).exp()).flatten(1))
        kl = torch.stack(divergences, dim=1)
        by_layer = {f"kl_layer_{index:02d}_nats": nats.detach() for index, nats in enumerate(kl.mean(0))}
        rows = observed.repeated(count)
        each = self.observation.log_prob(rows.x, params.view(len(params), -1, *self.spec.shape))
        return Draws(
            rows.total(each, count),
            torch.stack(ratios).sum(0).view(count, examples),
            kl,
            self.sizes,
            torch.cat(shifts, dim=1),
            by_layer,
        )

    def propose(self, inferred: list[Tensor], noise: Tensor) -> Tensor:
        parts = self._parts(noise)

        def pick(index: int, _: DiagonalNormal, posterior: DiagonalNormal | None) -> Tensor:
            assert posterior is not None
            return posterior.transform(parts[index])

        _, steps = self.top_down(len(noise), pick, inferred)
        return torch.cat([step.z.flatten(1) for step in steps], dim=1)

    def log_weight(self, observed: Observed, inferred: list[Tensor], z: Tensor) -> Tensor:
        parts = self._parts(z)
        params, steps = self.top_down(len(z), lambda index, *_: parts[index], inferred)
        total = observed.total(self.observation.log_prob(observed.x, params.view(len(z), -1, *self.spec.shape)), 1)[0]
        for step in steps:
            assert step.posterior is not None
            total = total + (step.prior.log_prob(step.z) - step.posterior.log_prob(step.z)).flatten(1).sum(1)
        return total

    def redraw(self, z: Tensor, x: Tensor, kept: Tensor, generator: Generator | None) -> Tensor:
        parts = self._parts(z)
        params, _ = self.top_down(len(z), lambda index, *_: parts[index])
        drawn = self.observation.sample(params.view(len(z), -1, *self.spec.shape), generator)
        return x.where(kept, drawn.to(x.dtype))

    def generate(self, n: int, generator: Generator | None) -> Tensor:
        noise = normal((n, self.num_latents), generator, self.device).to(self.dtype)
        parts = self._parts(noise)
        params, _ = self.top_down(n, lambda index, prior, _: prior.transform(parts[index]))
        return self.observation.sample(params.view(n, -1, *self.spec.shape), generator)

    def expected(self, z: Tensor) -> Tensor:
        parts = self._parts(z)
        params, _ = self.top_down(z.shape[0], lambda index, *_: parts[index])
        return self.observation.mean(params.view(z.shape[0], -1, *self.spec.shape))

    def num_layers(self) -> int:
        """Return how many layers of latents there are."""
        return len(self.sizes)

    def decode_upper(self, z: Tensor, layers: int, y: Tensor | None = None, *, mask: Tensor | None = None) -> Tensor:
        """Return the expected data ``[N, *shape]`` given the top ``layers`` of ``z``, and the priors' means below."""
        self._check_latents(z, self.num_latents)
        parts = self._parts(z)
        params, _ = self.top_down(len(z), lambda index, prior, _: parts[index] if index < layers else prior.mean)
        return self._as_values(self.observation.mean(params.view(len(z), -1, *self.spec.shape)))

    def _encode(self, x: Tensor) -> Tensor:
        # Each layer's mean is given the means above; the top layer comes first.
        inputs, _, _ = self._embed(x)
        _, steps = self.top_down(len(x), lambda _, __, posterior: posterior.mean, self.infer(inputs))
        return torch.cat([step.z.flatten(1) for step in steps], dim=1)

    def _parts(self, flat: Tensor) -> list[Tensor]:
        """Cut ``[N, num_latents]`` into the layers' latents ``[N, Z, h, w]``."""
        shapes = self.top_down.latent_shapes
        return [part.unflatten(1, shape) for part, shape in zip(flat.split(self.sizes, 1), shapes, strict=True)]
