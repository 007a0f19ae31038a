"""Discriminative and predictive score: what small recurrent networks make of samples of series."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from genlab.core.codec import mean_and_deviation
from genlab.core.schedules import WarmupCosine
from genlab.measure.metrics.rows import require_examples

__all__ = ["MOST_STEPS", "REPEATS", "SeriesScore", "discriminative_score", "predictive_score", "scale_of"]

REPEATS = 5
"""Networks trained for one score."""
MOST_STEPS = 128
"""Steps of a window, from its beginning, that the networks see: their time grows with it."""
MOST_TESTED = 5_000
"""Windows of a kind, drawn with replacement, on which a network is tested, at most."""
STEPS = 400
BATCH = 128
HIDDEN = 24
PEAK_RATE = 1e-2
_LARGEST_GRADIENT = 1.0
_FEWEST = 10


class SeriesScore(NamedTuple):
    """A score and how far it varies by chance.

    Attributes:
        mean: Over the repeats.
        error: Deviation over the repeats, each of which has weights, an order and a resample of the tested windows of
            its own. A mean over repeats averages a part of that away, so this is rather too large than too small.
    """

    mean: float
    error: float


class _Reader(nn.Module):
    """A layer of gated recurrent units, and at each step a linear map of its state."""

    def __init__(self, columns: int, outputs: int) -> None:
        super().__init__()
        self.recurrent = nn.GRU(columns, HIDDEN, batch_first=True)
        self.leave = nn.Linear(HIDDEN, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, C, T]`` to ``[N, T, outputs]``."""
        return self.leave(self.recurrent(x.transpose(1, 2))[0])


def scale_of(windows: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation ``[C, 1]`` of each column, by which all windows of a comparison are scaled."""
    mean, deviation = mean_and_deviation(windows.double(), (0, 2), smallest=1e-12)
    return mean[:, None], deviation[:, None]


def discriminative_score(
    real: Tensor, fake: Tensor, real_test: Tensor, fake_test: Tensor, scale: tuple[Tensor, Tensor]
) -> SeriesScore:
    """Return how much better than chance a recurrent network tells samples from real windows: 0 is best, 0.5 worst.

    Yoon, Jarrett and van der Schaar (2019), "Time-series Generative Adversarial Networks", section 5.1:
    abs(accuracy - 0.5) of a classifier trained after the fact, on windows that it was not trained on. Its accuracy is
    the mean of those on real windows and on samples, so that their numbers may differ. It reads a window step by step
    and judges at the last one. The recipe is fixed: 400 steps of 128 windows, half of them real, with Adam.

    Args:
        real: Real windows ``[N, C, T]`` to train on.
        fake: Samples ``[M, C, T]`` to train on.
        real_test: Real windows to be told from samples.
        fake_test: Samples to be told from real windows.
        scale: From :func:`scale_of`.

    Raises:
        MetricError: If any of them are fewer than 10.
    """
    parts = _scaled({"real": real, "generated": fake, "real test": real_test, "generated test": fake_test}, scale)
    real, fake, real_test, fake_test = parts

    def loss(network: _Reader, source: Generator) -> Tensor:
        half = BATCH // 2
        x = torch.cat([_drawn(real, half, source), _drawn(fake, half, source)])
        is_real = (torch.arange(2 * half) < half).float()
        return F.binary_cross_entropy_with_logits(network(x)[:, -1, 0], is_real)

    def score(network: _Reader, source: Generator) -> float:
        right = [
            float((sign * network(_tested(x, source))[:, -1, 0] > 0).double().mean())
            for sign, x in ((1, real_test), (-1, fake_test))
        ]
        return abs(sum(right) / 2 - 0.5)

    return _repeated(lambda: _Reader(real.shape[1], 1), loss, score)


def predictive_score(train: Tensor, test: Tensor, scale: tuple[Tensor, Tensor]) -> SeriesScore:
    """Return the mean absolute error, in standard deviations, of a recurrent network that predicts the next step.

    Yoon et al. (2019), section 5.1: trained on samples, tested on real windows. Trained on real ones instead, it says
    what to compare that with. Of returns, which hardly depend on those before, all scores are near E abs(r).

    Args:
        train: Windows ``[N, C, T]`` to train on, T at least 2.
        test: Real windows ``[M, C, T]``.
        scale: From :func:`scale_of`.

    Raises:
        MetricError: If either are fewer than 10.
    """
    train, test = _scaled({"training": train, "real test": test}, scale)

    def errors(network: _Reader, x: Tensor) -> Tensor:
        return (network(x[..., :-1]).transpose(1, 2) - x[..., 1:]).abs()

    return _repeated(
        lambda: _Reader(train.shape[1], train.shape[1]),
        lambda network, source: errors(network, _drawn(train, BATCH, source)).mean(),
        lambda network, source: float(errors(network, _tested(test, source)).double().mean()),
    )


def _scaled(windows: dict[str, Tensor], scale: tuple[Tensor, Tensor]) -> list[Tensor]:
    mean, deviation = scale
    for name, x in windows.items():
        require_examples(name, len(x), _FEWEST)
    return [((x[..., :MOST_STEPS].double() - mean) / deviation).float() for x in windows.values()]


def _drawn(x: Tensor, count: int, source: Generator) -> Tensor:
    """Draw so many windows with replacement."""
    return x[torch.randint(len(x), (count,), generator=source)]


def _tested(x: Tensor, source: Generator) -> Tensor:
    return _drawn(x, min(len(x), MOST_TESTED), source)


def _repeated(
    make: Callable[[], _Reader],
    loss: Callable[[_Reader, Generator], Tensor],
    score: Callable[[_Reader, Generator], float],
) -> SeriesScore:
    """Train networks of different weights and orders, and score each on a resample of what it is tested on."""
    schedule, scores = WarmupCosine(warmup=0.1), []
    for repeat in range(REPEATS):
        source = Generator().manual_seed(repeat)
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(repeat)
            network = make()
            optimizer = torch.optim.Adam(network.parameters())
            for step in range(STEPS):
                optimizer.param_groups[0]["lr"] = PEAK_RATE * schedule(step / STEPS)
                optimizer.zero_grad()
                loss(network, source).backward()
                nn.utils.clip_grad_norm_(network.parameters(), _LARGEST_GRADIENT)
                optimizer.step()
        with torch.no_grad():
            scores.append(score(network, source))
    found = torch.tensor(scores, dtype=torch.float64)
    return SeriesScore(float(found.mean()), float(found.std()))
