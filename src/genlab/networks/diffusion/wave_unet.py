"""U-Net over time, of signals that are told how noisy their input is."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from genlab.networks.blocks.dilated import squeeze_time, unsqueeze_time
from genlab.networks.diffusion.unet import UNet

__all__ = ["WaveUNet"]

KERNEL = (1, 5)


class WaveUNet(nn.Module):
    """The U-Net of images over one row, whose columns are neighbouring values of a signal; the output starts at zero.

    A U-Net over the waveform itself is that of Stoller et al. (2018), "Wave-U-Net". Coarse scales see whole words for
    a fraction of what a stack of dilated convolutions takes, which keeps its full length in every layer.

    Args:
        shape: ``(C, T)`` of one signal, of any length.
        channels: Channels at each scale, finest first; time is halved between them. Multiples of 16 are fast.
        blocks: Residual blocks at each scale, on the way down and again on the way up.
        attention: Lengths, in columns, of the scales with self-attention; those that do not occur are passed over.
        squeeze: Values of a column.
        num_classes: Number of classes, or 0; the label ``num_classes`` means that none is given.
        dropout: Probability that a feature is dropped within a residual block while training.
        has_mask: Whether examples differ in length, which the network is then told.

    Raises:
        GenlabError: If there is no scale.
    """

    def __init__(
        self,
        shape: Sequence[int],
        *,
        channels: Sequence[int],
        blocks: int,
        attention: Sequence[int],
        squeeze: int,
        num_classes: int,
        dropout: float,
        has_mask: bool,
    ) -> None:
        super().__init__()
        self.squeeze = squeeze
        self.has_mask = has_mask
        values = squeeze * shape[0]
        self.unet = UNet(
            (values * (1 + has_mask), 1, -(-shape[1] // squeeze)),
            channels=channels,
            blocks=blocks,
            attention=attention,
            num_classes=num_classes,
            dropout=dropout,
            outputs=values,
            kernel=KERNEL,
        )

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Return the network's value at noisy signals.

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
        value = self.unet(squeeze_time(inputs, self.squeeze)[:, :, None], t, y)
        return unsqueeze_time(value[:, :, 0], self.squeeze)[..., : x.shape[-1]].to(x.dtype)
