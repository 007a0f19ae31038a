"""Noise that belongs to examples: what an example gets does not depend on how many others come with it.

Counter-based, as tensor operations: a hash of (what the noise is for, draw, example, element) gives each number, so
there is no state to keep and no loop over examples: Salmon et al. (2011), "Parallel random numbers: as easy as 1, 2,
3". The hash is that of SplitMix64: Steele et al. (2014), "Fast splittable pseudorandom number generators".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor

__all__ = ["ExampleNoise", "integers", "normal", "uniform"]

Shape = Sequence[int]

_CHUNKS = {"cpu": 2**16}
_CHUNK = 2**24
"""Hashes, of 8 bytes, that are held at a time: on the CPU few enough to stay in its cache."""

_STEP = 0x9E3779B97F4A7C15
_FACTORS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_SHIFTS = (30, 27, 31)
_WORD = 2**64


class ExampleNoise(Generator):
    """A source of noise in which examples have numbers: the same example, drawn for the same use, gets the same noise.

    It can be given wherever PyTorch's generator can. The functions of this module then number the examples of a call
    from ``first`` and count their own calls; what else draws from it sees a generator that is seeded by both arguments.
    The numbers are the same on every kind of device, but for the rounding of what makes normals of them.

    Args:
        base: Seed of all examples' noise together, of 63 bits.
        first: Number of the first example of each call.
        device: Where the noise will lie.
    """

    def __new__(cls, base: int, first: int = 0, device: torch.device | str = "cpu") -> ExampleNoise:
        return super().__new__(cls, device=device)

    def __init__(self, base: int, first: int = 0, device: torch.device | str = "cpu") -> None:
        self.base = base
        self.first = first
        self.draws = 0
        self.manual_seed(_mixed_word(base ^ _mixed_word(first)) >> 1)

    def next_key(self) -> int:
        """Return what the next draw is hashed with, a signed word, and count it."""
        self.draws += 1
        return _signed(_mixed_word(self.base + _STEP * self.draws))


def uniform(
    shape: Shape, generator: Generator | None, device: torch.device, dtype: torch.dtype | None = None
) -> Tensor:
    """Return uniform numbers in [0, 1), those of each example by themselves.

    Args:
        shape: ``[N, ...]``.
        generator: Their source; a plain generator gives one number, from which all follow. None is PyTorch's own, as in
            training, where noise belongs to the batch.
        device: That of the generator, where they will lie.
        dtype: Floating point, PyTorch's default if None; with 24 random bits, in float64 with 53.
    """
    if generator is None:
        return torch.rand(shape, device=device, dtype=dtype)
    return _by_example(shape, generator, device, dtype, _uniforms)


def normal(shape: Shape, generator: Generator | None, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """Return standard normal numbers, those of each example by themselves; arguments as of :func:`uniform`.

    Box and Muller (1958): none exceeds 6.7, or 8.6 in float64.
    """
    if generator is None:
        return torch.randn(shape, device=device, dtype=dtype)
    return _by_example(shape, generator, device, dtype, _normals)


def integers(high: int, n: int, generator: Generator | None, device: torch.device) -> Tensor:
    """Return a whole number below ``high`` for each of ``n`` examples, int64 ``[n]``; see :func:`uniform`."""
    if generator is None:
        return torch.randint(high, (n,), device=device)
    return (_mixed(_keys(generator, n, device)) & (2**63 - 1)) % high


def _by_example(
    shape: Shape,
    generator: Generator,
    device: torch.device,
    dtype: torch.dtype | None,
    numbers_of: Callable[[Tensor, bool], Tensor],
) -> Tensor:
    dtype = dtype or torch.get_default_dtype()
    numbers, is_double = math.prod(shape[1:]), dtype == torch.float64
    keys = _keys(generator, shape[0], device)
    pairs = (numbers + 1) // 2
    words = 2 * pairs if is_double else pairs  # a word is two numbers of 32 bits, or one of 64
    steps = torch.arange(1, words + 1, device=device) * _signed(_STEP)
    found = torch.empty((shape[0], numbers), dtype=dtype, device=device)
    rows = max(1, _CHUNKS.get(keys.device.type, _CHUNK) // max(1, words))
    for own, out in zip(keys.split(rows), found.split(rows), strict=True):
        out.copy_(numbers_of(_mixed(own[:, None] + steps), is_double)[:, :numbers])
    return found.view(*shape)


def _keys(generator: Generator, n: int, device: torch.device) -> Tensor:
    """Return what the words of each of ``n`` examples are hashed with in one draw, ``[n]``."""
    if isinstance(generator, ExampleNoise):
        first, key = generator.first, generator.next_key()
    else:
        # A tensor: nothing is read back from the device.
        first, key = 0, torch.randint(2**62, (), generator=generator, device=device)
    examples = torch.arange(first + 1, first + n + 1, device=device)
    return _mixed(examples * _signed(_STEP) + key)


def _uniforms(words: Tensor, is_double: bool) -> Tensor:
    if is_double:
        return _shifted(words, 11).double().mul_(2.0**-53)
    halves = words.view(torch.int32)
    return ((halves >> 8) & (2**24 - 1)).float().mul_(2.0**-24)


def _normals(words: Tensor, is_double: bool) -> Tensor:
    if is_double:
        first, second = _shifted(words, 11).double().unflatten(1, (-1, 2)).unbind(2)
        within, turn = (first + 0.5) * 2.0**-53, second * 2.0**-53
    else:
        first, second = words.view(torch.int32).unflatten(1, (-1, 2)).unbind(2)
        # Positive numbers keep their leading bits in float32, so the far tail is as fine as the middle.
        within, turn = (first & (2**31 - 1)).float().add_(0.5).mul_(2.0**-31), second.float().mul_(2.0**-32)
    radius, angle = within.log_().mul_(-2).sqrt_(), turn.mul_(2 * math.pi)
    return torch.stack([angle.cos().mul_(radius), angle.sin_().mul_(radius)], dim=1).flatten(1)


def _mixed(words: Tensor) -> Tensor:
    """Hash words in place, int64 that wrap around; Steele et al. (2014), figure 16, with Stafford's variant 13."""
    for shift, factor in zip(_SHIFTS, _FACTORS, strict=False):
        words.bitwise_xor_(_shifted(words, shift)).mul_(_signed(factor))
    return words.bitwise_xor_(_shifted(words, _SHIFTS[-1]))


def _shifted(words: Tensor, count: int) -> Tensor:
    """Shift right without the sign."""
    return (words >> count).bitwise_and_((1 << (64 - count)) - 1)


def _mixed_word(word: int) -> int:
    word %= _WORD
    for shift, factor in zip(_SHIFTS, _FACTORS, strict=False):
        word = ((word ^ (word >> shift)) * factor) % _WORD
    return word ^ (word >> _SHIFTS[-1])


def _signed(word: int) -> int:
    return word - _WORD if word >= _WORD // 2 else word
