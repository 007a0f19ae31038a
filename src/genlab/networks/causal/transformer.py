"""Causal transformer over the values of an example."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genlab.core.errors import GenlabError
from genlab.core.replaying import Place, Places, places, replayed
from genlab.core.spec import DataSpec
from genlab.networks.blocks.attention import attention
from genlab.networks.blocks.columns import Columns
from genlab.networks.blocks.rotary import RotaryPositions
from genlab.networks.causal.base import CausalNetwork, ChannelHead, Steps

__all__ = ["CausalTransformer"]


class _Block(nn.Module):
    """Attention and a perceptron, each after a normalization and beside a residual connection."""

    def __init__(self, hidden: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = nn.Dropout(dropout)
        self.norm_attention = nn.LayerNorm(hidden)
        self.enter = nn.Linear(hidden, 3 * hidden)
        self.leave = nn.Linear(hidden, hidden)
        self.norm_perceptron = nn.LayerNorm(hidden)
        self.perceptron = nn.Sequential(nn.Linear(hidden, 4 * hidden), nn.GELU(), nn.Linear(4 * hidden, hidden))

    def project(self, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values ``[N, heads, T, hidden / heads]`` of the stream ``[N, T, hidden]``."""
        n, length, hidden = h.shape
        split = self.enter(self.norm_attention(h)).view(n, length, 3, self.heads, hidden // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        return query, key, value

    def after(self, h: Tensor, seen: Tensor) -> Tensor:
        """Return the stream after the block, given what attention saw, ``[N, heads, T, hidden / heads]``."""
        h = h + self.dropout(self.leave(seen.transpose(1, 2).flatten(2)))
        return h + self.dropout(self.perceptron(self.norm_perceptron(h)))

    def forward(self, h: Tensor, positions: RotaryPositions | None) -> Tensor:
        query, key, value = self.project(h)
        if positions is not None:
            query, key = positions(query), positions(key)
        return self.after(h, attention(query, key, value, causal=True))


class _ColumnTokens(nn.Module):
    """A vector for each category of a table's columns, and one for each column of numbers, times the number.

    Gorishniy et al. (2021), "Revisiting deep learning models for tabular data", section 3.3; the bias of a column is
    the code of its place.
    """

    starts: Tensor

    def __init__(self, columns: Columns, hidden: int) -> None:
        super().__init__()
        # A plain tuple: they are part of the model's state, and not of the network's too.
        self._columns = (columns,)
        ends = columns.levels.cumsum(0)
        self.register_buffer("starts", ends - columns.levels, persistent=False)
        self.vectors = nn.Embedding(int(ends[-1]), hidden)

    def forward(self, x: Tensor, first: int = 0) -> Tensor:
        """Map values ``[N, T]`` of the columns from ``first`` on to tokens ``[N, T, hidden]``."""
        (columns,), which = self._columns, slice(first, first + x.shape[1])
        is_category = columns.is_category[which]
        rows = self.starts[which] + x.where(is_category, 0).long()
        factors = columns.standardize(x, which).where(~is_category, 1)
        return self.vectors(rows) * factors[..., None].to(self.vectors.weight.dtype)


class _ColumnHead(nn.Module):
    """Parameters of a table's columns from the features of each: a linear layer of its own for every column."""

    def __init__(self, features: int, columns: int, num_params: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(columns, num_params, features))
        self.bias = nn.Parameter(torch.zeros(columns, num_params))

    def forward(self, features: Tensor, _values: Tensor) -> Tensor:
        """Map ``[N, T, features]`` to ``[N, P, T, 1]``; a column has no channels that come before."""
        params = torch.einsum("ntf,tpf->npt", F.relu(features), self.weight) + self.bias.T
        return params[..., None]

    def column(self, place: int, features: Tensor) -> Tensor:
        """Return the parameters ``[N, P]`` of one column from its features ``[N, features]``."""
        return F.linear(F.relu(features), self.weight[place], self.bias[place])


class CausalTransformer(CausalNetwork):
    """Transformer decoder over sites in raster order: pixels, dimensions of a vector or symbols of a text.

    Chen et al. (2020), "Generative Pretraining from Pixels", section 2.1, without a palette: a pixel with all its
    channels is one token, and a `ChannelHead` conditions the channels on each other. The first token stands for the
    start, or for the label. A place's code is the sum of a code for each of its axes; with rotary positions it has
    none, and attention sees how far places are apart: Su et al. (2021), "RoFormer".

    Args:
        spec: What one example is. Discrete values are looked up in a table, continuous ones enter as numbers.
        num_params: Parameters P of each value's distribution.
        num_classes: Labels that the network is given, or 0.
        hidden: Width of the residual stream, a multiple of ``heads``.
        layers: Number of blocks.
        heads: Attention heads of a block.
        rotary: Whether positions are rotary, and not learned codes.
        dropout: Probability that a feature is dropped in training, of tokens and of what a block adds.
        columns: What the columns of a table are, each of which is a token and has a head of its own; None for other
            data.

    Raises:
        GenlabError: If ``hidden`` is not a multiple of ``heads``, or with rotary positions of twice as many.
    """

    def __init__(
        self,
        spec: DataSpec,
        num_params: int,
        num_classes: int,
        *,
        hidden: int,
        layers: int,
        heads: int,
        rotary: bool = False,
        dropout: float = 0.0,
        columns: Columns | None = None,
    ) -> None:
        super().__init__(spec, num_params, num_classes)
        if hidden % (heads * (1 + rotary)):
            raise GenlabError(
                f"hidden is {hidden} and heads {heads}, expected a multiple of {heads * (1 + rotary)}: "
                f"use hidden={heads * 32}."
            )
        self.start = nn.Embedding(max(1, num_classes), hidden)
        self.positions = RotaryPositions(hidden // heads, self.num_sites) if rotary else None
        self.places = nn.ParameterList(torch.empty(size, hidden) for size in self.sites if not rotary)
        self.dropout = nn.Dropout(dropout)
        self.tables = nn.ModuleList(_table(spec, columns, hidden) for _ in range(self.channels))
        self.blocks = nn.ModuleList(_Block(hidden, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(hidden)
        self.head = (
            ChannelHead(hidden, self.channels, num_params)
            if columns is None
            else _ColumnHead(hidden, self.num_sites, num_params)
        )
        self._initialize(layers)

    def _initialize(self, layers: int) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
        for place in self.places:
            nn.init.normal_(place, std=0.02)
        # Each block adds two terms to the stream: scaled so that its variance does not grow with the depth.
        for block in self.blocks:
            for leave in (block.leave, block.perceptron[-1]):
                nn.init.normal_(leave.weight, std=0.02 * (2 * layers) ** -0.5)
        if isinstance(self.head, ChannelHead):
            for leave in self.head.leave:
                nn.init.zeros_(leave.weight)

    def embed(self, x: Tensor, first: int = 0) -> Tensor:
        """Map values ``[N, T, C]`` of the sites from ``first`` on to tokens ``[N, T, hidden]``."""
        if isinstance(self.head, _ColumnHead):
            tokens: Tensor = self.tables[0](x[..., 0], first)
            return tokens
        if self.spec.levels is None:
            dtype = self.start.weight.dtype
            parts = [table(x[..., c, None].to(dtype)) for c, table in enumerate(self.tables)]
        else:
            parts = [table(x[..., c].long()) for c, table in enumerate(self.tables)]
        return torch.stack(parts).sum(0)

    def codes(self) -> Tensor:
        """Codes of all places, ``[T, hidden]``; zeros where positions are rotary."""
        if self.positions is not None:
            return self.start.weight.new_zeros(self.num_sites, self.start.weight.shape[1])
        total: Tensor = self.places[0]
        for axis in self.places[1:]:
            total = total[..., None, :] + axis
        return total.flatten(0, -2)

    def first(self, n: int, y: Tensor | None) -> Tensor:
        """Token ``[N, 1, hidden]`` that stands before the first value."""
        index = y if self.num_classes else torch.zeros(n, dtype=torch.int64, device=self.start.weight.device)
        return self.start(index)[:, None]

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        h = self.dropout(torch.cat([self.first(len(x), y), self.embed(x[:, :-1])], dim=1) + self.codes())
        for block in self.blocks:
            h = block(h, self.positions)
        return self.head(self.norm(h), self.codec.to_signed(x, self.start.weight.dtype))

    def steps(self, n: int, y: Tensor | None = None) -> Steps:
        token, codes = self.first(n, y), self.codes()
        kept = [_Kept(block, token, self.num_sites) for block in self.blocks]

        def features(h: Tensor, site: Place) -> Tensor:
            turn = None if self.positions is None else self.positions.to_place(site)
            for block, cache in zip(self.blocks, kept, strict=True):
                query, key, value = block.project(h)
                if turn is not None:
                    query, key = turn(query), turn(key)
                keys, values, mask = cache.with_new(key, value, site)
                h = block.after(h, F.scaled_dot_product_attention(query, keys, values, mask))
            return self.norm(h)[:, 0]

        step = replayed(features, token.device, self.num_sites, "the transformer's steps")
        for number, (site, code) in enumerate(zip(places(self.num_sites, token.device), codes, strict=True)):
            seen = step(token + code, site)
            if isinstance(self.head, _ColumnHead):
                values = (yield self.head.column(number, seen))[:, None]
            else:
                values = yield from self.head.steps(seen, self.codec)
            token = self.embed(values[:, None], number)


def _table(spec: DataSpec, columns: Columns | None, hidden: int) -> nn.Module:
    """Return what makes tokens of the values of a channel."""
    if columns is not None:
        return _ColumnTokens(columns, hidden)
    return nn.Linear(1, hidden) if spec.levels is None else nn.Embedding(spec.levels, hidden)


class _Kept:
    """Keys and values of a block, of the places so far, in buffers for all."""

    def __init__(self, block: _Block, token: Tensor, num_sites: int) -> None:
        n, _, hidden = token.shape
        self.keys, self.values = token.new_zeros(2, n, block.heads, num_sites, hidden // block.heads)
        self.by_place = [Places(buffer.movedim(2, 0)) for buffer in (self.keys, self.values)]
        self.places = torch.arange(num_sites, device=token.device)

    def with_new(self, key: Tensor, value: Tensor, site: Place) -> tuple[Tensor, Tensor, Tensor | None]:
        """Put those of a place, ``[N, heads, 1, width]``, beside those before; return all, and which of them to see.

        By a number they are a part of the buffers, that grows; by a tensor all of the buffers, always of one shape.
        """
        for buffer, new in zip(self.by_place, (key, value), strict=True):
            buffer.write(site, new[:, :, 0])
        if isinstance(site, int):
            return self.keys[:, :, : site + 1], self.values[:, :, : site + 1], None
        return self.keys, self.values, (self.places <= site)[None]
