"""Noise that belongs to examples: right distributions, and nothing in common between draws, examples and elements."""

from __future__ import annotations

import pytest
import torch
from torch import Generator

from genlab.core.noise import ExampleNoise, integers, normal, uniform

CPU = torch.device("cpu")
DTYPES = [torch.float32, torch.float64]


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    return torch.corrcoef(torch.stack([a.flatten().double(), b.flatten().double()]))[0, 1].item()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(200_000,), (4, 50_001), (401, 499)])
def test_numbers_have_their_distributions(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """The largest distance from the distribution function is that of 200,000 independent numbers (Kolmogorov)."""
    source = ExampleNoise(1)
    u, z = uniform(shape, source, CPU, dtype), normal(shape, source, CPU, dtype)
    assert u.shape == z.shape == shape
    assert u.dtype == z.dtype == dtype
    assert 0 <= u.min() < u.max() < 1
    for values in (u, torch.special.ndtr(z.double())):
        ordered = values.flatten().double().sort().values
        steps = torch.linspace(0, 1, len(ordered), dtype=torch.float64)
        assert (ordered - steps).abs().max() * len(ordered) ** 0.5 < 1.63, "exceeded by chance once in a hundred"
    # As many far out as there should be: 2 * 200,000 * Phi(-4) = 12.7.
    assert 3 <= (z.abs() > 4).sum() <= 28


@pytest.mark.parametrize("draw", [uniform, normal])
def test_neighbours_are_independent(draw: type[uniform]) -> None:
    """Between elements (also the two of one hash), examples, draws and bases; also of squares, as the radius is one."""
    source = ExampleNoise(7)
    first, second, other = (draw((400, 500), origin, CPU) for origin in (source, source, ExampleNoise(8)))
    pairs = {
        "elements": (first[:, :-1], first[:, 1:]),
        "pairs": (first[:, ::2], first[:, 1::2]),
        "examples": (first[:-1], first[1:]),
        "diagonals": (first[:-1, 1:], first[1:, :-1]),
        "draws": (first, second),
        "bases": (first, other),
    }
    for name, (a, b) in pairs.items():
        assert abs(correlation(a, b)) < 4.5 / a.numel() ** 0.5, name
        assert abs(correlation((a - a.mean()) ** 2, (b - b.mean()) ** 2)) < 4.5 / a.numel() ** 0.5, name


def test_every_bit_is_as_often_set_as_not() -> None:
    for dtype, bits in [(torch.float32, 24), (torch.float64, 53)]:
        u = uniform((20_000, 2), ExampleNoise(3), CPU, dtype).double()
        whole = (u * 2.0**bits).long()
        assert torch.equal(whole.double(), u * 2.0**bits), "no more bits than are said"
        set_bits = torch.stack([(whole >> k) & 1 for k in range(bits)]).double().mean((1, 2))
        assert (set_bits - 0.5).abs().max() < 4.5 * 0.5 / 40_000**0.5


def test_whole_numbers_are_uniform() -> None:
    drawn = integers(7, 70_000, ExampleNoise(5), CPU)
    counts = drawn.bincount(minlength=7)
    assert len(counts) == 7
    assert ((counts - 10_000).double().square() / 10_000).sum() < 22.5, "chi squared, 6 degrees: once in a thousand"


@pytest.mark.parametrize("draw", [uniform, normal, lambda shape, *rest: integers(9, shape[0], *rest)])
def test_an_example_gets_the_same_whatever_comes_with_it(draw: type[uniform]) -> None:
    def numbers(first: int, n: int) -> torch.Tensor:
        source = ExampleNoise(11, first)
        return torch.cat([draw((n, 3), source, CPU).view(n, -1), draw((n, 3), source, CPU).view(n, -1)], dim=1)

    whole = numbers(0, 7)
    torch.testing.assert_close(torch.cat([numbers(0, 3), numbers(3, 3), numbers(6, 1)]), whole)
    assert len(whole.unique(dim=0)) == 7
    assert torch.equal(draw((5, 3), Generator().manual_seed(0), CPU), draw((9, 3), Generator().manual_seed(0), CPU)[:5])


def test_numbers_do_not_depend_on_how_they_are_chunked(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = normal((50, 11), ExampleNoise(0), CPU)
    monkeypatch.setattr("genlab.core.noise._CHUNKS", {"cpu": 13})
    torch.testing.assert_close(normal((50, 11), ExampleNoise(0), CPU), whole)


def test_a_generator_gives_one_number_for_each_draw() -> None:
    used, same, other = (Generator().manual_seed(seed) for seed in (0, 0, 1))
    first = normal((4, 3), used, CPU)
    torch.randint(2**62, (), generator=same)
    assert torch.equal(used.get_state(), same.get_state())
    assert not torch.equal(normal((4, 3), used, CPU), first)
    assert not torch.equal(normal((4, 3), other, CPU), first)


def test_without_a_source_the_noise_is_that_of_training() -> None:
    """PyTorch's own, to the bit: trainings depend on it."""
    for draw, expected in [(uniform, torch.rand), (normal, torch.randn)]:
        torch.manual_seed(0)
        numbers = draw((3, 2), None, CPU)
        torch.manual_seed(0)
        assert torch.equal(numbers, expected(3, 2))


def test_the_numbers_of_a_seed_never_change() -> None:
    """Figures of a protocol rest on them: whoever changes them raises its version. Made by a loop in plain Python."""
    source, step = ExampleNoise(2**62 + 5, first=3), 0x9E3779B97F4A7C15
    key = _hash(source.base + step)
    words = [[_hash(_hash(key + step * (i + 1)) + step * j) for j in (1, 2)] for i in (3, 4)]
    expected = [[word >> 8 & 0xFFFFFF, word >> 40, other >> 8 & 0xFFFFFF] for word, other in words]
    assert torch.equal(uniform((2, 3), source, CPU), torch.tensor(expected) * 2.0**-24)
    torch.testing.assert_close(normal((1, 3), source, CPU), torch.tensor([[0.9192418, -0.1622848, 2.1186182]]))
    assert integers(1000, 3, source, CPU).tolist() == [980, 462, 343]
    assert uniform((1, 2), source, CPU, torch.float64).tolist() == [[0.540696948362961, 0.5286026623743244]]
    assert _hash(1234567 + step) == 6457827717110365317, "the first number of the published generator for this seed"


def _hash(word: int) -> int:
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        word %= 2**64
        word = (word ^ (word >> shift)) * factor
    word %= 2**64
    return word ^ (word >> 31)


def test_what_knows_only_generators_can_draw_from_it() -> None:
    draws = [torch.randn(3, generator=ExampleNoise(*key)) for key in ((0, 0), (0, 0), (0, 1), (1, 0))]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert not torch.equal(draws[0], draws[3])
