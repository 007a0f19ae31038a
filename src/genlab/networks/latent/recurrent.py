"""Encoder and decoder of sequences of symbols: recurrent networks with gated units (GRU)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genlab.core.replaying import replayed
from genlab.networks.causal.base import Steps

__all__ = ["RecurrentDecoder", "RecurrentEncoder"]


class RecurrentEncoder(nn.Module):
    """Bidirectional GRU, whose states are averaged over the places of a sequence.

    Args:
        symbols: Number of symbols K.
        embedding: Features of a symbol.
        hidden: Features of the state of each direction.
        outputs: Width of the output.
    """

    def __init__(self, symbols: int, *, embedding: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.enter = nn.Linear(symbols, embedding, bias=False)
        nn.init.normal_(self.enter.weight)  # a symbol is one column, as in an embedding
        self.recurrent = nn.GRU(embedding, hidden, batch_first=True, bidirectional=True)
        self.leave = nn.Linear(2 * hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map one-hot symbols, or mixtures of them, ``[N, T, K]`` to ``[N, outputs]``."""
        states, _ = self.recurrent(self.enter(x))
        return self.leave(states.mean(1))


class RecurrentDecoder(nn.Module):
    """GRU that predicts each symbol from those before it and from latents; Bowman et al. (2016), section 2.

    The latents are the first state and are seen again at every place, so that they need not be remembered. In training
    a share of the symbols that it is shown is replaced by one that says nothing, and what these would have said must
    come from the latents (section 3.1 there); nothing is replaced in evaluation.

    Args:
        inputs: Width of the latents.
        symbols: Number of symbols K.
        length: Places T of a sequence.
        embedding: Features of a symbol.
        hidden: Features of the state.
        num_params: Parameters P of each symbol's distribution.
        word_dropout: Probability that a symbol is not shown in training.
    """

    def __init__(
        self,
        inputs: int,
        symbols: int,
        length: int,
        *,
        embedding: int,
        hidden: int,
        num_params: int,
        word_dropout: float,
    ) -> None:
        super().__init__()
        self.symbols = symbols
        self.length = length
        self.word_dropout = word_dropout
        self.start, self.hidden_symbol = symbols, symbols + 1
        self.table = nn.Embedding(symbols + 2, embedding)
        self.first = nn.Linear(inputs, hidden)
        self.latents = nn.Linear(inputs, embedding)
        self.recurrent = nn.GRU(embedding, hidden, batch_first=True)
        self.leave = nn.Linear(hidden, num_params)

    def forward(self, z: Tensor, x: Tensor) -> Tensor:
        """Return the parameters ``[N, P, T]`` of symbols ``x [N, T]`` given latents ``z [N, inputs]``.

        Those of a symbol depend on the latents and on the symbols before it alone.
        """
        shown = x[:, :-1]
        if self.training and self.word_dropout > 0:
            dropped = torch.rand(shown.shape, device=x.device) < self.word_dropout
            shown = torch.where(dropped, self.hidden_symbol, shown)
        before = torch.cat([torch.full_like(x[:, :1], self.start), shown], dim=1)
        entered = self.table(before) + self.latents(z)[:, None]
        states, _ = self.recurrent(entered, torch.tanh(self.first(z))[None].to(entered.dtype))
        return self.leave(states).transpose(1, 2)

    def steps(self, z: Tensor) -> Steps:
        """Yield the parameters ``[N, P]`` of each symbol in turn, being sent the symbols ``[N]`` that are chosen."""
        state, latents = torch.tanh(self.first(z)), self.latents(z)
        step = replayed(self._step, z.device, self.length, "the steps of the recurrent decoder")
        value = z.new_full((len(z),), self.start, dtype=torch.int64)
        for _ in range(self.length):
            params, state = step(value, state, latents)
            value = yield params

    def _step(self, value: Tensor, state: Tensor, latents: Tensor) -> tuple[Tensor, Tensor]:
        gru = self.recurrent
        weights = (gru.weight_ih_l0, gru.weight_hh_l0, gru.bias_ih_l0, gru.bias_hh_l0)
        state = torch.gru_cell(self.table(value) + latents, state, *weights)
        return self.leave(state), state
