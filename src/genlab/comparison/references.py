"""The rows of a table that say how good or bad its figures are: what real data reaches, and a simple model."""

from __future__ import annotations

__all__ = ["BASELINE", "FLOOR", "FOREIGN", "REFERENCES", "UNRANKED", "baseline_family", "reference_of"]

FLOOR = "floor"
"""Training examples in the place of samples: no model can be expected to do better. It is not ranked."""

BASELINE = "baseline"
"""A model so simple that others should beat it."""

FOREIGN = "foreign"
"""Samples of another program: what made them is as far known as its author says."""

UNRANKED = frozenset({FLOOR, FOREIGN})
"""References that are never marked as best, nor keep another row from it.

The floor is training data, not a model. Of foreign samples nobody here knows what they were trained on, which may be
the test split, from how many they were chosen, nor what one costs. Their figures stand beside the others', to be read
with what their author declares.
"""

REFERENCES = {"floor": FLOOR, "gmm": BASELINE, "foreign": FOREIGN}
"""Families whose rows are references, in the order in which tables show them."""


def reference_of(family: str) -> str:
    """Return what a family's rows are to the others, or nothing."""
    return REFERENCES.get(family, "")


def baseline_family() -> str:
    """Return the family that a table without a baseline lacks."""
    return next(family for family, reference in REFERENCES.items() if reference == BASELINE)
