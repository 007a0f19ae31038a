"""Dilated convolutions over signals that are told how noisy their input is."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from genlab.networks.blocks.conditioning import Conditioning
from genlab.networks.blocks.dilated import DilatedStack, squeeze_time, unsqueeze_time

__all__ = ["DiffWave"]


class DiffWave(nn.Module):
    """Stack of dilated convolutions over sound; Kong et al. (2021), "DiffWave", figure 2. The output starts at zero.

    Unlike there, neighbouring values stand side by side before the first layer: a layer costs ``squeeze`` times less
    and reaches as many times further.

    Args:
        channels: Channels of the sound.
        hidden: Channels of the layers.
        dilations: Of each layer, first to last, in columns of ``squeeze`` values.
        squeeze: Values of a column.
        num_classes: Number of classes, or 0; the label ``num_classes`` means that none is given.
        has_mask: Whether examples differ in length, which the network is then told.
    """

    def __init__(
        self,
        channels: int,
        *,
        hidden: int,
        dilations: Sequence[int],
        squeeze: int,
        num_classes: int,
        has_mask: bool,
    ) -> None:
        super().__init__()
        self.squeeze = squeeze
        self.has_mask = has_mask
        self.conditioning = Conditioning(2 * hidden, num_classes)
        self.stack = DilatedStack(
            squeeze * channels * (1 + has_mask),
            squeeze * channels,
            hidden=hidden,
            dilations=dilations,
            embedding=2 * hidden,
        )

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Return the network's value at noisy sound.

        Args:
            x: ``[N, C, T]``, zero where nothing is.
            t: Noise levels or times ``[N]``, or ``[1]`` for all, within about ``[-3, 3]``.
            y: Labels ``[N]``; None: none is given. Passed over by a network without classes.
            mask: ``[N, C, T]``, bool, true where there is a value; None: all is there.

        Returns:
            ``[N, C, T]`` in the dtype of ``x``.
        """
        there = torch.ones_like(x) if mask is None else mask.to(x.dtype)
        inputs = torch.cat([x, there], dim=1) if self.has_mask else x
        value = self.stack(squeeze_time(inputs, self.squeeze), self.conditioning(t, y))
        return unsqueeze_time(value, self.squeeze)[..., : x.shape[-1]].to(x.dtype)
