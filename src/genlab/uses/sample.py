"""Sample: new examples, as many as one likes, drawn and written in parts so that memory stays what it is."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from genlab.core.errors import GenlabError
from genlab.core.noise import ExampleNoise
from genlab.core.randomness import Stream, stream_seed
from genlab.measure.batches import BatchSizes
from genlab.models.base import GenerativeModel

__all__ = ["check_label", "sample"]


@torch.no_grad()
def sample(model: GenerativeModel, n: int, seed: int = 0, label: int | None = None) -> Iterator[Tensor]:
    """Draw ``n`` examples in parts ``[m, *spec.shape]``, on the CPU, in the data's own values.

    An example depends on the seed and on its place alone, up to the rounding of parts of other sizes.

    Args:
        model: In eval mode.
        n: How many.
        seed: The same seed draws the same samples.
        label: Class of all of them, of a class-conditional model; None: drawn evenly.

    Raises:
        GenlabError: If the model is not told labels, or has no such label.
    """
    check_label(model, label)
    base, device = stream_seed(Stream.SAMPLES, seed), model.device

    def draw(start: int, size: int) -> Tensor:
        labels = None if label is None else torch.full((size,), label, device=device)
        return model.sample(size, labels, generator=ExampleNoise(base, start, device)).cpu()

    yield from BatchSizes(None, device).each(n, draw)


def check_label(model: GenerativeModel, label: int | None) -> None:
    """Refuse a label that a model cannot be given.

    Raises:
        GenlabError: If the model is not told labels, or has no such label.
    """
    if label is None:
        return
    if not model.conditional:
        raise GenlabError(f"label is {label}, but this {model.name} is not class-conditional. Leave label out.")
    if not 0 <= label < model.num_classes:
        raise GenlabError(f"label is {label}, expected 0 to {model.num_classes - 1}.")
