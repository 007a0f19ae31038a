"""Reconstruct: what is left of examples when a model has encoded and decoded them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from genlab.core.batch import Batch
from genlab.core.contract import EncodesInLayers
from genlab.models.base import GenerativeModel
from genlab.uses.catalogue import require
from genlab.uses.codes import as_examples, decode, encode, errors_of

__all__ = ["Reconstructions", "reconstruct"]

MOST_LAYERS = 6
"""Rows of upper layers that are shown."""


@dataclass(frozen=True)
class Reconstructions:
    """What became of examples.

    Attributes:
        x: The examples ``[N, *spec.shape]``.
        back: What they decode to, as examples.
        z: Their codes ``[N, Z]``.
        errors: Of each example by name, ``[N]``; see :func:`genlab.uses.codes.errors_of`.
        kind: How codes are found; a few words.
        upper: By number of upper layers, what these alone decode to; empty for codes without layers.
    """

    x: Tensor
    back: Tensor
    z: Tensor
    errors: dict[str, Tensor]
    kind: str
    upper: dict[int, Tensor]

    @property
    def mean_errors(self) -> dict[str, float]:
        """The errors by name, each the mean over the examples."""
        return {name: float(error.mean()) for name, error in self.errors.items()}

    @property
    def rows(self) -> dict[str, Tensor]:
        """Rows of a picture: the examples, what their upper layers decode to, and what all does."""
        some = {f"{layers} of the layers": x for layers, x in self.upper.items()}
        return {"example": self.x, **some, "reconstruction": self.back}


def reconstruct(model: GenerativeModel, examples: Batch, scale: Tensor | None = None) -> Reconstructions:
    """Encode examples and decode their codes.

    Args:
        model: In eval mode; must be one that :class:`~genlab.core.contract.Encodes`.
        examples: On the CPU, in the data's own values.
        scale: As of :func:`genlab.uses.codes.errors_of`.

    Raises:
        GenlabError: If the model has no codes, or the examples are not of its data.
    """
    require("reconstruct", model)
    z = encode(model, examples)
    values = decode(model, z, examples)
    back = as_examples(values, model.spec, examples.mask)
    errors = errors_of(examples, values, model.spec, scale)
    return Reconstructions(examples.x, back, z, errors, model.encoding_kind(), _upper(model, examples, z))


def _upper(model: GenerativeModel, examples: Batch, z: Tensor) -> dict[int, Tensor]:
    if not isinstance(model, EncodesInLayers):
        return {}
    count = model.num_layers()
    chosen = sorted({int(k) for k in torch.linspace(1, count, MOST_LAYERS + 1).round()} - {count})
    found = {}
    for layers in chosen:
        values = decode(
            model, z, examples, lambda z, y, mask, layers=layers: model.decode_upper(z, layers, y, mask=mask)
        )
        found[layers] = as_examples(values, model.spec, examples.mask)
    return found
