"""The likelihood of a protocol: of which examples, with how many draws, how sure."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genlab.core.batch import Batch
from genlab.core.contract import Scores, UsesLatents
from genlab.core.hardware import full_float32
from genlab.core.likelihood import active_units
from genlab.core.negative_log_likelihood import NegativeLogLikelihood
from genlab.core.noise import ExampleNoise
from genlab.core.randomness import Stream, generator, stream_seed
from genlab.core.timetable import Timetable
from genlab.measure.batches import BatchSizes
from genlab.measure.protocol import EvaluationProtocol
from genlab.measure.sliding import sliding_log_probs

__all__ = ["count_examples", "measure_likelihood"]

MOST_ENCODED = 1000
"""Examples of which it is measured what latents tell of them."""


@torch.no_grad()
def measure_likelihood(
    model: Scores, data: Batch, protocol: EvaluationProtocol, timetable: Timetable | None = None
) -> dict[str, Any] | None:
    """Measure the negative log-likelihood in float32 or better.

    Args:
        model: In eval mode; its parameters' device is used.
        data: A whole split.
        protocol: How many examples and draws.
        timetable: Is told how far it is.

    Returns:
        The ``likelihood`` section of a result, or None for a model without one.
    """
    if not model.has_likelihood:
        return None
    with full_float32():
        return _in_full_precision(model, data, protocol, timetable or Timetable())


def _in_full_precision(
    model: Scores, data: Batch, protocol: EvaluationProtocol, timetable: Timetable
) -> dict[str, Any]:
    kind = model.likelihood_kind(protocol.num_draws)
    # Bounds of several draws stand beside that of one, e.g. the ELBO, which costs little more. A figure that says
    # nothing of draws does not use them.
    draws = [1] if kind == model.likelihood_kind(1) else [protocol.num_draws, 1]
    metrics = {count: NegativeLogLikelihood().to(model.device) for count in draws}
    for metric in metrics.values():  # the other processes of a training, if there are any, do not measure
        metric.distributed_available_fn = lambda: False
    examples = count_examples(model, data, protocol)
    rows = _drawn(len(data.x), protocol, examples)
    if protocol.stride is not None:
        with timetable.phase("likelihood", examples, counts=True):
            found = sliding_log_probs(model, data.x, protocol.stride, rows, protocol.batch_size, timetable)
        metrics[draws[0]].update(found.to(model.device, torch.float32), data.dims)
        return _measured(model, metrics, kind, examples) | {"stride": protocol.stride}
    data = data if examples == len(data.x) else data.rows(rows)
    base, device = stream_seed(Stream.LIKELIHOOD, protocol.seed), model.device

    def score(start: int, size: int) -> tuple[list[Tensor], Tensor | int]:
        noise, batch = ExampleNoise(base, start, device), data.rows(slice(start, start + size)).to(device)
        scores = [
            model.log_prob(batch.x, batch.y, mask=batch.mask, num_draws=count, generator=noise) for count in draws
        ]
        return scores, batch.dims

    with timetable.phase("likelihood", examples, counts=True):
        for scores, dims in BatchSizes(protocol.batch_size, device).each(examples, score):
            for metric, log_prob in zip(metrics.values(), scores, strict=True):
                metric.update(log_prob, dims)
            timetable.advance(len(scores[0]))
    return _measured(model, metrics, kind, examples) | _latents(model, data, protocol)


def _latents(model: Scores, data: Batch, protocol: EvaluationProtocol) -> dict[str, Any]:
    """What the latents of a model tell of the data, if it has any."""
    if not isinstance(model, UsesLatents):
        return {}
    base, device = stream_seed(Stream.LIKELIHOOD, protocol.seed, 1), model.device
    some = data.rows(_drawn(len(data.x), protocol, min(MOST_ENCODED, len(data.x))))

    def encode(start: int, size: int) -> tuple[Tensor, Tensor]:
        batch = some.rows(slice(start, start + size)).to(device)
        return model.latent_use(batch.x, mask=batch.mask, generator=ExampleNoise(base, start, device))

    found = BatchSizes(protocol.batch_size, device).each(len(some.x), encode)
    divergence, places = (torch.cat(parts) for parts in zip(*found, strict=True))
    return {
        "latents": {
            "kl_nats": float(divergence.double().mean()),
            "active_units": int(active_units(places)),
            "units": places.shape[1],
            "examples": len(places),
        }
    }


def _measured(model: Scores, metrics: dict[int, NegativeLogLikelihood], kind: str, examples: int) -> dict[str, Any]:
    """The section of a result, of the metrics by their numbers of draws; the first one is the figure."""
    draws = next(iter(metrics))
    measured = {
        **_figures(model, metrics[draws], kind),
        "of": "p(x|y)" if model.conditional else "p(x)",
        "examples": examples,
        "draws": draws,
        **model.likelihood_settings,
    }
    return measured | ({"one_draw": _figures(model, metrics[1], model.likelihood_kind(1))} if len(metrics) > 1 else {})


def count_examples(model: Scores, data: Batch, protocol: EvaluationProtocol) -> int:
    """Return the number of examples whose likelihood is measured."""
    limits = (len(data.x), protocol.max_examples, model.likelihood_examples)
    return min(limit for limit in limits if limit is not None)


def _drawn(all_examples: int, protocol: EvaluationProtocol, count: int) -> Tensor:
    """The examples to measure: all, or some by chance, because the order of a set may be by difficulty."""
    if count == all_examples:
        return torch.arange(all_examples)
    order = torch.randperm(all_examples, generator=generator(Stream.LIKELIHOOD, protocol.seed))
    return order[:count].sort().values


def _figures(model: Scores, metric: NegativeLogLikelihood, kind: str) -> dict[str, Any]:
    discrete = model.spec.is_discrete
    return {
        "bits_per_dim": float(metric.bits_per_dim()) if discrete else None,
        "bits_per_dim_se": metric.bits_per_dim_standard_error() if discrete else None,
        "nats": float(metric.compute()),
        "nats_se": metric.standard_error(),
        "kind": kind,
    }
