"""The evaluation protocol: one function from a model and its data to the figures of one result."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from genlab.core.batch import Batch
from genlab.core.contract import Samples, Scores
from genlab.core.likelihood import bits_per_dim
from genlab.core.negative_log_likelihood import NegativeLogLikelihood
from genlab.core.randomness import Stream, generator
from genlab.measure.protocol import EvaluationProtocol

__all__ = ["Drawn", "draw_samples", "evaluate_likelihood", "evaluate_sampling", "full_float32"]


@torch.no_grad()
def evaluate_likelihood(model: Scores, data: Batch, protocol: EvaluationProtocol) -> dict[str, Any] | None:
    """Measure the negative log-likelihood in float32 or better.

    Args:
        model: In eval mode; its parameters' device is used.
        data: A whole split.
        protocol: How many examples and draws.

    Returns:
        The ``likelihood`` section of a result, or None for a model without one.
    """
    if not model.has_likelihood:
        return None
    with full_float32():
        return _measure_likelihood(model, data, protocol)


@contextmanager
def full_float32() -> Iterator[None]:
    """Keep a GPU from rounding float32 products to TensorFloat-32, so that every device gives the same figures."""
    matmul, convolution = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = matmul, convolution


def _measure_likelihood(model: Scores, data: Batch, protocol: EvaluationProtocol) -> dict[str, Any]:
    kind = model.likelihood_kind(protocol.num_draws)
    # Bounds of several draws stand beside that of one, e.g. the ELBO, which costs little more. A figure that says
    # nothing of draws does not use them.
    draws = [1] if kind == model.likelihood_kind(1) else [protocol.num_draws, 1]
    metrics = {count: NegativeLogLikelihood().to(model.device) for count in draws}
    data = _drawn(data, protocol, model.likelihood_examples)
    examples = len(data.x)
    for start in range(0, examples, protocol.batch_size):
        rows = slice(start, min(start + protocol.batch_size, examples))
        noise = generator(Stream.LIKELIHOOD, protocol.seed, start, device=model.device)
        x = data.x[rows].to(model.device)
        y = None if data.y is None else data.y[rows].to(model.device)
        for count, metric in metrics.items():
            metric.update(model.log_prob(x, y, num_draws=count, generator=noise))
    measured = {
        **_figures(model, metrics[draws[0]], kind),
        "of": "p(x|y)" if model.conditional else "p(x)",
        "examples": examples,
        "draws": draws[0],
        **model.likelihood_settings,
    }
    return measured | ({"one_draw": _figures(model, metrics[1], model.likelihood_kind(1))} if len(draws) > 1 else {})


def _drawn(data: Batch, protocol: EvaluationProtocol, affordable: int | None) -> Batch:
    """The examples to measure: all, or some by chance, because the order of a set may be by difficulty."""
    count = min(limit for limit in (len(data.x), protocol.max_examples, affordable) if limit is not None)
    if count == len(data.x):
        return data
    order = torch.randperm(len(data.x), generator=generator(Stream.LIKELIHOOD, protocol.seed))
    rows = order[:count].sort().values
    return data.rows(rows)


def _figures(model: Scores, metric: NegativeLogLikelihood, kind: str) -> dict[str, Any]:
    nats, error, dims = float(metric.compute()), metric.standard_error(), model.spec.num_dims
    discrete = model.spec.is_discrete
    return {
        "bits_per_dim": float(bits_per_dim(torch.tensor(-nats, dtype=torch.float64), dims)) if discrete else None,
        "bits_per_dim_se": error / (dims * math.log(2)) if discrete else None,
        "nats": nats,
        "nats_se": error,
        "kind": kind,
    }


class Drawn(NamedTuple):
    """The samples of a protocol.

    Attributes:
        samples: ``[N, *spec.shape]``, on the CPU.
        labels: ``[N]``, int64, on the CPU: the classes that they were drawn for, or None where none were asked for.
        ms_per_sample: Milliseconds that one cost.
    """

    samples: Tensor
    labels: Tensor | None
    ms_per_sample: float


@torch.no_grad()
def draw_samples(model: Samples, protocol: EvaluationProtocol) -> Drawn:
    """Draw the protocol's samples, with their labels where the protocol needs them and the model takes them."""
    samples: list[Tensor] = []
    labels: list[Tensor] = []
    labelled = protocol.classification_accuracy and model.conditional
    model.sample(1, generator=generator(Stream.SAMPLES, protocol.seed, device=model.device))  # warms up, untimed
    started = time.perf_counter()
    for start in range(0, protocol.num_samples, protocol.batch_size):
        count = min(protocol.batch_size, protocol.num_samples - start)
        noise = generator(Stream.SAMPLES, protocol.seed, start, device=model.device)
        y = None
        if labelled:
            y = torch.randint(model.spec.num_classes or 1, (count,), generator=noise, device=model.device)
            labels.append(y.cpu())
        samples.append(model.sample(count, y, generator=noise).cpu())
    milliseconds = 1000 * (time.perf_counter() - started)
    return Drawn(torch.cat(samples), torch.cat(labels) if labels else None, milliseconds / protocol.num_samples)


def evaluate_sampling(model: Samples, protocol: EvaluationProtocol, ms_per_sample: float) -> dict[str, Any]:
    """Return the ``sampling`` section of a result."""
    batch_size = min(protocol.batch_size, protocol.num_samples)
    return {"nfe": model.nfe, "ms_per_sample": ms_per_sample, "batch_size": batch_size} | model.sampling_settings
