"""Sample: new examples, as many as one likes, drawn and written in parts so that memory stays what it is."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from genlab.core.errors import GenlabError, nearest, shown
from genlab.core.noise import ExampleNoise, integers
from genlab.core.randomness import Stream, stream_seed
from genlab.measure.batches import BatchSizes
from genlab.models.base import GenerativeModel

__all__ = ["check_label", "label_number", "labels_of_samples", "sample"]


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
        noise = ExampleNoise(base, start, device)
        return model.sample(size, _labels(model, size, label, noise), generator=noise).cpu()

    yield from BatchSizes(None, device).each(n, draw)


def labels_of_samples(
    model: GenerativeModel, n: int, seed: int = 0, label: int | None = None, first: int = 0
) -> Tensor | None:
    """Return the labels ``[n]`` of what :func:`sample` draws, on the CPU; None of a model that is told none.

    Args:
        model: As of :func:`sample`, and so are the others.
        n: How many.
        seed: Of the samples.
        label: Class of all of them.
        first: Number of the first of them.
    """
    labels = _labels(model, n, label, ExampleNoise(stream_seed(Stream.SAMPLES, seed), first, model.device))
    return None if labels is None else labels.cpu()


def _labels(model: GenerativeModel, n: int, label: int | None, noise: ExampleNoise) -> Tensor | None:
    if not model.conditional:
        return None
    if label is None:
        return integers(model.num_classes, n, noise, model.device)
    return torch.full((n,), label, device=model.device)


def label_number(model: GenerativeModel, label: int | str | None) -> int | None:
    """Return the number of a label that is given by its number or, where classes have names, by its name.

    Raises:
        GenlabError: If the model is not told labels, or has no such label.
    """
    if not isinstance(label, str):
        check_label(model, label)
        return label
    if not model.conditional:
        raise _told_none(model, shown(label))
    names = () if model.spec.label is None else model.spec.label.categories
    if label in names:
        return names.index(label)
    known = f"one of {', '.join(map(shown, names[:8]))}, or " if names else ""
    raise GenlabError(
        f"label is '{shown(label)}', expected {known}a number from 0 to {model.num_classes - 1}.{nearest(label, names)}"
    )


def check_label(model: GenerativeModel, label: int | None) -> None:
    """Refuse a label that a model cannot be given.

    Raises:
        GenlabError: If the model is not told labels, or has no such label.
    """
    if label is None:
        return
    if not model.conditional:
        raise _told_none(model, label)
    if not 0 <= label < model.num_classes:
        raise GenlabError(f"label is {label}, expected 0 to {model.num_classes - 1}.")


def _told_none(model: GenerativeModel, label: int | str) -> GenlabError:
    return GenlabError(f"label is {label}, but this {model.name} is not class-conditional. Leave label out.")
