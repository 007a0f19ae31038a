"""A transformer that says what stands behind the masks of a sequence, from all that is not masked."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genlab.core.errors import GenlabError
from genlab.networks.blocks.attention import attention
from genlab.networks.blocks.rotary import RotaryPositions

__all__ = ["UnmaskingTransformer"]


class _Block(nn.Module):
    """Attention between all places and a perceptron, each after a normalization and beside a residual connection."""

    def __init__(self, hidden: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(hidden)
        self.enter = nn.Linear(hidden, 3 * hidden)
        self.leave = nn.Linear(hidden, hidden)
        self.norm_perceptron = nn.LayerNorm(hidden)
        self.perceptron = nn.Sequential(nn.Linear(hidden, 4 * hidden), nn.GELU(), nn.Linear(4 * hidden, hidden))
        self.dropout = nn.Dropout(dropout)

    def forward(self, h: Tensor, positions: RotaryPositions) -> Tensor:
        query, key, value = self.enter(self.norm_attention(h)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        seen = attention(positions(query), positions(key), value)
        h = h + self.dropout(self.leave(seen.transpose(1, 2).flatten(2)))
        return h + self.dropout(self.perceptron(self.norm_perceptron(h)))


class UnmaskingTransformer(nn.Module):
    """Logits of the symbol at each place, given those places that are not masked.

    It is not told how much is masked: that it sees, and the best prediction does not depend on it otherwise; Ou et al.
    (2024), "Your absorbing discrete diffusion secretly models the conditional distributions of clean data", theorem 1.

    Args:
        symbols: Number of symbols K.
        length: Places T of a sequence.
        num_classes: Labels that the network is given, or 0.
        hidden: Width of the residual stream, a multiple of twice ``heads``.
        layers: Number of blocks.
        heads: Attention heads of a block.
        dropout: Probability that a feature of a block is dropped in training.

    Raises:
        GenlabError: If ``hidden`` is not a multiple of twice ``heads``.
    """

    def __init__(
        self,
        symbols: int,
        length: int,
        num_classes: int,
        *,
        hidden: int,
        layers: int,
        heads: int,
        dropout: float,
    ) -> None:
        super().__init__()
        if hidden % (2 * heads):
            raise GenlabError(
                f"hidden is {hidden} and heads {heads}, expected a multiple of {2 * heads}: use hidden={heads * 32}."
            )
        self.mask = symbols
        self.table = nn.Embedding(symbols + 1, hidden)
        self.label = nn.Embedding(num_classes, hidden) if num_classes else None
        self.positions = RotaryPositions(hidden // heads, length)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(_Block(hidden, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(hidden)
        self.head = nn.Linear(hidden, symbols)
        self._initialize(layers)

    def _initialize(self, layers: int) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)
        # Each block adds two terms to the stream: scaled so that its variance does not grow with the depth.
        for block in self.blocks:
            for leave in (block.leave, block.perceptron[-1]):
                nn.init.normal_(leave.weight, std=0.02 * (2 * layers) ** -0.5)
        nn.init.zeros_(self.head.weight)

    def forward(self, x: Tensor, masked: Tensor, y: Tensor | None = None) -> Tensor:
        """Return logits ``[N, T, K]``.

        Args:
            x: Symbols ``[N, T]``, int64; what stands where ``masked`` is true does not matter.
            masked: ``[N, T]``, bool.
            y: Labels ``[N]`` if the network has classes.
        """
        h = self.table(torch.where(masked, self.mask, x))
        if self.label is not None:
            h = h + self.label(y)[:, None]
        h = self.dropout(h)
        for block in self.blocks:
            h = block(h, self.positions)
        return self.head(self.norm(h))
