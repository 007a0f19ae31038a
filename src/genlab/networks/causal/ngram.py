"""Counts of n-grams, and the probabilities that Witten and Bell make of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["WittenBell"]


_MOST_UNEQUAL = 2.0
"""How many times fewer equal particles are worth as much as those there are, from which on they are drawn anew."""


class WittenBell(nn.Module):
    """The n-grams of sequences, and the probability of a value given those before it: interpolated Witten-Bell.

    A context of which the training sequences have c continuations, t of them different, leaves t / (c + t) of its
    probability to the context that is one value shorter; without any context, to the uniform distribution:

        p(x | h) = (count(h x) + t(h) p(x | h')) / (c(h) + t(h)).

    Witten and Bell (1991), "The zero-frequency problem", method C; Chen and Goodman (1999), "An empirical study of
    smoothing techniques for language modeling", equation 17. A context that never occurred leaves all to the shorter
    one. The first values of a sequence have the contexts that there are.

    The n-grams of each length are a sorted table: an n-gram is known by the place of its first n - 1 values in the
    table before, times the number of symbols, plus its last value. So any alphabet and length fits 64 bits, and the
    continuations of a context stand side by side.

    Args:
        symbols: Number of values, V.
        order: Longest n-grams to count, n; a value is given at most the n - 1 before it.
    """

    def __init__(self, symbols: int, order: int) -> None:
        super().__init__()
        self.symbols = symbols
        self.order = order
        self.register_buffer("anchor", torch.empty(0), persistent=False)  # on whose device loaded tables go
        self._set_tables([], [])
        self.register_load_state_dict_pre_hook(_adopt_tables)

    @property
    def num_grams(self) -> int:
        """Number of different n-grams of all lengths."""
        return sum(len(keys) for keys, _ in self._tables())

    @torch.no_grad()
    def fit(self, x: Tensor, there: Tensor | None = None) -> None:
        """Count the n-grams of sequences ``x [N, T]``, but none that reaches where ``there [N, T]`` is false."""
        found_keys, found_ends = [], []
        there = torch.ones_like(x, dtype=torch.bool) if there is None else there
        grams = torch.zeros_like(x, dtype=torch.int64)
        for length in range(self.order):
            contexts = _shifted(grams) if length else grams
            counted = there & (contexts >= 0)
            keys, places, counts = (contexts[counted] * self.symbols + x[counted].long()).unique(
                return_inverse=True, return_counts=True
            )
            if not len(keys):  # no sequence is so long
                break
            found_keys.append(keys)
            found_ends.append(nn.functional.pad(counts.cumsum(0), (1, 0)))
            grams = torch.full_like(grams, -1).masked_scatter_(counted, places)
        self._set_tables(found_keys, found_ends)

    def shorten(self, order: int) -> None:
        """Forget n-grams of more than ``order`` values."""
        keys, ends = zip(*self._tables(), strict=True)
        self._set_tables(keys[:order], ends[:order])
        self.order = order

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-probability of each value of sequences ``x [N, T]`` given those before it: ``[N, T]``, nats, float64."""
        *_, last = self.log_probs(x)
        return last

    def log_probs(self, x: Tensor) -> Iterator[Tensor]:
        """Yield :meth:`log_prob` with n-grams of at most 0, 1, 2 ... ``order`` values; those of 0 are uniform."""
        probability = torch.full(x.shape, 1 / self.symbols, dtype=torch.float64, device=x.device)
        yield probability.log()
        grams = torch.zeros_like(x, dtype=torch.int64)
        for length, ((keys, ends), size) in enumerate(zip(self._tables(), self._num_contexts(), strict=True)):
            contexts = _shifted(grams) if length else grams
            grams = self._find(keys, contexts, x)
            probability = _smoothed(ends, *_continuations(self._starts(keys, size), contexts), grams, probability)
            yield probability.log()

    def transform(self, noise: Tensor) -> Tensor:
        """Turn uniform noise ``[n, T]``, float64, into sequences ``[n, T]``, int64; each value takes one number."""
        tables, starts, contexts = self._begun(len(noise), noise.device)
        values = []
        for u in noise.T:
            value = self._draw(tables, starts, contexts, u)
            values.append(value)
            contexts = self._followed(tables, contexts, value)
        return torch.stack(values, dim=1)

    def complete(self, x: Tensor, kept: Tensor, particles: int, chance: Callable[[tuple[int, int]], Tensor]) -> Tensor:
        """Draw what is not kept of sequences, given what is, value by value, in many particles of each.

        A particle weighs what its values make of those that are kept after them. Where the weights become too unequal,
        the particles are drawn anew by them; in the end one is: Gordon, Salmond and Smith (1993), "Novel approach to
        nonlinear/non-Gaussian Bayesian state estimation", with systematic draws. Exact with ever more particles, and
        with any number where what is kept comes first.

        Args:
            x: ``[N, T]``; what is not kept may be any values.
            kept: ``[N, T]``, bool.
            particles: K, of each sequence.
            chance: Draws uniform numbers, float64, of a shape ``[N, K + 1]``.

        Returns:
            ``[N, T]``, int64.
        """
        n, count = x.shape
        tables, starts, contexts = self._begun(n * particles, x.device)
        themselves = torch.arange(particles, device=x.device).expand(n, -1)
        first_of_each = particles * torch.arange(n, device=x.device)[:, None]
        log_weights = torch.zeros(n, particles, dtype=torch.float64, device=x.device)
        values, ancestors = [], []
        for place in range(count):
            u, is_kept = chance((n, particles + 1)), kept[:, place, None]
            own = self._draw(tables, starts, contexts, u[:, :-1].flatten()).view(n, particles)
            value = torch.where(is_kept, x[:, place, None].long(), own)
            log_prob = self._log_prob_of(tables, starts, contexts, value.flatten()).view(n, particles)
            log_weights = log_weights + log_prob.where(is_kept, 0)
            contexts = self._followed(tables, contexts, value.flatten())
            weights = log_weights.softmax(1)
            unequal = weights.square().sum(1, keepdim=True) * particles > _MOST_UNEQUAL
            parents = torch.where(unequal, _systematic(weights, u[:, -1:]), themselves)
            log_weights = log_weights.masked_fill(unequal, 0)
            contexts = [context[(first_of_each + parents).flatten()] for context in contexts]
            values.append(value)
            ancestors.append(parents)
        chosen = _systematic(log_weights.softmax(1), chance((n, particles + 1))[:, :1], count=1)
        path = []
        for value, parents in zip(reversed(values), reversed(ancestors), strict=True):
            chosen = parents.gather(1, chosen)
            path.append(value.gather(1, chosen))
        return torch.cat(path[::-1], dim=1)

    def _begun(self, n: int, device: torch.device) -> tuple[list[tuple[Tensor, Tensor]], list[Tensor], list[Tensor]]:
        """Return the tables, where contexts start in them, and the contexts of ``n`` sequences without a value."""
        tables = list(self._tables())
        starts = [self._starts(keys, size) for (keys, _), size in zip(tables, self._num_contexts(), strict=True)]
        return tables, starts, [torch.zeros(n, dtype=torch.int64, device=device)] * bool(tables)

    def _followed(self, tables: list[tuple[Tensor, Tensor]], contexts: list[Tensor], value: Tensor) -> list[Tensor]:
        """Return the contexts after one more value ``[n]``: one longer is a shorter one and this value."""
        longer = [self._find(keys, context, value) for (keys, _), context in zip(tables, contexts, strict=False)]
        return [*contexts[:1], *longer][: len(tables)]

    def _log_prob_of(
        self, tables: list[tuple[Tensor, Tensor]], starts: list[Tensor], contexts: list[Tensor], value: Tensor
    ) -> Tensor:
        """Return the log-probabilities of the next values ``[n]``."""
        probability = torch.full(value.shape, 1 / self.symbols, dtype=torch.float64, device=value.device)
        for (keys, ends), start, context in zip(tables, starts, contexts, strict=False):
            grams = self._find(keys, context, value)
            probability = _smoothed(ends, *_continuations(start, context), grams, probability)
        return probability.log()

    def _draw(
        self, tables: list[tuple[Tensor, Tensor]], starts: list[Tensor], contexts: list[Tensor], u: Tensor
    ) -> Tensor:
        """Choose the next value ``[n]`` by inversion, the longest context first: what it leaves goes to the shorter."""
        value = torch.full(u.shape, -1, dtype=torch.int64, device=u.device)
        for (keys, ends), start, context in reversed(list(zip(tables, starts, contexts, strict=False))):
            first, last = _continuations(start, context)
            kinds, total = last - first, ends[last] - ends[first]
            place = u * (total + kinds)
            chosen = torch.searchsorted(ends, ends[first] + place.long(), right=True) - 1
            takes = (value < 0) & (place < total)
            value = torch.where(takes, keys[chosen.clamp_max(len(keys) - 1)] % self.symbols, value)
            u = torch.where((place >= total) & (kinds > 0), (place - total) / kinds.clamp_min(1), u)
        uniform = (u * self.symbols).long().clamp_max(self.symbols - 1)
        return torch.where(value < 0, uniform, value)

    def _find(self, keys: Tensor, contexts: Tensor, x: Tensor) -> Tensor:
        """Return the places of n-grams in their table, or -1 where they never occurred."""
        wanted = contexts * self.symbols + x
        places = torch.searchsorted(keys, wanted).clamp_max(len(keys) - 1)
        return places.where((keys[places] == wanted) & (contexts >= 0), -1)

    def _starts(self, keys: Tensor, num_contexts: int) -> Tensor:
        """Return where in their table the n-grams of each context start, and the last end: ``[num_contexts + 1]``."""
        return torch.searchsorted(keys, self.symbols * torch.arange(num_contexts + 1, device=keys.device))

    def _num_contexts(self) -> list[int]:
        """For each table, how many contexts there are: one that is empty, then the n-grams of the table before."""
        return [1, *(len(keys) for keys, _ in self._tables())][: self._lengths]

    def _tables(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The n-grams of 1, 2, 3 ... values: their keys, sorted, ``[G]``, and 0 and the sums of their counts."""
        for length in range(self._lengths):
            yield self.get_buffer(f"keys_{length}"), self.get_buffer(f"ends_{length}")

    def _set_tables(self, keys: list[Tensor] | tuple[Tensor, ...], ends: list[Tensor] | tuple[Tensor, ...]) -> None:
        for name in [name for name in self._buffers if name.startswith(("keys_", "ends_"))]:
            del self._buffers[name]
        self._lengths = len(keys)
        for length, table in enumerate(zip(keys, ends, strict=True)):
            for name, tensor in zip(("keys", "ends"), table, strict=True):
                self.register_buffer(f"{name}_{length}", tensor.clone())


def _smoothed(ends: Tensor, first: Tensor, last: Tensor, grams: Tensor, shorter: Tensor) -> Tensor:
    """Return the probabilities of n-grams whose contexts' continuations are these, from those of shorter ones."""
    kinds, total = last - first, ends[last] - ends[first]
    count = torch.where(grams >= 0, ends[grams + 1] - ends[grams.clamp_min(0)], 0)
    smoothed = (count + kinds * shorter) / (total + kinds).clamp_min(1)
    return smoothed.where(kinds > 0, shorter)


def _systematic(weights: Tensor, u: Tensor, count: int | None = None) -> Tensor:
    """Draw places, as many as weights ``[N, K]`` or so many, evenly spread over these from a chance ``[N, 1]`` on."""
    most = weights.shape[1]
    count = count or most
    points = (torch.arange(count, device=weights.device) + u) / count
    return torch.searchsorted(weights.cumsum(1), points).clamp_max(most - 1)


def _continuations(starts: Tensor, contexts: Tensor) -> tuple[Tensor, Tensor]:
    """Return where the n-grams that begin with a context start and end; the same twice if it never occurred."""
    known = contexts.clamp_min(0)
    first = starts[known]
    return first, starts[known + 1].where(contexts >= 0, first)


def _shifted(grams: Tensor) -> Tensor:
    """The n-gram that ended one place before; none, -1, at the first place."""
    return nn.functional.pad(grams[:, :-1], (1, 0), value=-1)


def _adopt_tables(module: WittenBell, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Before a state is loaded, make tables of its sizes."""
    tables = [[], []]
    for name, found in zip(("keys", "ends"), tables, strict=True):
        while (tensor := state.get(f"{prefix}{name}_{len(found)}")) is not None:
            found.append(tensor)
    module._set_tables(*([tensor.to(module.anchor.device) for tensor in found] for found in tables))
    module.order = max(1, len(tables[0]))
