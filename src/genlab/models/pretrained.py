"""Pipelines that others have trained, evaluated as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Unpack

import torch
from torch import Generator, Tensor

from genlab.core.batch import Batch
from genlab.core.errors import GenlabError, shown
from genlab.core.spec import DataSpec
from genlab.modalities import Layout
from genlab.models.base import GenerativeModel
from genlab.models.options import CommonOptions, SamplingSteps
from genlab.networks.pretrained.folder import Files, find_model, trained_on
from genlab.networks.pretrained.pipeline import load_pipeline, pipeline_files

__all__ = ["ComesTrained", "Pretrained"]


class ComesTrained(GenerativeModel):
    """A model that others have trained. Nothing is trained here: a run is its evaluation.

    The run's checkpoints hold no weights, but the checksum of the files that they are in: with other files under the
    same path they do not load.

    The other arguments are those of :class:`genlab.models.options.CommonOptions`.

    Args:
        spec: What one example is.
        path: Folder of the model, or its address on the Hugging Face Hub, from which the files that are opened are
            pulled.
        files: Says which these are.

    Attributes:
        folder: Where the files are.
        address: Of the commit that was pulled; None: it is a folder of the user's.

    Raises:
        GenlabError: If there is no such folder, or it cannot be pulled.
    """

    learns_by_steps = False
    comes_trained = True
    chosen_by_samples = False
    files: Tensor

    def __init__(self, spec: DataSpec, *, path: str | None, files: Files, **shared: Unpack[CommonOptions]) -> None:
        super().__init__(spec, **shared, optimizer=torch.optim.SGD, lr=1.0, schedule=lambda _: 1.0, grad_clip=None)
        self.folder, self.address = find_model(path, self.family, files)
        self.trained_on = trained_on(self.folder)

    def _describe(self, name: str) -> str:
        """Say what it is by its class; a commit of the Hub is named, since its branches move on."""
        source = f" of {self.address}" if self.address else ""
        return f"{name}{source}, trained on: {self.trained_on}"

    def _remember(self, sha256: bytes) -> None:
        self.register_buffer("files", torch.tensor(list(sha256), dtype=torch.uint8))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        known = state_dict.get(f"{prefix}files")
        if known is not None and not torch.equal(known.cpu(), self.files.cpu()):
            raise GenlabError(
                f"{shown(self.folder)} holds other files than those that this run is of. rerun=true evaluates these."
            )
        super()._load_from_state_dict(state_dict, prefix, *arguments)

    @property
    def not_captured(self) -> str | None:
        return "no step trains it"

    def _loss(self, batch: Batch) -> dict[str, Tensor]:
        raise GenlabError(f"{self.name} comes trained, and is not trained here.")


class Pretrained(ComesTrained):
    """An unconditional pipeline of diffusers, as somebody has trained and saved it: DDPM, DDIM or a consistency model.

    What it was trained on is what its card says, or unknown, and may
    well include the test examples. Its samples, pictures in [-1, 1], become [0, 1] and then the nearest of the data's
    levels, the lowest at 0 and the highest at 1. It has no likelihood.

    Sources: Ho et al. (2020), "Denoising diffusion probabilistic models", algorithm 2; Song et al. (2021), "Denoising
    diffusion implicit models", equation 12 with eta 0; Song et al. (2023), "Consistency models", algorithm 1.

    Args:
        spec: Discrete pictures of the size and the channels that the pipeline draws.
        path: Its folder, as ``save_pretrained`` leaves it, or ``hf://user/name@revision``.
        steps: Evaluations of the network for a sample; None: as many as the pipeline takes by default, of DDPM all of
            the training's process, of DDIM 50, of a consistency model 1.

    The other arguments are those of :class:`genlab.models.options.CommonOptions`.

    Raises:
        GenlabError: If there is no such folder or address, it holds anything else or what could run code, or its
            pictures are not of the data's size.
    """

    family = "pretrained"
    layouts: ClassVar[Mapping[Layout, str]] = {"grid": "pipeline"}
    alternative = "Use model=diffusion, which is trained on them."
    sampling_options: ClassVar[tuple[str, ...]] = ("steps",)

    def __init__(
        self, spec: DataSpec, *, path: str | None, steps: SamplingSteps | None, **shared: Unpack[CommonOptions]
    ) -> None:
        super().__init__(spec, path=path, files=pipeline_files, **shared)
        pipeline = load_pipeline(self.folder)
        if pipeline.shape != spec.shape:
            raise GenlabError(
                f"The pipeline in {shown(self.folder)} draws pictures {list(pipeline.shape)}, but those of "
                f"{spec.name} are {list(spec.shape)}, [channels, height, width]. Choose data of its size."
            )
        self.nfe = steps or pipeline.steps
        if self.nfe > pipeline.most_steps:
            raise GenlabError(
                f"model.steps is {self.nfe:,}, expected at most the {pipeline.most_steps:,} of its training."
            )
        # No part of the module: its weights stay in its own files.
        self._pipeline = (pipeline,)
        self._remember(pipeline.sha256)

    @classmethod
    def unsupported(cls, spec: DataSpec) -> str | None:
        reason = super().unsupported(spec)
        if reason is None and not spec.is_discrete:
            return f"The {cls.family} family draws levels, but {spec.name} is continuous. {cls.alternative}"
        return reason

    @property
    def variant(self) -> str:
        return self._describe(self._pipeline[0].name)

    @property
    def num_parameters(self) -> int:
        """How many numbers the network has learned."""
        return sum(parameter.numel() for parameter in self._pipeline[0].unet.parameters())

    @torch.no_grad()
    def sample(self, n: int, y: Tensor | None = None, generator: Generator | None = None) -> Tensor:
        return self.codec.from_unit(self._pipeline[0].sample(n, self.nfe, generator, self.device))
