"""Language models that others have trained, evaluated as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Unpack

import torch
from torch import Generator, Tensor

from genlab.core.spec import DataSpec
from genlab.modalities import Layout
from genlab.models.options import CommonOptions
from genlab.models.pretrained import ComesTrained
from genlab.networks.pretrained.language_model import language_model_files, load_language_model

__all__ = ["PretrainedText"]


class PretrainedText(ComesTrained):
    """A causal language model of transformers on a text in bytes, as somebody has trained and saved it.

    Its likelihood is in bits per byte, whatever its tokens are, and a bound: of all ways to write the bytes of a window
    in tokens it counts the one that its tokenizer takes, as a variational posterior that is sure of it would. A window
    has no context. See :class:`genlab.networks.pretrained.language_model.LanguageModel` for the first token and for
    characters that a window cuts. Samples are never ended: they are the first bytes of a longer text.

    What it was trained on is what its card says, or unknown, and may well include the test part of the text.

    Args:
        spec: Text in bytes.
        path: Its folder, with ``config.json``, ``tokenizer.json``, byte-level, and ``model.safetensors``,
            or ``hf://user/name@revision``.

    The other arguments are those of :class:`genlab.models.options.CommonOptions`.

    Raises:
        GenlabError: If there is no such folder or address, or it holds anything else or what could run code.
    """

    family = "pretrained_text"
    layouts: ClassVar[Mapping[Layout, str]] = {"symbols": "language model"}
    alternative = "Use model=transformer, which is trained on it."

    def __init__(self, spec: DataSpec, *, path: str | None, **shared: Unpack[CommonOptions]) -> None:
        super().__init__(spec, path=path, files=language_model_files, **shared)
        language_model = load_language_model(self.folder)
        # No part of the module: its weights stay in its own files.
        self._language_model = (language_model,)
        self._drawn = self._evaluations = 0
        self._remember(language_model.sha256)

    @classmethod
    def unsupported(cls, spec: DataSpec) -> str | None:
        reason = super().unsupported(spec)
        if reason is None and (spec.levels != 256 or spec.alphabet is not None):
            return (
                f"The {cls.family} family gives probabilities of bytes, but {spec.name} is in symbols of its own. "
                "Use data=text_file data.by=bytes data.path=..."
            )
        return reason

    @property
    def variant(self) -> str:
        return self._describe(self._language_model[0].name)

    @property
    def num_parameters(self) -> int:
        """How many numbers the network has learned."""
        return sum(parameter.numel() for parameter in self._language_model[0].network.parameters())

    @property
    def nfe(self) -> float:
        """Tokens of a sample, one after the other: the mean of those drawn so far, at most one for each byte."""
        return self._evaluations / self._drawn if self._drawn else self.spec.num_dims

    def likelihood_kind(self, num_draws: int = 1) -> str:
        return "elbo"

    def _log_prob(self, x: Tensor, y: Tensor | None, *, num_draws: int, generator: Generator | None) -> Tensor:
        return self._language_model[0].log_prob([bytes(row) for row in x.tolist()], self.device)

    @torch.no_grad()
    def sample(self, n: int, y: Tensor | None = None, generator: Generator | None = None) -> Tensor:
        drawn, tokens = self._language_model[0].sample(n, self.spec.num_dims, generator, self.device)
        self._drawn, self._evaluations = self._drawn + n, self._evaluations + int(tokens.sum())
        return self.codec.as_data(drawn)
