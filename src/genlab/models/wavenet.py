"""WaveNet: dilated causal convolutions over sound."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Unpack

import torch
from annotated_types import MinLen
from torch import Generator, Tensor

from genlab.core.batch import Batch
from genlab.core.spec import DataSpec
from genlab.modalities import Layout
from genlab.models.autoregressive import Autoregressive, AutoregressiveOptions
from genlab.models.options import Width
from genlab.networks.causal.wavenet import WaveNet as Network

__all__ = ["WaveNet"]

MAX_LEVELS = 256
"""Most levels for which ``observation="auto"`` is categorical."""
VALUES_AT_ONCE = 2**17
"""Values whose log-probability is computed in one pass, some hundred megabytes."""


class WaveNet(Autoregressive):
    """WaveNet: the distribution of each sample of a sound, given those before it, by dilated causal convolutions.

    Van den Oord et al. (2016), "WaveNet: A generative model for raw audio". Samples are drawn with a queue for each
    layer, so that no activation is computed twice: Le Paine et al. (2016), "Fast WaveNet generation algorithm".

    Args:
        spec: Sound, in levels or continuous.
        hidden: Features of the residual stream.
        skip: Features of the output layers.
        dilations: Distance of the two taps of each layer, one layer for each. A sample is given the 1 + sum(dilations)
            before it.

    The other arguments are those of :class:`AutoregressiveOptions`; here ``observation="auto"`` is categorical up to
    256 levels, those of 8-bit mu-law. The network is :class:`genlab.networks.causal.wavenet.WaveNet`.
    """

    family = "wavenet"
    layouts: ClassVar[Mapping[Layout, str]] = {"signal": "wavenet"}
    uses = frozenset({"mask"})
    alternative = "Use model=made or model=transformer."
    # Enough for the lengths of each class.
    initial_examples: ClassVar[int] = 4096

    network: Network

    def __init__(
        self,
        spec: DataSpec,
        *,
        hidden: Width,
        skip: Width,
        dilations: Annotated[list[Width], MinLen(1)],
        **shared: Unpack[AutoregressiveOptions],
    ) -> None:
        if shared["observation"] == "auto" and spec.levels is not None and spec.levels <= MAX_LEVELS:
            shared["observation"] = "categorical"
        super().__init__(spec, **shared)
        self.network = Network(
            spec, self.observation.num_params, self.num_classes, hidden=hidden, skip=skip, dilations=dilations
        )

    def _log_prob(
        self,
        x: Tensor,
        y: Tensor | None,
        *,
        mask: Tensor | None = None,
        num_draws: int = 1,
        generator: Generator | None = None,
    ) -> Tensor:
        if torch.is_grad_enabled():
            return super()._log_prob(x, y, mask=mask)
        # Recordings are long: those of a whole batch at once would take tens of gigabytes.
        whole, size = Batch(x, y, mask), max(1, VALUES_AT_ONCE // self.spec.num_dims)
        # One part at least: a device beyond the number of validation examples gets none of them.
        parts = [whole.rows(slice(start, start + size)) for start in range(0, max(1, len(x)), size)]
        return torch.cat([super(WaveNet, self)._log_prob(part.x, part.y, mask=part.mask) for part in parts])

    @property
    def variant(self) -> str:
        field, rate = self.network.receptive_field, self.spec.sampling_rate_hz
        duration = f" ({1000 * field / rate:.0f} ms)" if rate else ""
        return f"{super().variant}, sees {field:,} samples{duration}"
