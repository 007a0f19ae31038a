"""PixelRNN with diagonal bidirectional LSTMs."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genlab.core.replaying import Place, Places, places, replayed
from genlab.core.spec import DataSpec
from genlab.networks.causal.base import CausalNetwork, ChannelHead, Steps

__all__ = ["DiagonalBiLSTM"]

REACH = 3
"""Rows above, and columns to each side, that the first convolutions see."""

State = tuple[Tensor, Tensor]
"""Hidden and cell state."""


def skew(x: Tensor) -> Tensor:
    """Move row i of ``[N, H, W, C]`` to the right by i places: ``[N, H, W + H - 1, C]``, filled with zeros.

    So what stood on a diagonal stands in a column.
    """
    n, height, width, channels = x.shape
    flat = F.pad(x, (0, 0, 0, height)).reshape(n, height * (width + height), channels)
    return flat[:, : height * (width + height - 1)].reshape(n, height, width + height - 1, channels)


def unskew(x: Tensor) -> Tensor:
    """Undo `skew`: ``[N, H, W + H - 1, C] -> [N, H, W, C]``."""
    n, height, diagonals, channels = x.shape
    flat = F.pad(x.reshape(n, height * diagonals, channels), (0, 0, 0, height))
    return flat.reshape(n, height, diagonals + 1, channels)[:, :, : diagonals + 1 - height]


class _DiagonalLSTM(nn.Module):
    """LSTM over an image in which a place follows those to its left and above it.

    Van den Oord et al. (2016), "Pixel Recurrent Neural Networks", equation 3 and section 3.2: the state-to-state
    convolution sees the hidden states to the left and above, the cell state comes from the left.

    Args:
        hidden: Features of the input and of the state.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.enter = nn.Linear(hidden, 4 * hidden)
        self.turn = nn.Linear(2 * hidden, 4 * hidden, bias=False)
        # A memory that lasts from the first step on: the state passes many places before it is used.
        nn.init.constant_(self.enter.bias[:hidden], 1.0)

    def cell(self, entered: Tensor, left: State, above: Tensor) -> State:
        """Take one step at any number of places ``[..., hidden]``.

        Args:
            entered: What :attr:`enter` makes of the input there, ``[..., 4 * hidden]``.
            left: State to the left.
            above: Hidden state above.
        """
        gates = entered + self.turn(torch.cat([left[0], above], dim=-1))
        forget, write, read, content = gates.chunk(4, dim=-1)
        cell = torch.sigmoid(forget) * left[1] + torch.sigmoid(write) * torch.tanh(content)
        return torch.sigmoid(read) * torch.tanh(cell), cell

    def forward(self, x: Tensor) -> Tensor:
        """Map features ``[N, H, W, hidden]`` to hidden states of the same shape, a diagonal at a time."""
        n, height, _, hidden = x.shape
        entered = skew(self.enter(x)).unbind(2)
        # On diagonal d, row i is at column d - i of the image; left of the image all states are zero.
        rows, diagonals = torch.arange(height, device=x.device), torch.arange(len(entered), device=x.device)
        # In the weights' precision: a cell state adds up over many places.
        inside = (diagonals[:, None] >= rows).to(self.turn.weight.dtype)[..., None]
        state = (self.turn.weight.new_zeros(n, height, hidden), self.turn.weight.new_zeros(n, height, hidden))
        found = []
        for gates, mask in zip(entered, inside, strict=True):
            above = F.pad(state[0][:, :-1], (0, 0, 1, 0))
            h, c = self.cell(gates, state, above)
            state = (h * mask, c * mask)
            found.append(state[0])
        return unskew(torch.stack(found, dim=2))


class _Layer(nn.Module):
    """A diagonal LSTM from the left and one from the right, joined, beside a residual connection."""

    def __init__(self, hidden: int, num_classes: int) -> None:
        super().__init__()
        self.left = _DiagonalLSTM(hidden)
        self.right = _DiagonalLSTM(hidden)
        self.leave = nn.Linear(hidden, hidden)
        self.label = nn.Embedding(num_classes, hidden) if num_classes else None

    def labelled(self, h: Tensor, y: Tensor | None) -> Tensor:
        """Add what the labels say to features ``[N, ..., hidden]``."""
        if self.label is None:
            return h
        return h + self.label(y).view(len(h), *[1] * (h.ndim - 2), -1)

    def forward(self, h: Tensor, y: Tensor | None) -> Tensor:
        x = self.labelled(h, y)
        # From the right a place would see what comes after it in its row, so that part is taken from the row above.
        above = F.pad(self.right(x.flip(2)).flip(2)[:, :-1], (0, 0, 0, 0, 1, 0))
        return h + self.leave(self.left(x) + above)


class DiagonalBiLSTM(CausalNetwork):
    """PixelRNN: layers of LSTMs along the diagonals, which see every earlier pixel in every layer.

    Van den Oord et al. (2016), "Pixel Recurrent Neural Networks", section 3.2, with residual connections (section
    3.3) of the state's own width. Instead of masked convolutions (section 3.4), the image is shifted by a row, or by a
    column, before the first layer; all that follows may see its own place. A place beyond the end of each row takes in
    the row's last pixel, which the LSTM from the right would otherwise never see. A `ChannelHead` conditions a
    pixel's channels on each other.

    Args:
        spec: Images.
        num_params: Parameters P of each value's distribution.
        num_classes: Labels that the network is given, or 0.
        hidden: Features of each place, and of the state of each LSTM.
        layers: Number of layers, each with an LSTM from either side.
    """

    def __init__(self, spec: DataSpec, num_params: int, num_classes: int, *, hidden: int, layers: int) -> None:
        super().__init__(spec, num_params, num_classes)
        self.down = nn.Conv2d(self.channels, hidden, (REACH, 2 * REACH + 1))
        self.right = nn.Conv2d(self.channels, hidden, (1, REACH))
        self.layers = nn.ModuleList(_Layer(hidden, num_classes) for _ in range(layers))
        self.head = ChannelHead(hidden, self.channels, num_params)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        values = self.codec.to_signed(x, self.down.weight.dtype)
        image = values.view(-1, *self.sites, self.channels).permute(0, 3, 1, 2)
        # A negative padding cuts the last row, or column, off: with it the image moves by one.
        h = self.down(F.pad(image, (REACH, REACH + 1, REACH, -1))) + self.right(F.pad(image, (REACH, 0, 0, 0)))
        h = h.permute(0, 2, 3, 1)
        for layer in self.layers:
            h = layer(h, y)
        return self.head(h[:, :, :-1].flatten(1, 2), values)

    def steps(self, n: int, y: Tensor | None = None) -> Steps:
        (height, width), device = self.sites, self.down.weight.device
        sampling = _Sampling(self, n, y)
        begin_row = replayed(sampling.begin_row, device, height, "the rows of PixelRNN")
        features = replayed(sampling.features, device, height * width, "the pixels of PixelRNN")
        end_row = replayed(sampling.end_row, device, height, "the rows of PixelRNN from the right")
        rows, columns = places(height, device), places(width + 1, device)
        for row in range(height):
            begin_row(rows[row])
            for column in range(width):
                values = yield from self.head.steps(features(columns[column]), self.codec)
                sampling.put(row, column, values)
            features(columns[width])  # beyond the end of the row, which takes its last pixel in
            end_row()
            sampling.turn()


class _Sampling:
    """What is kept while images are sampled, with the axis along which they grow in front."""

    def __init__(self, network: DiagonalBiLSTM, n: int, y: Tensor | None) -> None:
        (height, width), zeros = network.sites, network.down.weight.new_zeros
        self.network = network
        self.image = Places(zeros(height + REACH, n, network.channels, width + 2 * REACH + 1))
        self.pixels = Places(zeros(width + REACH, n, network.channels))
        nothing = zeros(width + 1, n, network.down.out_channels)
        self.above = Places(nothing.clone())
        self.rows = [_Row(layer, y, nothing) for layer in network.layers]

    def begin_row(self, row: Place) -> None:
        """Leave what the pixels above say to each place of a row."""
        self.pixels.buffer.zero_()
        above = self.network.down(self.image.window(row, REACH).permute(1, 2, 0, 3))
        self.above.buffer.copy_(above[:, :, 0].permute(2, 0, 1))

    def features(self, column: Place) -> Tensor:
        """Run all layers from the left at one place: ``[N, hidden]``."""
        before = self.pixels.window(column, REACH).permute(1, 2, 0)[:, :, None]
        h = self.above.read(column) + self.network.right(before)[:, :, 0, 0]
        for layer_row in self.rows:
            h = layer_row.step(column, h)
        return h

    def put(self, row: int, column: int, values: Tensor) -> None:
        """Set the values ``[N, C]`` of a pixel."""
        scaled = self.network.codec.to_signed(values, self.pixels.buffer.dtype)
        self.pixels.write(column + REACH, scaled)
        self.image.read(row + REACH)[:, :, column + REACH] = scaled

    def end_row(self) -> None:
        """Run all layers from the right over the row, now that all of it is known."""
        for layer_row in self.rows:
            layer_row.end()

    def turn(self) -> None:
        """Make the row that was sampled the one above."""
        for layer_row in self.rows:
            layer_row.turn()


class _Row:
    """One layer's states along a row while it is sampled, and along the row above.

    Args:
        layer: The layer.
        y: Labels ``[N]``.
        zeros: ``[W + 1, N, hidden]``, what stands above the first row.
    """

    def __init__(self, layer: _Layer, y: Tensor | None, zeros: Tensor) -> None:
        self.layer, self.y = layer, y
        self.inputs, self.above, self.right, self.next_right = (Places(zeros.clone()) for _ in range(4))
        # Of the LSTM from the left, behind a place before the first, where they are zero.
        self.hidden, self.cells = (Places(F.pad(zeros, (0, 0, 0, 0, 1, 0))) for _ in range(2))

    def step(self, column: Place, h: Tensor) -> Tensor:
        """Map the layer's input ``[N, hidden]`` at one place to its output there."""
        x, left = self.layer.labelled(h, self.y), self.layer.left
        self.inputs.write(column, x)
        before = self.hidden.read(column), self.cells.read(column)
        hidden, cell = left.cell(left.enter(x), before, self.above.read(column))
        self.hidden.write(column + 1, hidden)
        self.cells.write(column + 1, cell)
        return h + self.layer.leave(hidden + self.right.read(column))

    def end(self) -> None:
        """Run the LSTM from the right over the row, for the row below."""
        right, nothing = self.layer.right, self.hidden.read(0)
        state = (nothing, nothing)
        for column, entered in reversed(list(enumerate(right.enter(self.inputs.buffer)))):
            state = right.cell(entered, state, self.right.read(column))
            self.next_right.write(column, state[0])

    def turn(self) -> None:
        """Make the row the one above."""
        self.above.buffer.copy_(self.hidden.buffer[1:])
        self.right.buffer.copy_(self.next_right.buffer)
