"""Pipelines that others have trained, evaluated as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Unpack

import torch
from torch import Generator, Tensor

from genlab.core.errors import GenlabError, shown
from genlab.core.spec import DataSpec
from genlab.modalities import Layout
from genlab.models.base import GenerativeModel
from genlab.models.options import CommonOptions, SamplingSteps
from genlab.networks.pretrained.folder import path_of, trained_on
from genlab.networks.pretrained.pipeline import load_pipeline

__all__ = ["Pretrained"]


class Pretrained(GenerativeModel):
    """An unconditional pipeline of diffusers, as somebody has trained and saved it: DDPM, DDIM or a consistency model.

    Nothing is trained: the run is its evaluation. What it was trained on is what its card says, or unknown, and may
    well include the test examples. Its samples, pictures in [-1, 1], become [0, 1] and then the nearest of the data's
    levels, the lowest at 0 and the highest at 1. It has no likelihood.

    The run's checkpoints hold no weights, but the checksum of the files that they are in: with other files under the
    same path they do not load.

    Sources: Ho et al. (2020), "Denoising diffusion probabilistic models", algorithm 2; Song et al. (2021), "Denoising
    diffusion implicit models", equation 12 with eta 0; Song et al. (2023), "Consistency models", algorithm 1.

    Args:
        spec: Discrete pictures of the size and the channels that the pipeline draws.
        path: Its folder, as ``save_pretrained`` leaves it.
        steps: Evaluations of the network for a sample; None: as many as the pipeline takes by default, of DDPM all of
            the training's process, of DDIM 50, of a consistency model 1.

    The other arguments are those of :class:`genlab.models.options.CommonOptions`.

    Raises:
        GenlabError: If there is no such folder, it holds anything else or what could run code, or its pictures are not
            of the data's size.
    """

    family = "pretrained"
    layouts: ClassVar[Mapping[Layout, str]] = {"grid": "pipeline"}
    alternative = "Use model=diffusion, which is trained on them."
    sampling_options: ClassVar[tuple[str, ...]] = ("steps",)
    learns_by_steps = False
    comes_trained = True
    chosen_by_samples = False

    def __init__(
        self, spec: DataSpec, *, path: str | None, steps: SamplingSteps | None, **shared: Unpack[CommonOptions]
    ) -> None:
        super().__init__(spec, **shared, optimizer=torch.optim.SGD, lr=1.0, schedule=lambda _: 1.0, grad_clip=None)
        folder = path_of(path)
        pipeline = load_pipeline(folder)
        if pipeline.shape != spec.shape:
            raise GenlabError(
                f"The pipeline in {shown(folder)} draws pictures {list(pipeline.shape)}, but those of {spec.name} are "
                f"{list(spec.shape)}, [channels, height, width]. Choose data of its size."
            )
        self.nfe = steps or pipeline.steps
        if self.nfe > pipeline.most_steps:
            raise GenlabError(
                f"model.steps is {self.nfe:,}, expected at most the {pipeline.most_steps:,} of its training."
            )
        # No part of the module: its weights stay in its own files.
        self._pipeline = (pipeline,)
        self._trained_on = trained_on(folder)
        self.register_buffer("files", torch.tensor(list(pipeline.sha256), dtype=torch.uint8))

    @classmethod
    def unsupported(cls, spec: DataSpec) -> str | None:
        reason = super().unsupported(spec)
        if reason is None and not spec.is_discrete:
            return f"The {cls.family} family draws levels, but {spec.name} is continuous. {cls.alternative}"
        return reason

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        known = state_dict.get(f"{prefix}files")
        super()._load_from_state_dict(state_dict, prefix, *arguments)
        if known is not None and not torch.equal(
            known.cpu(), torch.tensor(list(self._pipeline[0].sha256), dtype=torch.uint8)
        ):
            raise GenlabError(
                "model.path holds other files than those that this run is of. rerun=true evaluates these."
            )

    @property
    def variant(self) -> str:
        return f"{self._pipeline[0].name}, trained on: {self._trained_on}"

    @property
    def num_parameters(self) -> int:
        """How many numbers the network has learned."""
        return sum(parameter.numel() for parameter in self._pipeline[0].unet.parameters())

    @torch.no_grad()
    def sample(self, n: int, y: Tensor | None = None, generator: Generator | None = None) -> Tensor:
        return self.codec.from_unit(self._pipeline[0].sample(n, self.nfe, generator, self.device))
