"""Words of texts: how many different ones there are, and how many of them are known."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from genlab.measure.metrics.rows import MetricError

__all__ = ["WordShares", "count_words", "word_shares"]

_WORD = re.compile(r"[^\W\d_]+(?:['\N{RIGHT SINGLE QUOTATION MARK}][^\W\d_]+)*")


class WordShares(NamedTuple):
    """Shares of the words of samples.

    Attributes:
        distinct: Share of different words among all words (Li et al., 2016, "A diversity-promoting objective function
            for neural conversation models", section 5.1: distinct-1). It falls as texts grow: only figures of texts of
            one size compare.
        known: Share of words, each as often as it is there, that the training text has.
    """

    distinct: float
    known: float


def count_words(texts: Iterable[str]) -> Counter[str]:
    """Count the words of texts, in whatever case: letters in a row, apostrophes between them included.

    A word at the edge of a text is left out, since it may be a part of one.
    """
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(
            match[0].casefold() for match in _WORD.finditer(text) if match.start() > 0 and match.end() < len(text)
        )
    return counts


def word_shares(samples: Iterable[str], known: Iterable[str]) -> WordShares:
    """Return the shares of the samples' words.

    Args:
        samples: The samples.
        known: The training text, in one piece or in several.

    Raises:
        MetricError: If the samples have no words.
    """
    words, vocabulary = count_words(samples), count_words(known)
    total = words.total()
    if not total:
        raise MetricError("The samples have no words.")
    return WordShares(len(words) / total, sum(n for word, n in words.items() if word in vocabulary) / total)
