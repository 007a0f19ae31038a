"""Witten-Bell against its formula in dictionaries, sums over all sequences, and samples against probabilities."""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from pathlib import Path

import pytest
import torch
from torch import Tensor

from genlab.networks.causal.ngram import WittenBell

SYMBOLS = 3


def sequences(n: int, length: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Sequences in which a value is often that before it, and how much of each is there."""
    noise = torch.Generator().manual_seed(seed)
    x = torch.randint(SYMBOLS, (n, length), generator=noise)
    x[:, 1:] = torch.where(torch.rand((n, length - 1), generator=noise) < 0.6, x[:, :-1], x[:, 1:])
    lengths = torch.randint(1, length + 1, (n, 1), generator=noise)
    return x, torch.arange(length) < lengths


class Dictionaries:
    """The same estimate, written down from the formula."""

    def __init__(self, rows: list[list[int]], order: int) -> None:
        self.order = order
        self.after: dict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
        for row in rows:
            for place, value in enumerate(row):
                for length in range(min(place, order - 1) + 1):
                    self.after[tuple(row[place - length : place])][value] += 1

    def probability(self, context: tuple[int, ...], value: int) -> float:
        shorter = self.probability(context[1:], value) if context else 1 / SYMBOLS
        seen = self.after.get(context)
        if not seen:
            return shorter
        return (seen[value] + len(seen) * shorter) / (seen.total() + len(seen))

    def log_prob(self, row: list[int]) -> list[float]:
        return [
            math.log(self.probability(tuple(row[max(0, place - self.order + 1) : place]), value))
            for place, value in enumerate(row)
        ]


@pytest.mark.parametrize("order", [1, 2, 4])
def test_it_is_the_formula(order: int) -> None:
    x, there = sequences(40, 7)
    counts = WittenBell(SYMBOLS, order)
    counts.fit(x, there)
    brute = Dictionaries([row[kept].tolist() for row, kept in zip(x, there, strict=True)], order)
    others = sequences(20, 9, seed=1)[0]
    expected = torch.tensor([brute.log_prob(row) for row in others.tolist()], dtype=torch.float64)
    torch.testing.assert_close(counts.log_prob(others), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("order", [1, 3, 6])
def test_the_probabilities_of_all_sequences_sum_to_one(order: int) -> None:
    counts = WittenBell(SYMBOLS, order)
    counts.fit(*sequences(5, 4))
    every = torch.tensor(list(itertools.product(range(SYMBOLS), repeat=4)))
    assert counts.log_prob(every).sum(1).exp().sum().item() == pytest.approx(1, abs=1e-12)


def test_all_orders_come_at_once() -> None:
    x, there = sequences(30, 6)
    counts = WittenBell(SYMBOLS, 4)
    counts.fit(x, there)
    for order, log_prob in enumerate(counts.log_probs(x)):
        if order == 0:
            torch.testing.assert_close(log_prob.exp(), torch.full(x.shape, 1 / SYMBOLS, dtype=torch.float64))
            continue
        alone = WittenBell(SYMBOLS, order)
        alone.fit(x, there)
        assert torch.equal(alone.log_prob(x), log_prob)


def test_samples_come_as_often_as_their_probability_says() -> None:
    """Evenly spread noise gives frequencies without chance: each pair of values, within the grid's step."""
    counts = WittenBell(SYMBOLS, 3)
    counts.fit(*sequences(6, 5))
    axis = (torch.arange(400, dtype=torch.float64) + 0.5) / 400
    drawn = counts.transform(torch.cartesian_prod(axis, axis))
    every = torch.tensor(list(itertools.product(range(SYMBOLS), repeat=2)))
    expected = counts.log_prob(every).sum(1).exp()
    found = torch.bincount(drawn @ torch.tensor([SYMBOLS, 1]), minlength=SYMBOLS**2) / len(drawn)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=0.01)


def test_a_third_value_is_drawn_given_both_before_it() -> None:
    counts = WittenBell(SYMBOLS, 3)
    counts.fit(torch.tensor([[0, 1, 2] * 50]))
    drawn = counts.transform(torch.rand((500, 6), generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    follows = (drawn[:, 1:] - drawn[:, :-1]) % SYMBOLS == 1
    assert follows.double().mean().item() > 0.95


def test_noise_at_its_ends_draws_symbols() -> None:
    counts = WittenBell(SYMBOLS, 4)
    counts.fit(*sequences(5, 5))
    for u in (0.0, 1 - 2**-53):
        drawn = counts.transform(torch.full((1, 8), u, dtype=torch.float64))
        assert 0 <= drawn.min() <= drawn.max() < SYMBOLS


def test_large_alphabets_fit_in_64_bits() -> None:
    """65,536 to the power of 5 does not; a value seen once after its context must be told from its neighbour."""
    levels = 65_536
    x = torch.arange(levels - 8, levels)[None]
    counts = WittenBell(levels, 6)
    counts.fit(x)
    other = x.clone()
    other[0, -1] -= 1
    assert counts.log_prob(x)[0, -1] > counts.log_prob(other)[0, -1] + 5


def test_sequences_shorter_than_the_order_are_counted_as_far_as_they_go() -> None:
    counts = WittenBell(SYMBOLS, 6)
    counts.fit(torch.tensor([[0, 1], [2, 1]]))
    assert counts.num_grams == 3 + 2
    assert counts.log_prob(torch.tensor([[0, 1, 1]])).isfinite().all()


def test_what_nothing_was_counted_for_is_uniform() -> None:
    counts = WittenBell(SYMBOLS, 3)
    assert counts.log_prob(torch.tensor([[0, 2]])).exp().flatten().tolist() == pytest.approx([1 / 3, 1 / 3])
    assert counts.transform(torch.tensor([[0.0, 0.5, 0.99]], dtype=torch.float64)).tolist() == [[0, 1, 2]]


def test_tables_of_other_sizes_are_loaded(tmp_path: Path) -> None:
    x, there = sequences(30, 6)
    counts = WittenBell(SYMBOLS, 3)
    counts.fit(x, there)
    torch.save(counts.state_dict(), tmp_path / "counts.pt")
    other = WittenBell(SYMBOLS, 6)
    other.fit(x[:2])
    other.load_state_dict(torch.load(tmp_path / "counts.pt", weights_only=True))
    assert other.order == 3
    assert torch.equal(other.log_prob(x), counts.log_prob(x))
