"""Transformer over the patches of an image that is told how noisy the image is."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genlab.core.errors import GenlabError
from genlab.networks.blocks.attention import self_attention
from genlab.networks.blocks.conditioning import Conditioning, projections
from genlab.networks.blocks.patches import patch_grid

__all__ = ["DiT"]

MAX_PERIOD = 10_000


def position_codes(rows: int, columns: int, width: int) -> Tensor:
    """Sines and cosines of each place's row and column, ``[rows * columns, width]``.

    Vaswani et al. (2017), section 3.5, for each axis on one half of the width, a multiple of 4.
    """
    frequencies = MAX_PERIOD ** -(torch.arange(width // 4) / (width // 4))
    row, column = (torch.arange(count)[:, None] * frequencies for count in (rows, columns))
    row, column = (torch.cat([angles.sin(), angles.cos()], dim=1) for angles in (row, column))
    return torch.cat([row.repeat_interleave(columns, dim=0), column.repeat(rows, 1)], dim=1)


def modulated(h: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Normalize tokens ``[N, T, hidden]``, then scale and shift them by ``[N, 1, hidden]`` each."""
    return F.layer_norm(h, h.shape[-1:]) * (1 + scale) + shift


class AdaLNZeroBlock(nn.Module):
    """Attention and a perceptron whose scales, shifts and gates come from the embedding; starts as the identity.

    Peebles and Xie (2023), "Scalable Diffusion Models with Transformers", section 3.2 ("adaLN-Zero block").

    Args:
        hidden: Width of the tokens and of the embedding.
        heads: Attention heads.
    """

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.modulate = nn.Linear(hidden, 6 * hidden)
        self.enter = nn.Linear(hidden, 3 * hidden)
        self.leave = nn.Linear(hidden, hidden)
        self.perceptron = nn.Sequential(
            nn.Linear(hidden, 4 * hidden), nn.GELU(approximate="tanh"), nn.Linear(4 * hidden, hidden)
        )
        nn.init.zeros_(self.modulate.weight)
        nn.init.zeros_(self.modulate.bias)

    def forward(self, h: Tensor, modulation: Tensor) -> Tensor:
        """Map tokens ``[N, T, hidden]`` to tokens, given what ``modulate`` makes of the embedding."""
        scale, shift, gate, scale_mlp, shift_mlp, gate_mlp = modulation[:, None].chunk(6, dim=-1)
        h = h + gate * self.leave(self_attention(self.enter(modulated(h, scale, shift)), self.heads))
        return h + gate_mlp * self.perceptron(modulated(h, scale_mlp, shift_mlp))


class DiT(nn.Module):
    """Diffusion transformer; Peebles and Xie (2023), section 3.2, with adaLN-Zero blocks. The output starts at zero.

    Args:
        shape: ``(C, H, W)`` of one image, with sides that are multiples of ``patch``.
        patch: Side of a patch in pixels; a patch is one token.
        hidden: Width of the tokens, a multiple of ``heads`` and of 4.
        layers: Number of blocks.
        heads: Attention heads of a block.
        num_classes: Number of classes, or 0; the label ``num_classes`` means that none is given.

    Raises:
        GenlabError: If the sides are no multiples of ``patch``, or ``hidden`` none of ``heads`` and 4.
    """

    codes: Tensor

    def __init__(
        self, shape: Sequence[int], *, patch: int, hidden: int, layers: int, heads: int, num_classes: int
    ) -> None:
        super().__init__()
        channels, height, width = shape
        self.grid = patch_grid(height, width, patch)
        if hidden % heads or hidden % 4:
            raise GenlabError(
                f"hidden is {hidden} and heads {heads}, expected a multiple of heads and of 4: use hidden={heads * 32}."
            )
        self.patch = patch
        self.conditioning = Conditioning(hidden, num_classes)
        self.enter = nn.Linear(channels * patch**2, hidden)
        self.register_buffer("codes", position_codes(*self.grid, hidden), persistent=False)
        self.blocks = nn.ModuleList(AdaLNZeroBlock(hidden, heads) for _ in range(layers))
        self.modulate = nn.Linear(hidden, 2 * hidden)
        self.leave = nn.Linear(hidden, channels * patch**2)
        self._initialize()

    def _initialize(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        for layer in (self.leave, self.modulate, *(block.modulate for block in self.blocks)):
            nn.init.zeros_(layer.weight)

    def to_patches(self, x: Tensor) -> Tensor:
        """Cut images ``[N, C, H, W]`` into patches ``[N, T, C * patch**2]`` in raster order."""
        rows, columns = self.grid
        cut = x.unflatten(3, (columns, self.patch)).unflatten(2, (rows, self.patch))
        return cut.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)

    def from_patches(self, patches: Tensor) -> Tensor:
        """Put patches together again; the inverse of :meth:`to_patches`."""
        cut = patches.unflatten(2, (-1, self.patch, self.patch)).unflatten(1, self.grid)
        return cut.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the network's value at noisy images.

        Args:
            x: Images ``[N, C, H, W]``.
            t: Noise levels or times ``[N]``, or ``[1]`` for all, within about ``[-3, 3]``.
            y: Labels ``[N]``; None: none is given. Passed over by a network without classes.

        Returns:
            ``[N, C, H, W]`` in the dtype of ``x``.
        """
        layers = [*(block.modulate for block in self.blocks), self.modulate]
        *modulations, last = projections(self.conditioning(t, y), layers)
        h = self.enter(self.to_patches(x)) + self.codes
        for block, modulation in zip(self.blocks, modulations, strict=True):
            h = block(h, modulation)
        scale, shift = last[:, None].chunk(2, dim=-1)
        return self.from_patches(self.leave(modulated(h, scale, shift))).to(x.dtype)
