"""Codes of examples and what they decode to, in batches, and how far that is from the examples."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from genlab.core.batch import Batch
from genlab.core.codec import mean_and_deviation
from genlab.core.hardware import full_float32
from genlab.core.spec import DataSpec
from genlab.measure.batches import BatchSizes
from genlab.modalities import modality_of
from genlab.models.base import GenerativeModel

__all__ = ["as_examples", "decode", "deviations", "encode", "errors_in_words", "errors_of", "unit_of_errors"]


@torch.no_grad()
def encode(model: GenerativeModel, examples: Batch) -> Tensor:
    """Return the codes ``[N, Z]``, on the CPU, of examples on the CPU."""
    device = model.device

    def of_batch(start: int, size: int) -> Tensor:
        batch = examples.rows(slice(start, start + size)).to(device)
        return model.encode(batch.x, _labels(model, batch), mask=batch.mask).cpu()

    with full_float32():
        return torch.cat(list(BatchSizes(None, device).each(len(examples.x), of_batch)))


@torch.no_grad()
def decode(
    model: GenerativeModel,
    z: Tensor,
    like: Batch,
    by: Callable[[Tensor, Tensor | None, Tensor | None], Tensor] | None = None,
) -> Tensor:
    """Return what codes ``z [N, Z]`` decode to, ``[N, *spec.shape]`` on the CPU, floating point or symbols.

    Args:
        model: In eval mode.
        z: On the CPU.
        like: Has the labels and masks ``[N]`` with which they are decoded; its ``x`` is not read.
        by: Decodes codes given labels and mask; None: the model's ``decode``.
    """
    device = model.device
    by = by or (lambda z, y, mask: model.decode(z, y, mask=mask))

    def of_batch(start: int, size: int) -> Tensor:
        batch = like.rows(slice(start, start + size)).to(device)
        return by(z[start : start + size].to(device), _labels(model, batch), batch.mask).cpu()

    with full_float32():
        return torch.cat(list(BatchSizes(None, device).each(len(z), of_batch)))


def _labels(model: GenerativeModel, batch: Batch) -> Tensor | None:
    return batch.y if model.conditional else None


def as_examples(values: Tensor, spec: DataSpec, mask: Tensor | None = None) -> Tensor:
    """Return decoded values ``[N, *spec.shape]`` as examples: levels rounded, in the data's dtype, and padding."""
    modality = modality_of(spec)
    codec = modality.codec(spec)
    x = codec.nearest(values) if spec.is_discrete and values.is_floating_point() else codec.as_data(values)
    return x if mask is None else x.where(mask, modality.padding(spec))


def errors_of(examples: Batch, values: Tensor, spec: DataSpec, scale: Tensor | None = None) -> dict[str, Tensor]:
    """Return how far decoded values are from examples, of each: by name ``[N]``, float64.

    Of what has an order the root mean square and the largest of the differences, in the data's own units and before any
    rounding; of columns of a table, whose units differ, in standard deviations of each. Of symbols, and of a table's
    categories, the share that is another. What is masked out counts for nothing.

    Args:
        examples: N examples.
        values: ``[N, *spec.shape]``, from ``decode``.
        spec: What one example is.
        scale: Standard deviations ``[D]`` of a table's columns.
    """
    x, mask = examples.x, examples.mask
    if not modality_of(spec).has_order:
        return {"wrong_share": _mean(x != values, mask)}
    numbers = torch.tensor([field.levels is None for field in spec.fields] or [True])
    numbers = numbers.expand(x.flatten(1).shape).reshape(x.shape)
    distances = (values.double() - x.double()).abs()
    if spec.fields and scale is not None:
        distances = distances / scale.double()
    there = numbers if mask is None else numbers & mask
    found = {}
    if numbers.any():
        found["rmse"] = _mean(distances.square(), there).sqrt()
        found["largest"] = distances.where(there, 0).flatten(1).amax(1)
    if not numbers.all():
        found["wrong_share"] = _mean(x != values, ~numbers)
    return found


def deviations(x: Tensor, spec: DataSpec) -> Tensor | None:
    """Return the standard deviations of the columns of a table, by which their errors are divided; else None."""
    return mean_and_deviation(x, smallest=1e-6, correction=0)[1] if spec.fields else None


def unit_of_errors(spec: DataSpec) -> str:
    """Return the unit of what :func:`errors_of` measures, a few words."""
    if spec.fields:
        return "standard deviations of each column"
    if not modality_of(spec).has_order:
        return "shares of symbols"
    return f"levels, of {spec.levels}" if spec.is_discrete else "the data's own units"


def errors_in_words(errors: Mapping[str, float], spec: DataSpec) -> str:
    """Return means of what :func:`errors_of` measures as words, with their unit."""
    said = ", ".join(f"{name.replace('_', ' ')} {mean:.4g}" for name, mean in errors.items())
    return f"{said}, means in {unit_of_errors(spec)}"


def _mean(values: Tensor, there: Tensor | None) -> Tensor:
    values = values.double()
    if there is None:
        return values.flatten(1).mean(1)
    return values.where(there, 0).flatten(1).sum(1) / there.flatten(1).sum(1).clamp_min(1)
