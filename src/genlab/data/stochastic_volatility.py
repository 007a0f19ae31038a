"""Returns with stochastic volatility, whose stylized facts are known in closed form."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Unpack, get_args

import numpy as np
import torch
from annotated_types import Ge, Le
from torch import Tensor

from genlab.core.batch import Batch
from genlab.core.errors import GenlabError
from genlab.core.spec import DataSpec
from genlab.core.stylized_facts import lags_of
from genlab.data.base import GenlabDataModule, LoaderOptions, Split
from genlab.data.series import WindowSteps

__all__ = ["LEVERAGE", "PERSISTENCE", "VOLATILITY", "StochasticVolatility", "draw_returns"]

PERSISTENCE = 0.95
"""Autoregression phi of the log-variance from one step to the next."""
VOLATILITY = 0.26
"""Standard deviation sigma of what a step adds to the log-variance; both are typical of daily returns: Jacquier, Polson
and Rossi (1994), "Bayesian analysis of stochastic volatility models"."""
LEVERAGE = -0.5
"""Correlation rho of a return's noise with what the next step adds to the log-variance."""

_VARIANCE = VOLATILITY**2 / (1 - PERSISTENCE**2)
"""Variance of the log-variance."""
_EVALUATION_SIZE = 5_000


class StochasticVolatility(GenlabDataModule):
    """Windows of returns with stochastic volatility and leverage, float32 ``[N, 1, length]``.

    Validation and test have 5,000 windows each.

    r_t = exp(h_t / 2) e_t and h_{t+1} = phi h_t + sigma n_{t+1}, e and n standard normal with the correlation rho
    between e_t and n_{t+1}: Harvey and Shephard (1996), "Estimation of an asymmetric stochastic volatility model for
    asset returns". Each window begins in the stationary distribution, so that windows are independent. The windows do
    not depend on ``seed``, which orders the training batches only. Nothing is read from ``root``.

    The other arguments are those of :class:`LoaderOptions`.

    Args:
        root: As for all data sets; not used.
        length: Steps of a window.
        train_size: Number of training windows.

    Raises:
        GenlabError: If an argument is out of its range.
    """

    licence = "none: it is drawn from a formula"

    def __init__(
        self,
        root: str | Path = "data",
        *,
        length: WindowSteps = 32,
        train_size: Annotated[int, Ge(1), Le(10_000_000)] = 20_000,
        **loader: Unpack[LoaderOptions],
    ) -> None:
        super().__init__(root, **loader)
        if length < 2 or train_size < 1:
            raise GenlabError(
                f"data.length is {length} and data.train_size {train_size}, expected at least 2 and at least 1."
            )
        self.length = length
        self.train_size = train_size
        self.spec = DataSpec(f"stochastic_volatility_{length}", "series", (1, length), columns=("return",))

    def load(self, split: Split) -> dict[Split, Batch]:
        size = self.train_size if split == "train" else _EVALUATION_SIZE
        # RandomState, because NumPy promises never to change its streams: the data must be the same everywhere.
        random = np.random.RandomState(get_args(Split).index(split))
        return {split: Batch(torch.from_numpy(draw_returns(size, self.length, random)).float()[:, None])}

    def true_facts(self) -> dict[str, Tensor]:
        """Return the stylized facts of the distribution in closed form, by the names of
        :data:`genlab.core.stylized_facts.FACTS`.

        Returns:
            ``[K]`` of what has lags, a scalar of the kurtosis, float64. Not the tail index: the tails fall faster than
            any power, so that there is none.
        """
        # With s the variance of h, E exp(a h) = exp(a^2 s / 2). Of h_{t+k} the part a e_t, a = sigma rho phi^(k - 1),
        # is known with e_t, and phi^k h_t with h_t; what is left is independent of both.
        s, lags = _VARIANCE, torch.arange(1, lags_of(self.length) + 1, dtype=torch.float64)
        phi, a = PERSISTENCE**lags, VOLATILITY * LEVERAGE * PERSISTENCE ** (lags - 1)
        variance, kurtosis, size = math.exp(s / 2), 3 * math.exp(s), math.sqrt(2 / math.pi) * math.exp(s / 8)
        deviation_of_square = variance * math.sqrt(kurtosis - 1)
        sizes = math.sqrt(2 / math.pi) * _folded_mean(a / 2) * torch.exp(s * (1 + phi) / 4)
        squares = (1 + a.square()) * torch.exp(s * (1 + phi))
        return {
            "autocorrelation": torch.zeros_like(lags),
            "autocorrelation_abs": (sizes - size**2) / (variance - size**2),
            "autocorrelation_squared": (squares - variance**2) / deviation_of_square**2,
            "leverage": a * torch.exp(s * (1.25 + phi) / 2) / (math.sqrt(variance) * deviation_of_square),
            "kurtosis": torch.tensor(kurtosis, dtype=torch.float64),
        }


def _folded_mean(mean: Tensor) -> Tensor:
    """Return E |e + mean| for a standard normal e."""
    return math.sqrt(2 / math.pi) * torch.exp(-mean.square() / 2) + mean * torch.erf(mean / math.sqrt(2))


def draw_returns(windows: int, length: int, random: np.random.RandomState) -> np.ndarray:
    """Draw independent windows of returns ``[windows, length]``."""
    returns = np.empty((windows, length))
    log_variance = math.sqrt(_VARIANCE) * random.standard_normal(windows)
    for step in range(length):
        noise, other = random.standard_normal((2, windows))
        returns[:, step] = np.exp(log_variance / 2) * noise
        pushed = LEVERAGE * noise + math.sqrt(1 - LEVERAGE**2) * other
        log_variance = PERSISTENCE * log_variance + VOLATILITY * pushed
    return returns
