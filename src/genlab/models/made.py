"""MADE: a perceptron with masked weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, ClassVar, Unpack

import numpy as np
import torch
from annotated_types import Ge, Le
from torch import Generator, Tensor, nn

from genlab.core.batch import Batch
from genlab.core.contract import Inpainting
from genlab.core.errors import GenlabError
from genlab.core.memory import memory_bytes, say_bytes
from genlab.core.noise import integers, uniform
from genlab.core.spec import DataSpec
from genlab.modalities import Layout
from genlab.models.autoregressive import Autoregressive, AutoregressiveOptions
from genlab.models.filling_in import Given
from genlab.models.options import Repeats, Width
from genlab.networks.causal.masked import MaskedMLP

__all__ = ["Made"]

BYTES_OF_A_WEIGHT = 16
"""In training: the weight, its gradient and two moments, in float32."""


class Made(Autoregressive):
    """Masked autoencoder for distribution estimation: a perceptron for vectors, tables, small images, text and series.

    Germain et al. (2015), "MADE: Masked Autoencoder for Distribution Estimation".

    With several ``orders`` it is an ensemble: the probability is the mean of those of networks that predict the values
    in different orders, each with weights of its own, and so as exact as that of one; Uria et al. (2014), "A deep and
    tractable density estimator", section 4. A sample is drawn in one of the orders.

    Args:
        spec: Images, vectors, tables, text or series, discrete or continuous. The columns of a table are predicted in
            the order in which they stand.
        hidden: Units of each layer.
        blocks: Residual blocks of two layers.
        direct: Connect inputs and outputs directly as well.
        orders: Orders of the values, of vectors and tables: as they stand, backwards, and others by chance, always the
            same ones.

    The other arguments are those of :class:`AutoregressiveOptions`; the network is
    :class:`genlab.networks.causal.masked.MaskedMLP`.
    """

    family = "made"
    layouts: ClassVar[Mapping[Layout, str]] = {"sequence": "mlp", "flat": "mlp", "series": "mlp"}
    uses = frozenset({"fields", "cells"})

    def __init__(
        self,
        spec: DataSpec,
        *,
        hidden: Width,
        blocks: Repeats,
        direct: bool,
        orders: Annotated[int, Ge(1), Le(1_000)] = 1,
        **shared: Unpack[AutoregressiveOptions],
    ) -> None:
        super().__init__(spec, **shared)
        self._refuse_what_is_too_large(hidden, direct)
        self.network = MaskedMLP(
            spec,
            self.observation.num_params,
            self.num_classes,
            hidden=hidden,
            blocks=blocks,
            direct=direct,
            columns=self.columns,
        )
        if orders > 1 and self.layout_of(spec) != "flat":
            raise GenlabError(
                f"model.orders is {orders}, but the values of {spec.name}, {spec.modality}, have an order. "
                "Use model.orders=1."
            )
        others = [_order(number, spec.num_dims) for number in range(1, orders)]
        self.others = nn.ModuleList(
            Made(_reordered(spec, order), hidden=hidden, blocks=blocks, direct=direct, **shared) for order in others
        )
        for number, order in enumerate(others):
            # No lists: as an index one is copied to the device each time, for which it is waited, and no graph can.
            places = torch.tensor(order)
            self.register_buffer(f"order_{number}", places, persistent=False)
            self.register_buffer(f"back_{number}", places.argsort(), persistent=False)

    @property
    def variant(self) -> str:
        return super().variant + (f", {self.orders} orders" if self.others else "")

    @property
    def orders(self) -> int:
        """How many orders there are."""
        return 1 + len(self.others)

    @property
    def nfe(self) -> int:
        return self.orders * super().nfe

    def initialize(self, batch: Batch) -> None:
        super().initialize(batch)
        for other, (order, _) in self._in_other_orders():
            other.initialize(batch._replace(x=batch.x[:, order]))

    def _loss(self, batch: Batch) -> dict[str, Tensor]:
        """Each order learns for itself: the mean of their losses, which is above the loss of the ensemble."""
        if not self.others:
            return super()._loss(batch)
        return self._loss_of(self._log_probs(batch.x, batch.y).mean(0), batch)

    def _log_prob(
        self,
        x: Tensor,
        y: Tensor | None,
        *,
        mask: Tensor | None = None,
        num_draws: int = 1,
        generator: Generator | None = None,
    ) -> Tensor:
        if not self.others:
            return super()._log_prob(x, y, mask=mask)
        return self._log_probs(x, y).logsumexp(0) - math.log(self.orders)

    def _log_probs(self, x: Tensor, y: Tensor | None) -> Tensor:
        """Return the log-probabilities ``[orders, N]`` of examples in each order."""
        others = [other._log_prob(x[:, order], y) for other, (order, _) in self._in_other_orders()]
        return torch.stack([super()._log_prob(x, y), *others])

    def log_prob_of_values(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        if self.others:
            raise GenlabError(f"This {self.name} has {self.orders} orders, so that no value comes before another.")
        return super().log_prob_of_values(x, y)

    def sample(self, n: int, y: Tensor | None = None, generator: Generator | None = None) -> Tensor:
        if not self.others:
            return super().sample(n, y, generator)
        y = self._labels_to_draw(n, y, generator)
        which = integers(self.orders, n, generator, self.device)
        first = super().sample
        return self._one_of(which, first(n, y, generator), lambda other, _: other.sample(n, y, generator))

    def _fill_in(self, given: Given, generator: Generator | None, rounds: int | None) -> Tensor:
        """Choose an order by how probable it makes what is kept, and fill in as in that order."""
        first = super()._fill_in
        if not self.others:
            return first(given, generator, rounds)

        def part(order: Tensor) -> Given:
            return Given(given.x[:, order], given.kept[:, order], given.y)

        evidence = [self.log_evidence(given, generator)]
        evidence += [other.log_evidence(part(order), generator) for other, (order, _) in self._in_other_orders()]
        u = uniform((len(given.x), self.orders), generator, self.device, torch.float64).clamp_min(1e-300)
        which = (torch.stack(evidence, dim=1) - (-u.log()).log()).argmax(1)
        filled = first(given, generator, rounds)
        return self._one_of(which, filled, lambda other, order: other._fill_in(part(order), generator, rounds))

    def inpainting(self, mask: Tensor, rounds: int | None = None) -> Inpainting:
        own = super().inpainting(mask, rounds)
        if not self.others:
            return own
        return Inpainting(False, f"one of {self.orders} orders by its estimated probability, then {own.method}")

    def _in_other_orders(self) -> list[tuple[Made, tuple[Tensor, Tensor]]]:
        """The networks of the other orders, with the order of each and the way back."""
        return [
            (other, (getattr(self, f"order_{number}"), getattr(self, f"back_{number}")))
            for number, other in enumerate(self.others)
        ]

    def _one_of(self, which: Tensor, first: Tensor, by: Callable[[Made, Tensor], Tensor]) -> Tensor:
        """Return examples ``[N, D]``, each as the order of its number ``which [N]`` has it; the first has ``first``."""
        chosen = first
        for number, (other, (order, back)) in enumerate(self._in_other_orders(), 1):
            chosen = by(other, order)[:, back].where((which == number)[:, None], chosen)
        return chosen

    def _refuse_what_is_too_large(self, hidden: int, direct: bool) -> None:
        """Say what the weights take before they are made: they grow with the square of the dimensions."""
        dims = self.spec.num_dims
        weights = dims * self.observation.num_params * (hidden + dims * direct)
        needed, there = float(weights) * BYTES_OF_A_WEIGHT, memory_bytes()
        if needed > there:
            raise GenlabError(
                f"made connects the {dims:,} values of {self.spec.name} with each other: {weights / 1e9:.2g} billion "
                f"weights, {say_bytes(needed)} in training, and this machine has {say_bytes(there)} of memory left. "
                "Use smaller examples, or a model with shared weights, such as pixelcnn or transformer."
            )


def _order(number: int, dims: int) -> list[int]:
    """Return the places of the values in an order of a number above 0; the first is backwards."""
    order = np.arange(dims)[::-1] if number == 1 else np.random.RandomState(number).permutation(dims)
    return [int(place) for place in order]


def _reordered(spec: DataSpec, order: list[int]) -> DataSpec:
    return replace(spec, fields=tuple(spec.fields[place] for place in order) if spec.fields else ())
