"""In-paint: the rest of an example given a part of it, several times, and how good such completions are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from genlab.core.batch import Batch
from genlab.core.codec import levels_to_unit, mean_and_deviation, one_hot
from genlab.core.contract import Inpainting
from genlab.core.noise import ExampleNoise
from genlab.core.randomness import Stream, stream_seed
from genlab.core.spec import DataSpec
from genlab.measure.batches import BatchSizes
from genlab.modalities import modality_of
from genlab.models.base import GenerativeModel
from genlab.uses.catalogue import require

__all__ = ["Completions", "Estimate", "as_points", "energy_distance", "energy_score", "inpaint", "score_completions"]


@dataclass(frozen=True)
class Completions:
    """Examples whose missing values were drawn.

    Attributes:
        x: The examples ``[N, *spec.shape]``.
        given: Which of their values were given, ``[N, *spec.shape]``, bool.
        drawn: What became of them, ``[K, N, *spec.shape]``.
        kind: How.
    """

    x: Tensor
    given: Tensor
    drawn: Tensor
    kind: Inpainting


@torch.no_grad()
def inpaint(
    model: GenerativeModel, examples: Batch, given: Tensor, each: int = 1, seed: int = 0, rounds: int | None = None
) -> Completions:
    """Fill in what of examples is not given, several times. Given values stay what they are.

    A completion depends on the seed and its place alone, up to rounding. A model that is told labels is told the
    example's own.

    Args:
        model: In eval mode; must be one that :class:`~genlab.core.contract.Inpaints`.
        examples: N examples, on the CPU.
        given: ``[N, *spec.shape]``, bool; what is no part of an example counts as not given.
        each: Completions of each example.
        seed: The same seed draws the same completions.
        rounds: How long an approximate method works; None: as the model says.

    Raises:
        GenlabError: If the model cannot, or the examples are not of its data.
    """
    require("inpaint", model)
    given = given if examples.mask is None else given & examples.mask
    device = model.device

    def completed(number: int) -> Tensor:
        base = stream_seed(Stream.SAMPLES, seed, number)

        def of_batch(start: int, size: int) -> Tensor:
            rows = slice(start, start + size)
            batch, noise = examples.rows(rows).to(device), ExampleNoise(base, start, device)
            labels = batch.y if model.conditional else None
            return model.inpaint(batch.x, given[rows].to(device), labels, noise, rounds=rounds).cpu()

        return torch.cat(list(BatchSizes(None, device).each(len(given), of_batch)))

    drawn = torch.stack([completed(number) for number in range(each)])
    return Completions(examples.x, given, drawn, model.inpainting(given, rounds))


class Estimate(NamedTuple):
    """A mean over examples and its standard error."""

    mean: float
    error: float

    @classmethod
    def of(cls, values: Tensor) -> Estimate:
        """Return that of one number for each example, ``[N]``."""
        error = values.std().item() / math.sqrt(len(values)) if len(values) > 1 else math.nan
        return cls(values.mean().item(), error)

    def __str__(self) -> str:
        return f"{self.mean:.4g} ± {self.error:.2g}"


def score_completions(
    found: Completions, spec: DataSpec, data: Tensor, exact: tuple[Completions, Completions] | None = None
) -> dict[str, Estimate]:
    """Return how good completions are: means over examples, by name.

    ``energy_score`` against what there really was. With exact completions, twice, drawn apart from each other and from
    ``found``: ``energy_distance`` to these, ``energy_distance_of_exact``, which is that of the one to the other and so
    chance alone, and ``energy_score_of_exact``.

    Args:
        found: At least 2 of each example.
        spec: What one example is.
        data: ``[M, *spec.shape]``, the unit of continuous values; see :func:`as_points`.
        exact: Of the same examples, given the same of them.
    """
    points, truth = as_points(found.drawn, spec, data), as_points(found.x, spec, data)
    scores = {"energy_score": energy_score(points, truth)}
    if exact is not None:
        first, second = (as_points(one.drawn, spec, data) for one in exact)
        scores["energy_score_of_exact"] = energy_score(first, truth)
        scores["energy_distance"] = energy_distance(points, first)
        scores["energy_distance_of_exact"] = energy_distance(second, first)
    return {name: Estimate.of(values) for name, values in scores.items()}


def as_points(x: Tensor, spec: DataSpec, data: Tensor) -> Tensor:
    """Return examples ``[..., *spec.shape]`` as points ``[..., D]``, float64, between which distances make sense.

    Levels are scaled to [0, 1]. Of symbols, and of a table's categories, the squared distance is the number of those
    that differ. Continuous values are in standard deviations of ``data [M, *spec.shape]``: of each column of a table
    and each dimension of a vector, of all values together where they have one unit.
    """
    axes = len(spec.shape)
    flat = x.flatten(x.ndim - axes)
    if not modality_of(spec).has_order:
        return (one_hot(flat, spec.levels or 0, torch.float64) / math.sqrt(2)).flatten(-2)
    if spec.is_discrete:
        return levels_to_unit(flat, spec.levels or 2, torch.float64)
    rows = data.double().flatten(1) if axes == 1 else data.double().flatten()[:, None]
    scaled = flat.double() / mean_and_deviation(rows, smallest=1e-6, correction=0)[1]
    parts = [
        one_hot(flat[..., place], field.levels, torch.float64) / math.sqrt(2)
        for place, field in enumerate(spec.fields)
        if field.levels is not None
    ]
    numbers = [place for place, field in enumerate(spec.fields) if field.levels is None]
    return torch.cat([scaled[..., numbers], *parts], -1) if spec.fields else scaled


def energy_distance(a: Tensor, b: Tensor) -> Tensor:
    """Return the energy distance between two distributions for each example, ``[N]``, without bias.

    ``2 E|a - b| - E|a - a'| - E|b - b'|``, zero for equal distributions alone; Szekely and Rizzo (2013), "Energy
    statistics", equation 1. Estimated without bias, so that it may fall below zero.

    Args:
        a: Draws ``[K, N, D]``, K at least 2, of :func:`as_points`.
        b: Draws ``[L, N, D]``, L at least 2.
    """
    return 2 * _between(a, b).mean((1, 2)) - _spread(a) - _spread(b)


def energy_score(drawn: Tensor, x: Tensor) -> Tensor:
    """Return the energy score of draws for each example, ``[N]``: the lower the better, and least for the truth.

    ``E|a - x| - E|a - a'| / 2``; Gneiting and Raftery (2007), "Strictly proper scoring rules", equation 21.

    Args:
        drawn: ``[K, N, D]``, K at least 2, of :func:`as_points`.
        x: What there really was, ``[N, D]``.
    """
    return _between(drawn, x[None]).mean((1, 2)) - _spread(drawn) / 2


def _between(a: Tensor, b: Tensor) -> Tensor:
    return torch.cdist(a.transpose(0, 1), b.transpose(0, 1), compute_mode="donot_use_mm_for_euclid_dist")


def _spread(a: Tensor) -> Tensor:
    """Mean distance of two different draws, ``[N]``."""
    return _between(a, a).sum((1, 2)) / (len(a) * (len(a) - 1))
