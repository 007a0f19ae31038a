"""Stacks of dilated convolutions over signals that look both ways, and the squeezing of time into channels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genlab.networks.blocks.conditioning import projections

__all__ = ["DilatedStack", "squeeze_time", "unsqueeze_time"]


def squeeze_time(x: Tensor, factor: int) -> Tensor:
    """Put neighbouring values side by side: ``[N, C, T] -> [N, factor C, ceil(T / factor)]``, filled with zeros.

    Channel ``factor c + i`` of a column is channel c of the column's i-th value.
    """
    x = F.pad(x, (0, -x.shape[-1] % factor))
    return x.unflatten(2, (-1, factor)).transpose(2, 3).flatten(1, 2)


def unsqueeze_time(x: Tensor, factor: int) -> Tensor:
    """Undo :func:`squeeze_time`: ``[N, factor C, L] -> [N, C, factor L]``."""
    return x.unflatten(1, (-1, factor)).transpose(2, 3).flatten(2)


class DilatedStack(nn.Module):
    """Gated dilated convolutions whose skips are summed; van den Oord et al. (2016), "WaveNet", section 2.4.

    As in DiffWave, Kong et al. (2021), section 3, convolutions are centred: every place sees both sides.

    Args:
        inputs: Channels of the input.
        outputs: Channels of the output.
        hidden: Channels of the layers in between.
        dilations: Distance between the three places that each layer looks at.
        embedding: Width of a vector that every layer is given, or 0 for none.
        zero_output: Start with an output of zero.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        hidden: int,
        dilations: Sequence[int],
        embedding: int = 0,
        zero_output: bool = True,
    ) -> None:
        super().__init__()
        self.enter = nn.Conv1d(inputs, hidden, 3, padding=1)
        self.wide = nn.ModuleList(
            nn.Conv1d(hidden, 2 * hidden, 3, padding=dilation, dilation=dilation) for dilation in dilations
        )
        # The last layer has no successor, so its output is a skip alone.
        last = len(dilations) - 1
        self.point = nn.ModuleList(
            nn.Conv1d(hidden, hidden if index == last else 2 * hidden, 1) for index in range(len(dilations))
        )
        self.modulate = nn.ModuleList(nn.Linear(embedding, hidden) for _ in dilations) if embedding else None
        self.middle = nn.Conv1d(hidden, hidden, 1)
        self.leave = nn.Conv1d(hidden, outputs, 3, padding=1)
        if zero_output:
            nn.init.zeros_(self.leave.weight)
            nn.init.zeros_(self.leave.bias)

    def forward(self, x: Tensor, embedding: Tensor | None = None) -> Tensor:
        """Map ``[N, inputs, T]``, and the vectors ``[N, embedding]`` or ``[1, embedding]``, to ``[N, outputs, T]``."""
        h = self.enter(x)
        skips = torch.zeros_like(h)
        modulations = None if self.modulate is None else projections(embedding, [*self.modulate])
        for index, (wide, point) in enumerate(zip(self.wide, self.point, strict=True)):
            told = h if modulations is None else h + modulations[index][..., None]
            content, gate = wide(told).chunk(2, dim=1)
            parts = point(torch.tanh(content) * torch.sigmoid(gate)).split(h.shape[1], dim=1)
            skips = skips + parts[0]
            if len(parts) > 1:
                # Two summands of like size: the factor keeps their sum's variance.
                h = (h + parts[1]) * 0.5**0.5
        return self.leave(F.relu(self.middle(F.relu(skips * len(self.wide) ** -0.5))))
