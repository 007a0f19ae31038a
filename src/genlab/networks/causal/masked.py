"""Masked multilayer perceptrons: every output sees the inputs before it."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genlab.core.codec import one_hot
from genlab.core.errors import GenlabError
from genlab.core.replaying import Place, places, replayed
from genlab.core.spec import DataSpec
from genlab.core.tails import tamed
from genlab.modalities import modality_of
from genlab.networks.blocks.columns import Columns
from genlab.networks.causal.base import CausalNetwork, Steps

__all__ = ["MaskedLinear", "MaskedMLP"]


Units = slice | Tensor
"""Some units of a layer: a part of them in a row, or indices on the device, always as many."""
Part = Callable[[Tensor, Units], Tensor]


class MaskedLinear(nn.Module):
    """Linear layer in which an output sees those inputs whose degree is low enough.

    Germain et al. (2015), "MADE", equations 8 and 9.

    Args:
        in_degrees: ``[in]``, degree of each input.
        out_degrees: ``[out]``, highest degree that each output may see.
        bias: Add a bias.
    """

    mask: Tensor

    def __init__(self, in_degrees: Tensor, out_degrees: Tensor, bias: bool = True) -> None:
        super().__init__()
        # Numbers, not booleans: a product of two types is not vectorized, and this one is taken at each step.
        mask = (in_degrees[None] <= out_degrees[:, None]).to(torch.get_default_dtype())
        self.register_buffer("mask", mask, persistent=False)
        # Scaled by the inputs that an output does see: those of low degree see few.
        scale = mask.sum(1, keepdim=True).clamp(min=1).rsqrt()
        self.weight = nn.Parameter(torch.empty(mask.shape).uniform_(-1, 1) * scale * mask)
        self.bias = nn.Parameter(torch.zeros(len(out_degrees))) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, in]`` to ``[N, out]``."""
        return F.linear(x, self.weight * self.mask, self.bias)

    def parts(self) -> Part:
        """Return a function of ``x [N, <= in]`` and some outputs: those, where ``x`` has all that they may see.

        The weights are masked once, for many calls.
        """
        masked, bias = self.weight * self.mask, self.bias

        def part(x: Tensor, rows: Units) -> Tensor:
            if isinstance(rows, Tensor):
                return F.linear(x, masked.index_select(0, rows), None if bias is None else bias.index_select(0, rows))
            return F.linear(x, masked[rows, : x.shape[1]], None if bias is None else bias[rows])

        return part


class MaskedMLP(CausalNetwork):
    """Residual masked autoencoder for distribution estimation, over values in raster order.

    The masks of Germain et al. (2015), "MADE", in residual blocks whose layers all have the same degrees. Degrees are
    spread evenly and sorted, so that a sampling step computes one contiguous part of each layer: all steps together
    cost what a single forward pass does.

    Args:
        spec: What one example is. Symbols without an order enter one-hot, all else as numbers; of data with heavy
            tails those far from the mean enter nearer to it, as asinh(x), since a scale that is an exponential
            function of them runs away while samples are drawn.
        num_params: Parameters P of each value's distribution.
        num_classes: Labels that the network is given, or 0.
        hidden: Units of each layer.
        blocks: Residual blocks of two layers.
        direct: Connect inputs and outputs directly as well, with D^2 P weights for D dimensions.
        columns: How the columns of a table enter; None for other data.

    Raises:
        GenlabError: If some inputs could not reach the output after them: fewer than D - 1 units and not ``direct``.
    """

    bend: Tensor | None

    def __init__(
        self,
        spec: DataSpec,
        num_params: int,
        num_classes: int,
        *,
        hidden: int,
        blocks: int,
        direct: bool,
        columns: Columns | None = None,
    ) -> None:
        super().__init__(spec, num_params, num_classes)
        has_tails = modality_of(spec).has_heavy_tails and not spec.is_discrete
        self.register_buffer("bend", torch.ones(()) if has_tails else None)
        self.register_load_state_dict_pre_hook(_without_bend)
        dims = spec.num_dims
        if not direct and hidden < dims - 1:
            raise GenlabError(
                f"hidden is {hidden}, but {spec.name} has {dims} dimensions: some would see too little. "
                f"Use at least {dims - 1} hidden units, or model.direct=true."
            )
        # A plain tuple: they are part of the model's state, and not of the network's too.
        self._columns = (columns,)
        self.symbols = spec.levels if spec.levels and not modality_of(spec).has_order else 1
        if columns is not None:
            self.symbols = columns.inputs
        values = torch.arange(dims)
        inputs = values.repeat_interleave(self.symbols)
        # Unit degrees run over 0 ... dims - 2: nothing may see the last value, and no first value sees anything.
        degrees = (torch.arange(hidden) * max(1, dims - 1)) // hidden
        outputs = values.repeat_interleave(num_params) - 1
        self.enter = MaskedLinear(inputs, degrees)
        self.inner = nn.ModuleList(MaskedLinear(degrees, degrees) for _ in range(blocks))
        self.outer = nn.ModuleList(MaskedLinear(degrees, degrees) for _ in range(blocks))
        self.leave = MaskedLinear(degrees, outputs)
        self.direct = MaskedLinear(inputs, outputs, bias=False) if direct else None
        for layer in [*self.outer, self.leave, *([self.direct] if self.direct else [])]:
            nn.init.zeros_(layer.weight)
        self.label = nn.Embedding(num_classes, hidden + dims * num_params) if num_classes else None
        self.ends = torch.searchsorted(degrees, values, right=True).tolist()
        self.hidden = hidden

    @property
    def num_steps(self) -> int:
        return self.spec.num_dims

    def encode(self, x: Tensor, which: Units = slice(None)) -> Tensor:
        """Map values ``[N, ...]`` of all dimensions, or of those that are said, to inputs ``[N, dims * symbols]``."""
        dtype, (columns,) = self.enter.weight.dtype, self._columns
        if columns is not None:
            return columns.encode(x.flatten(1), which).flatten(1).to(dtype)
        if self.symbols > 1:
            return one_hot(x, self.symbols, dtype).flatten(1)
        numbers = self.codec.to_signed(x, dtype).flatten(1)
        return numbers if self.bend is None else tamed(numbers, self.bend)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        inputs = self.encode(x)
        context, shift = self._labels(y)
        h = self.enter(inputs) + context
        for inner, outer in zip(self.inner, self.outer, strict=True):
            h = h + outer(F.relu(inner(F.relu(h))))
        out = self.leave(F.relu(h)) + shift
        if self.direct is not None:
            out = out + self.direct(inputs)
        return out.view(len(x), *x.shape[1:], self.num_params).movedim(-1, 1)

    def steps(self, n: int, y: Tensor | None = None) -> Steps:
        sampling, device = _Sampling(self, n, y), self.enter.weight.device
        step = replayed(sampling.step, device, self.spec.num_dims, "the steps of MADE")
        params = sampling.params(0)
        for dim, place in enumerate(places(self.spec.num_dims, device)):
            value = yield params + sampling.shift[:, _block(dim, self.num_params)]
            if dim + 1 < self.spec.num_dims:
                params = step(place, value)

    def _labels(self, y: Tensor | None) -> tuple[Tensor, Tensor]:
        """What the labels add to the first layer and to the outputs; the first value has no hidden units."""
        sizes = [self.hidden, self.spec.num_dims * self.num_params]
        if self.label is None:
            return self.enter.weight.new_zeros(1, sizes[0]), self.enter.weight.new_zeros(1, sizes[1])
        both: tuple[Tensor, Tensor] = self.label(y).split(sizes, dim=1)
        return both


def _without_bend(network: MaskedMLP, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    if network.bend is not None:  # states from before there was one are of numbers as they are
        state.setdefault(f"{prefix}bend", torch.zeros_like(network.bend))


class _Sampling:
    """What is kept while examples are sampled.

    By a number, a step computes with the units so far alone, so that all steps cost what one pass does; by a tensor,
    with all units, always of one shape: what has not its value yet is not seen, by the masks.
    """

    def __init__(self, network: MaskedMLP, n: int, y: Tensor | None) -> None:
        zeros = network.enter.weight.new_zeros
        self.network = network
        self.context, self.shift = (value.expand(n, -1) for value in network._labels(y))
        self.inputs = zeros(n, network.spec.num_dims * network.symbols)
        self.enter, self.leave = network.enter.parts(), network.leave.parts()
        self.direct = None if network.direct is None else network.direct.parts()
        self.blocks = [
            (inner.parts(), outer.parts()) for inner, outer in zip(network.inner, network.outer, strict=True)
        ]
        # Rectified activations: of the residual stream before and after each block, and within each block.
        self.stream = [zeros(n, network.hidden) for _ in range(len(self.blocks) + 1)]
        self.within = [zeros(n, network.hidden) for _ in self.blocks]
        self.ends = [0, *network.ends]
        # The units whose turn it is after each value. Where they are fewer, the first unit stands in, which is known by
        # then: computed again it stays what it is.
        starts, ends = torch.tensor([self.ends[:-1], self.ends[1:]], device=self.inputs.device)[..., None]
        turns = starts + torch.arange(max(map(operator.sub, self.ends[1:], self.ends)), device=starts.device)
        self.turns = torch.where(turns < ends, turns, 0)

    def step(self, dim: Place, value: Tensor) -> Tensor:
        """Take in a value ``[N]`` and return the parameters of the next, but for the shift."""
        encoded = self.network.encode(value[:, None], _block(dim, 1))
        _put(self.inputs, _block(dim, self.network.symbols), encoded)
        new, (known, end) = self._turn(dim), self._so_far(dim + 1)
        h = self.enter(self.inputs[:, :known], new) + _take(self.context, new)
        _put(self.stream[0], new, F.relu(h))
        for block, (inner, outer) in enumerate(self.blocks):
            _put(self.within[block], new, F.relu(inner(self.stream[block][:, :end], new)))
            h = h + outer(self.within[block][:, :end], new)
            _put(self.stream[block + 1], new, F.relu(h))
        return self.params(dim + 1)

    def params(self, dim: Place) -> Tensor:
        """Return the parameters ``[N, P]`` of a value, but for the shift, from those before it."""
        rows, (known, end) = _block(dim, self.network.num_params), self._so_far(dim)
        params = self.leave(self.stream[-1][:, :end], rows)
        return params if self.direct is None else params + self.direct(self.inputs[:, :known], rows)

    def _turn(self, dim: Place) -> Units:
        """The units whose turn it is after a value."""
        if isinstance(dim, Tensor):
            return self.turns.index_select(0, dim.view(1))[0]
        return slice(*self.ends[dim : dim + 2])

    def _so_far(self, dim: Place) -> tuple[int | None, int | None]:
        """Inputs and units before a value; None for all of them."""
        return (None, None) if isinstance(dim, Tensor) else (dim * self.network.symbols, self.ends[dim])


def _block(place: Place, size: int) -> Units:
    if isinstance(place, int):
        return slice(place * size, (place + 1) * size)
    return place * size + torch.arange(size, device=place.device)


def _take(x: Tensor, units: Units) -> Tensor:
    return x.index_select(1, units) if isinstance(units, Tensor) else x[:, units]


def _put(x: Tensor, units: Units, value: Tensor) -> None:
    if isinstance(units, Tensor):
        x.index_copy_(1, units, value)
    else:
        x[:, units] = value
