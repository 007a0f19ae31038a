"""Traverse: one latent at a time is changed, the most important first, to see what it stands for."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from genlab.core.batch import Batch
from genlab.core.noise import normal
from genlab.modalities.base import Places
from genlab.models.base import GenerativeModel
from genlab.uses.catalogue import require
from genlab.uses.codes import as_examples, decode, encode

__all__ = ["Traversal", "importance", "traverse"]

_EXAMPLES, _PROBES = 8, 16
"""Of the estimate of slopes."""


@dataclass(frozen=True)
class Traversal:
    """What becomes of an example as single latents change.

    Attributes:
        latents: Numbers of the latents, the most important first.
        importance: Of each of them, see :func:`importance`.
        measure: What that is, a few words.
        z: Values ``[L, steps]`` that each takes.
        x: What they decode to, ``[L, steps, *spec.shape]``, as examples.
        kind: How codes are found; a few words.
        shares: The steps, in standard deviations of a latent over the examples from its mean.
    """

    latents: list[int]
    importance: list[float]
    measure: str
    z: Tensor
    x: Tensor
    kind: str
    shares: list[float]

    @property
    def rows(self) -> dict[str, Tensor]:
        """Rows of a picture, one for each latent."""
        return {f"latent {latent}": x for latent, x in zip(self.latents, self.x, strict=True)}

    @property
    def places(self) -> Places:
        """What stands below the steps of a picture."""
        return Places(
            "latent, in standard deviations from its mean", [f"{share:+.3g}" if share else "0" for share in self.shares]
        )


def traverse(
    model: GenerativeModel, example: Batch, others: Batch, latents: int, steps: int, reach: float
) -> Traversal:
    """Change the most important latents of an example, one at a time.

    Args:
        model: In eval mode; must be one that :class:`~genlab.core.contract.Encodes`.
        example: One example, on the CPU.
        others: Examples whose codes say how much each latent varies, and how important it is.
        latents: How many latents, or all if there are no more.
        steps: Values of each, evenly spaced.
        reach: Standard deviations of a latent over the examples by which it goes from its mean to either side.

    Raises:
        GenlabError: If the model has no codes, or the examples are not of its data.
    """
    require("traverse", model)
    codes, code = encode(model, others), encode(model, example)[0]
    weight, measure = importance(model, codes, others)
    chosen = weight.argsort(descending=True, stable=True)[:latents]
    mean, deviation = codes.mean(0), codes.std(0, correction=0)
    shares = torch.linspace(-reach, reach, steps)
    values = mean[chosen, None] + shares * deviation[chosen, None]
    z = code.repeat(len(chosen), steps, 1)
    z.scatter_(2, chosen.view(-1, 1, 1).expand(-1, steps, 1), values[..., None])
    like = example.rows(torch.zeros(len(chosen) * steps, dtype=torch.int64))
    x = as_examples(decode(model, z.flatten(0, 1), like), model.spec, like.mask)
    x = x.unflatten(0, (len(chosen), steps))
    return Traversal(
        chosen.tolist(), weight[chosen].tolist(), measure, values, x, model.encoding_kind(), shares.tolist()
    )


def importance(model: GenerativeModel, codes: Tensor, examples: Batch) -> tuple[Tensor, str]:
    """Return how much of the data's variance each latent accounts for, ``[Z]``, float64, and what that is in words.

    It is the latent's variance over examples times the squared slope of all decoded values along it: to first order,
    the variance of the decoded data that is due to it. The slopes are estimated without bias: for standard normal v
    the square of an element of J^T v has the expectation of a column's squared length. Where decoding has no
    derivative, as of symbols and of an ODE that is solved without one, it is the variance alone.

    Args:
        model: Decodes.
        codes: ``[N, Z]``, of the examples.
        examples: On the CPU.
    """
    variance = codes.double().var(0, correction=0)
    noise, total = torch.Generator().manual_seed(0), torch.zeros_like(variance)
    count = min(_EXAMPLES, len(codes))
    for row in range(count):
        one = examples.rows(slice(row, row + 1)).to(model.device)
        with torch.enable_grad():
            z = codes[row : row + 1].to(model.device).requires_grad_()
            values = model.decode(z, one.y if model.conditional else None, mask=one.mask)
        if not values.requires_grad:
            return variance, "variance of its code"
        for probe in range(_PROBES):
            v = normal(values.shape, noise, torch.device("cpu")).to(values)
            v = v if one.mask is None else v.where(one.mask, 0)
            (slope,) = torch.autograd.grad(values, z, v, retain_graph=probe < _PROBES - 1)
            total += slope[0].double().cpu().square()
    return variance * total / (count * _PROBES), "variance of its code times the squared slope of the data along it"
