"""How the figures of samples of text are measured; each function gives those of one computation.

What samples are compared with is text as it stands: no features are needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from genlab.measure.case import Case
from genlab.measure.metrics.copies import find_copies
from genlab.measure.metrics.ngrams import NgramDivergence
from genlab.measure.metrics.words import word_shares
from genlab.modalities.text import as_string

__all__ = ["COPIED", "copies", "ngram_divergence", "words"]

COPIED = 50
"""Symbols of a string from which on it counts as copied: about ten words of English, which are rarely those of another
by chance."""


def ngram_divergence(case: Case) -> Mapping[str, Any]:
    """Return how far the frequencies of short strings are from those of held-out text, and how sure that is."""
    metric = NgramDivergence(case.samples.x.shape[1])
    metric.distributed_available_fn = lambda: False  # the other processes do not measure
    metric.update(case.reference.examples.x, real=True)
    metric.update(case.samples.x, real=False)
    computed = metric.compute()
    return {
        "ngram_divergence": float(computed["divergence"]),
        "ngram_divergence_se": float(computed["standard_error"]),
        "ngram_divergence_by_order": computed["by_order"].tolist(),
    }


def words(case: Case) -> Mapping[str, Any]:
    """Return the shares of distinct words and of words that the training text has."""
    spec = case.reference.spec
    shares = word_shares(
        (as_string(x, spec) for x in case.samples.x), (as_string(part, spec) for part in _training_text(case))
    )
    return {"distinct_words": shares.distinct, "known_words": shares.known}


def copies(case: Case) -> Mapping[str, Any]:
    """Return how long the strings are that samples share with the training text, and how much is copied."""
    cut = torch.full((1,), -1)
    text = torch.cat([piece for part in _training_text(case) for piece in (part, cut)])
    found = find_copies(case.samples.x, text, COPIED)
    return {
        "longest_copy": float(found.longest.double().mean()),
        "longest_copy_of_all": int(found.longest.max()),
        "copied_share": float(found.share.mean()),
    }


def _training_text(case: Case) -> list[Tensor]:
    """Return the training text in the pieces that are left where the samples are taken out of it.

    Windows that follow each other are one text, as they are cut from one.
    """
    assert case.reference.training is not None
    windows = case.reference.training.x
    if case.rows is None:
        return [windows.flatten()]
    kept = torch.ones(len(windows), dtype=torch.bool)
    kept[case.rows] = False
    places = kept.nonzero()[:, 0]
    breaks = ((places[1:] - places[:-1]) > 1).nonzero()[:, 0] + 1
    return [windows[part].flatten() for part in places.tensor_split(breaks)]
