"""Pipelines that others have trained, evaluated as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, ClassVar, Self, Unpack

import torch
from annotated_types import Ge
from torch import Generator, Tensor, nn

from genlab.core.batch import Batch
from genlab.core.errors import GenlabError, shown
from genlab.core.spec import DataSpec
from genlab.modalities import Layout
from genlab.models.base import GenerativeModel
from genlab.models.options import CommonOptions, SamplingSteps
from genlab.networks.pretrained.folder import Files, find_model, trained_on
from genlab.networks.pretrained.pipeline import Pipeline
from genlab.networks.pretrained.pipeline_folder import load_pipeline, pipeline_files
from genlab.runs.addresses import Address, is_address
from genlab.runs.pulling import commit_of

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

    @classmethod
    def settled(cls, settings: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
        path = settings.get("path")
        if not is_address(path) or (address := Address.parse(path)).commit:
            return {}
        began = before.get("path")
        if is_address(began) and Address.parse(began).commit:
            return {"path": began}
        return {"path": str(commit_of(address, cls.family))}

    def _describe(self, name: str, words: str = "") -> str:
        """Say what it is by its class; a commit of the Hub is named, since its branches move on."""
        source = f" of {self.address}" if self.address else ""
        return f"{name}{source}{words}, trained on: {self.trained_on}"

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
    """A pipeline of diffusers, as somebody has trained and saved it: DDPM, DDIM, a consistency model, or DiT.

    What it was trained on is what its card says, or unknown, and may
    well include the test examples. Its samples, pictures in [-1, 1], become [0, 1] and then the nearest of the data's
    levels, the lowest at 0 and the highest at 1. It has no likelihood.

    DiT draws the pictures of given classes by an autoencoder's latents. Class k is the data's label k: that the data
    numbers them alike is its user's to know. Where no labels are given, they are drawn uniformly.

    Sources: Ho et al. (2020), "Denoising diffusion probabilistic models", algorithm 2; Song et al. (2021), "Denoising
    diffusion implicit models", equation 12 with eta 0; Song et al. (2023), "Consistency models", algorithm 1; Peebles
    and Xie (2023), "Scalable diffusion models with transformers".

    Args:
        spec: Discrete pictures of the size and the channels that the pipeline draws, and as many classes where it is
            told one.
        path: Its folder, as ``save_pretrained`` leaves it, or ``hf://user/name@revision``.
        steps: Steps of its scheduler for a sample; None: as many as the pipeline takes by default, of DDPM all of
            the training's process, of DDIM and DiT 50, of a consistency model 1.
        guidance: Weight of classifier-free guidance where it draws given classes, as
            :class:`genlab.models.iterative_options.IterativeOptions` has it; None: the pipeline's own, 4. Any but 1
            takes two evaluations of the network for a step.

    The other arguments are those of :class:`genlab.models.options.CommonOptions`.

    Raises:
        GenlabError: If there is no such folder or address, it holds anything else or what could run code, or its
            pictures or classes are not those of the data.
    """

    family = "pretrained"
    layouts: ClassVar[Mapping[Layout, str]] = {"grid": "pipeline"}
    alternative = "Use model=diffusion, which is trained on them."
    sampling_options: ClassVar[tuple[str, ...]] = ("steps", "guidance")

    def __init__(
        self,
        spec: DataSpec,
        *,
        path: str | None,
        steps: SamplingSteps | None,
        guidance: Annotated[float, Ge(0)] | None = None,
        **shared: Unpack[CommonOptions],
    ) -> None:
        super().__init__(spec, path=path, files=pipeline_files, **shared)
        pipeline = load_pipeline(self.folder)
        _check_fits(spec, pipeline, shown(self.folder))
        self.conditional = pipeline.num_classes > 0
        if guidance is not None and not self.conditional:
            raise GenlabError(
                f"model.guidance is {guidance:g}, but {pipeline.name} is told no classes. Leave model.guidance out."
            )
        self.steps = steps or pipeline.steps
        if self.steps > pipeline.most_steps:
            raise GenlabError(
                f"model.steps is {self.steps:,}, expected at most the {pipeline.most_steps:,} of its training."
            )
        self.guidance = pipeline.guidance if guidance is None else guidance
        self.nfe = self.steps * (1 if self.guidance == 1 else 2)
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
        words = f", class-conditional, guidance {self.guidance:g}" if self.conditional else ""
        return self._describe(self._pipeline[0].name, words)

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        """Yield what the pipeline has learned, though it is no part of the module."""
        for network in self._pipeline[0].networks:
            yield from network.parameters(recurse)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        for network in self._pipeline[0].networks:  # they go where the model goes
            network._apply(fn)
        return super()._apply(fn, recurse)

    @torch.no_grad()
    def sample(self, n: int, y: Tensor | None = None, generator: Generator | None = None) -> Tensor:
        labels = self._labels_to_draw(n, y, generator)
        pictures = self._pipeline[0].sample(n, self.steps, generator, self.device, labels, self.guidance)
        return self.codec.from_unit(pictures)


def _check_fits(spec: DataSpec, pipeline: Pipeline, where: str) -> None:
    if pipeline.shape != spec.shape:
        raise GenlabError(
            f"The pipeline in {where} draws pictures {list(pipeline.shape)}, but those of "
            f"{spec.name} are {list(spec.shape)}, [channels, height, width]. Choose data of its size."
        )
    if pipeline.num_classes and pipeline.num_classes != spec.num_classes:
        has = "none" if spec.num_classes is None else f"{spec.num_classes:,}"
        raise GenlabError(
            f"The pipeline in {where} draws {pipeline.num_classes:,} classes, but {spec.name} has {has}. "
            "Choose data that has its classes, in its order."
        )
