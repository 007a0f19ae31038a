"""Causal transformer over the values of an example."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genlab.core.errors import GenlabError
from genlab.core.replaying import Place, Places, places, replayed
from genlab.core.spec import DataSpec
from genlab.networks.causal.base import CausalNetwork, ChannelHead, Steps

__all__ = ["CausalTransformer"]


class _Block(nn.Module):
    """Attention and a perceptron, each after a normalization and beside a residual connection."""

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
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

    def attend(
        self, h: Tensor, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, causal: bool = False
    ) -> Tensor:
        """Return the stream after the block; only keys where ``mask [1, T]`` is true are seen."""
        seen = F.scaled_dot_product_attention(query, key, value, mask, is_causal=causal)
        h = h + self.leave(seen.transpose(1, 2).flatten(2))
        return h + self.perceptron(self.norm_perceptron(h))

    def forward(self, h: Tensor) -> Tensor:
        return self.attend(h, *self.project(h), causal=True)


class CausalTransformer(CausalNetwork):
    """Transformer decoder over sites in raster order: pixels, dimensions of a vector or symbols of a text.

    Chen et al. (2020), "Generative Pretraining from Pixels", section 2.1, without a palette: a pixel with all its
    channels is one token, and a `ChannelHead` conditions the channels on each other. The first token stands for the
    start, or for the label. A place's code is the sum of a code for each of its axes.

    Args:
        spec: What one example is. Discrete values are looked up in a table, continuous ones enter as numbers.
        num_params: Parameters P of each value's distribution.
        num_classes: Labels that the network is given, or 0.
        hidden: Width of the residual stream, a multiple of ``heads``.
        layers: Number of blocks.
        heads: Attention heads of a block.

    Raises:
        GenlabError: If ``hidden`` is not a multiple of ``heads``.
    """

    def __init__(
        self, spec: DataSpec, num_params: int, num_classes: int, *, hidden: int, layers: int, heads: int
    ) -> None:
        super().__init__(spec, num_params, num_classes)
        if hidden % heads:
            raise GenlabError(f"hidden is {hidden} and heads {heads}, expected a multiple: use hidden={heads * 32}.")
        self.start = nn.Embedding(max(1, num_classes), hidden)
        self.places = nn.ParameterList(torch.empty(size, hidden) for size in self.sites)
        self.tables = nn.ModuleList(
            nn.Linear(1, hidden) if spec.levels is None else nn.Embedding(spec.levels, hidden)
            for _ in range(self.channels)
        )
        self.blocks = nn.ModuleList(_Block(hidden, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(hidden)
        self.head = ChannelHead(hidden, self.channels, num_params)
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
        for leave in self.head.leave:
            nn.init.zeros_(leave.weight)

    def embed(self, x: Tensor) -> Tensor:
        """Map values ``[N, T, C]`` to tokens ``[N, T, hidden]``."""
        if self.spec.levels is None:
            dtype = self.start.weight.dtype
            tokens = [table(x[..., c, None].to(dtype)) for c, table in enumerate(self.tables)]
        else:
            tokens = [table(x[..., c].long()) for c, table in enumerate(self.tables)]
        return torch.stack(tokens).sum(0)

    def codes(self) -> Tensor:
        """Codes of all places, ``[T, hidden]``."""
        total: Tensor = self.places[0]
        for axis in self.places[1:]:
            total = total[..., None, :] + axis
        return total.flatten(0, -2)

    def first(self, n: int, y: Tensor | None) -> Tensor:
        """Token ``[N, 1, hidden]`` that stands before the first value."""
        index = y if self.num_classes else torch.zeros(n, dtype=torch.int64, device=self.start.weight.device)
        return self.start(index)[:, None]

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        h = torch.cat([self.first(len(x), y), self.embed(x[:, :-1])], dim=1) + self.codes()
        for block in self.blocks:
            h = block(h)
        return self.head(self.norm(h), self.codec.to_signed(x, self.start.weight.dtype))

    def steps(self, n: int, y: Tensor | None = None) -> Steps:
        token, codes = self.first(n, y), self.codes()
        kept = [_Kept(block, token, self.num_sites) for block in self.blocks]

        def features(h: Tensor, site: Place) -> Tensor:
            for block, cache in zip(self.blocks, kept, strict=True):
                query, key, value = block.project(h)
                h = block.attend(h, query, *cache.with_new(key, value, site))
            return self.norm(h)[:, 0]

        step = replayed(features, token.device, self.num_sites, "the transformer's steps")
        for site, code in zip(places(self.num_sites, token.device), codes, strict=True):
            values = yield from self.head.steps(step(token + code, site), self.codec)
            token = self.embed(values[:, None])


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
