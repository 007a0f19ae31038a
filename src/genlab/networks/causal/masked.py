"""Masked multilayer perceptrons: every output sees the inputs before it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genlab.core.codec import one_hot
from genlab.core.errors import GenlabError
from genlab.core.spec import DataSpec
from genlab.modalities import modality_of
from genlab.networks.causal.base import CausalNetwork, Steps

__all__ = ["MaskedLinear", "MaskedMLP"]


Part = Callable[[Tensor, slice], Tensor]


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
        """Return a function of ``x [N, <= in]`` and ``rows``: those outputs, where ``x`` has all that they may see.

        The weights are masked once, for many calls.
        """
        masked, bias = self.weight * self.mask, self.bias

        def part(x: Tensor, rows: slice) -> Tensor:
            return F.linear(x, masked[rows, : x.shape[1]], None if bias is None else bias[rows])

        return part


class MaskedMLP(CausalNetwork):
    """Residual masked autoencoder for distribution estimation, over values in raster order.

    The masks of Germain et al. (2015), "MADE", in residual blocks whose layers all have the same degrees. Degrees are
    spread evenly and sorted, so that a sampling step computes one contiguous part of each layer: all steps together
    cost what a single forward pass does.

    Args:
        spec: What one example is. Symbols without an order enter one-hot, all else as numbers.
        num_params: Parameters P of each value's distribution.
        num_classes: Labels that the network is given, or 0.
        hidden: Units of each layer.
        blocks: Residual blocks of two layers.
        direct: Connect inputs and outputs directly as well, with D^2 P weights for D dimensions.

    Raises:
        GenlabError: If some inputs could not reach the output after them: fewer than D - 1 units and not ``direct``.
    """

    def __init__(
        self, spec: DataSpec, num_params: int, num_classes: int, *, hidden: int, blocks: int, direct: bool
    ) -> None:
        super().__init__(spec, num_params, num_classes)
        dims = spec.num_dims
        if not direct and hidden < dims - 1:
            raise GenlabError(
                f"hidden is {hidden}, but {spec.name} has {dims} dimensions: some would see too little. "
                f"Use at least {dims - 1} hidden units, or model.direct=true."
            )
        self.symbols = spec.levels if spec.levels and not modality_of(spec).has_order else 1
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

    def encode(self, x: Tensor) -> Tensor:
        """Map values ``[N, ...]`` to inputs ``[N, dims * symbols]``."""
        dtype = self.enter.weight.dtype
        if self.symbols > 1:
            return one_hot(x, self.symbols, dtype).flatten(1)
        return self.codec.to_signed(x, dtype).flatten(1)

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
        weight = self.enter.weight
        context, shift = (value.expand(n, -1) for value in self._labels(y))
        inputs = weight.new_zeros(n, self.spec.num_dims * self.symbols)
        enter, leave = self.enter.parts(), self.leave.parts()
        direct = None if self.direct is None else self.direct.parts()
        blocks = [(inner.parts(), outer.parts()) for inner, outer in zip(self.inner, self.outer, strict=True)]
        # Rectified activations: of the residual stream before and after each block, and within each block.
        stream = [weight.new_zeros(n, self.hidden) for _ in range(len(self.inner) + 1)]
        within = [weight.new_zeros(n, self.hidden) for _ in self.inner]
        start = 0
        for dim in range(self.spec.num_dims):
            rows = slice(dim * self.num_params, (dim + 1) * self.num_params)
            params = leave(stream[-1][:, :start], rows) + shift[:, rows]
            known = dim * self.symbols
            if direct is not None:
                params = params + direct(inputs[:, :known], rows)
            value = yield params
            inputs[:, known : known + self.symbols] = self.encode(value[:, None])
            end = self.ends[dim]
            new = slice(start, end)
            h = enter(inputs[:, : known + self.symbols], new) + context[:, new]
            stream[0][:, new] = F.relu(h)
            for block, (inner, outer) in enumerate(blocks):
                within[block][:, new] = F.relu(inner(stream[block][:, :end], new))
                h = h + outer(within[block][:, :end], new)
                stream[block + 1][:, new] = F.relu(h)
            start = end

    def _labels(self, y: Tensor | None) -> tuple[Tensor, Tensor]:
        """What the labels add to the first layer and to the outputs; the first value has no hidden units."""
        sizes = [self.hidden, self.spec.num_dims * self.num_params]
        if self.label is None:
            return self.enter.weight.new_zeros(1, sizes[0]), self.enter.weight.new_zeros(1, sizes[1])
        both: tuple[Tensor, Tensor] = self.label(y).split(sizes, dim=1)
        return both
