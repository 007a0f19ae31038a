"""Pipelines of diffusers: a network of the library and one of its schedulers, by which noise becomes pictures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor, nn
from torch.overrides import TorchFunctionMode

from genlab.core.noise import normal

__all__ = ["DiTPipeline", "Pipeline", "UNetPipeline"]


class Pipeline(ABC):
    """Networks and a scheduler as diffusers has them.

    Args:
        name: Name of the pipeline's class.
        networks: What was trained.
        scheduler: Says by what steps noise becomes a picture.
        steps: Steps of a sample that the pipeline takes by default.
        sha256: Of the files that it was read from.

    Attributes:
        shape: ``(C, H, W)`` of its pictures.
        noise_shape: Shape of the noise that becomes one.
        num_classes: How many classes it draws, each on request; 0: it is told none.
        most_steps: Steps of the training's process, which no sampler exceeds.
    """

    shape: tuple[int, ...]
    noise_shape: tuple[int, ...]
    num_classes: int = 0
    guidance: ClassVar[float] = 1.0
    """Weight of classifier-free guidance by default; see :class:`genlab.models.iterative_options.IterativeOptions`."""

    def __init__(self, name: str, networks: Sequence[nn.Module], scheduler: Any, steps: int, sha256: bytes) -> None:
        self.name = name
        self.networks = [network.eval().requires_grad_(False) for network in networks]
        self.scheduler = scheduler
        self.steps = steps
        self.sha256 = sha256
        self.most_steps: int = scheduler.config.num_train_timesteps

    @torch.no_grad()
    def sample(
        self,
        n: int,
        steps: int,
        generator: Generator | None,
        device: torch.device,
        y: Tensor | None = None,
        guidance: float = 1.0,
    ) -> Tensor:
        """Draw pictures ``[n, C, H, W]`` in [0, 1].

        Args:
            n: Number of pictures.
            steps: Steps of the scheduler for each.
            generator: Source of the noise, which belongs to the picture; see :mod:`genlab.core.noise`.
            device: Where the networks are.
            y: Classes ``[n]`` of a pipeline that draws given ones.
            guidance: Weight of its guidance; 1: none, which takes half the evaluations.
        """
        self.scheduler.set_timesteps(steps, device=device)
        x = normal((n, *self.noise_shape), generator, device) * self.scheduler.init_noise_sigma
        for time in self.scheduler.timesteps:
            found = self._predict(self.scheduler.scale_model_input(x, time), time, y, guidance)
            with _NoiseOfExamples(generator):
                x = self.scheduler.step(found, time, x).prev_sample
        return (self._pictures(x) / 2 + 0.5).clamp(0, 1)

    @abstractmethod
    def _predict(self, x: Tensor, time: Tensor, y: Tensor | None, guidance: float) -> Tensor:
        """Return what the scheduler steps by, given ``x [n, *noise_shape]`` at a time."""

    def _pictures(self, x: Tensor) -> Tensor:
        """Return pictures in about [-1, 1] of what the steps ended with."""
        return x


class UNetPipeline(Pipeline):
    """A U-Net on pixels, unconditional; arguments as of :class:`Pipeline`, ``networks`` being the U-Net alone."""

    def __init__(self, name: str, networks: Sequence[nn.Module], scheduler: Any, steps: int, sha256: bytes) -> None:
        super().__init__(name, networks, scheduler, steps, sha256)
        config = networks[0].config
        size = config.sample_size
        self.shape = self.noise_shape = (config.in_channels, *([size] * 2 if isinstance(size, int) else size))

    def _predict(self, x: Tensor, time: Tensor, y: Tensor | None, guidance: float) -> Tensor:
        return self.networks[0](x, time).sample


class DiTPipeline(Pipeline):
    """A transformer on the latents of an autoencoder, given classes; arguments as of :class:`Pipeline`.

    ``networks`` are the transformer and the autoencoder. Peebles and Xie (2023), "Scalable diffusion models with
    transformers". As the library's pipeline does, it steps without the variances that the transformer may predict.
    """

    guidance = 4.0

    def __init__(self, name: str, networks: Sequence[nn.Module], scheduler: Any, steps: int, sha256: bytes) -> None:
        super().__init__(name, networks, scheduler, steps, sha256)
        latents, pictures = (network.config for network in networks)
        side, halvings = latents.sample_size, len(pictures.block_out_channels) - 1
        self.noise_shape = (latents.in_channels, side, side)
        self.shape = (pictures.out_channels, *[side * 2**halvings] * 2)
        self.num_classes = latents.num_embeds_ada_norm

    def _predict(self, x: Tensor, time: Tensor, y: Tensor | None, guidance: float) -> Tensor:
        assert y is not None
        if guidance == 1:
            return self._evaluate(x, time, y)
        no_class = torch.full_like(y, self.num_classes)
        given, free = self._evaluate(torch.cat([x, x]), time, torch.cat([y, no_class])).chunk(2)
        return free + guidance * (given - free)

    def _evaluate(self, x: Tensor, time: Tensor, y: Tensor) -> Tensor:
        found = self.networks[0](x, timestep=time.expand(len(x)), class_labels=y).sample
        return found[:, : x.shape[1]]

    def _pictures(self, x: Tensor) -> Tensor:
        autoencoder = self.networks[1]
        return autoencoder.decode(x / autoencoder.config.scaling_factor).sample


class _NoiseOfExamples(TorchFunctionMode):
    """Within it normal noise that a library draws for a batch belongs to the examples of the batch."""

    def __init__(self, generator: Generator | None) -> None:
        super().__init__()
        self.generator = generator

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.randn:
            options = dict(kwargs or {})
            return normal(args[0], self.generator, torch.device(options["device"]), options.get("dtype"))
        return func(*args, **(kwargs or {}))
