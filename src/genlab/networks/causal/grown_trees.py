"""Trees of scikit-learn as plain arrays, cut back to splits that leave enough rows on both sides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["GrownTrees", "TreeArrays"]

SEEN = 2 / 3
"""Share of the rows from which a tree is grown."""


@dataclass(frozen=True)
class TreeArrays:
    """Nodes of T trees, M together.

    Attributes:
        feature: ``[M]``, int64: column by which a node splits, -1 for a leaf.
        threshold: ``[M]``, float64: highest value that goes to the first child.
        branches: ``[M, 2]``, int64: the numbers of its children.
        roots: ``[T]``, int64.
    """

    feature: np.ndarray
    threshold: np.ndarray
    branches: np.ndarray
    roots: np.ndarray


class GrownTrees:
    """Trees that were grown for a column by the columns before it, each from some of N rows.

    Args:
        trees: Fitted trees of scikit-learn.
        rows: The rows that each has seen.
        num_rows: N.
    """

    def __init__(self, trees: list[Any], rows: list[np.ndarray], num_rows: int) -> None:
        self._trees = trees
        self._rows = rows
        self._num_rows = num_rows

    @classmethod
    def grow(
        cls,
        x: np.ndarray,
        values: np.ndarray,
        is_category: bool,
        trees: int,
        min_rows: int,
        features: float,
        seed: int,
    ) -> GrownTrees:
        """Grow trees: of numbers to lower the variance of their ranks, of categories to lower their entropy.

        Ranks, so that neither the unit of a column nor its tails decide where it is split.

        Args:
            x: Earlier columns ``[N, C]``; categories as whole numbers.
            values: ``[N]``.
            is_category: Whether they are categories.
            trees: T.
            min_rows: Fewest rows of a leaf.
            features: Share of the columns that are looked at for each split, in (0, 1].
            seed: Of the choice of rows and columns.
        """
        from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

        random = np.random.RandomState(seed)
        target = values if is_category else np.searchsorted(np.sort(values), values).astype(float)
        number_seen = max(1, round(SEEN * len(x)))
        rows = [np.sort(random.permutation(len(x))[:number_seen]) for _ in range(trees)]
        if not x.shape[1]:
            return cls([None] * trees, rows, len(x))
        kind, criterion = (
            (DecisionTreeClassifier, "log_loss") if is_category else (DecisionTreeRegressor, "squared_error")
        )
        grown = []
        for some in rows:
            tree = kind(
                criterion=criterion,
                min_samples_leaf=min_rows,
                max_features=max(1, round(features * x.shape[1])),
                random_state=random.randint(2**31 - 1),
            )
            grown.append(tree.fit(x[some], target[some]).tree_)
        return cls(grown, rows, len(x))

    def seen(self) -> tuple[np.ndarray, np.ndarray]:
        """Return what was seen, as pairs: the rows, and the tree of each, int64."""
        return np.concatenate(self._rows), np.repeat(np.arange(len(self._rows)), [len(rows) for rows in self._rows])

    def unseen(self) -> np.ndarray:
        """Return which rows each tree has not seen, ``[N, T]``, bool."""
        unseen = np.ones((self._num_rows, len(self._rows)), dtype=bool)
        unseen[self.seen()] = False
        return unseen

    def pruned(self, min_rows: int) -> TreeArrays:
        """Return the trees without the splits that leave fewer rows on a side, and without what is below these."""
        kept = [_pruned(tree, min_rows) for tree in self._trees]
        starts = np.cumsum([0, *(len(tree.feature) for tree in kept)])
        return TreeArrays(
            np.concatenate([tree.feature for tree in kept]),
            np.concatenate([tree.threshold for tree in kept]),
            np.concatenate([tree.branches + start for tree, start in zip(kept, starts, strict=False)]),
            starts[:-1],
        )


def _pruned(tree: Any, min_rows: int) -> TreeArrays:
    if tree is None:  # a first column, which has none before it
        return TreeArrays(np.full(1, -1), np.zeros(1), np.zeros((1, 2), dtype=np.int64), np.zeros(1, dtype=np.int64))
    children = np.stack([tree.children_left, tree.children_right], axis=1).astype(np.int64)
    splits = (children[:, 0] >= 0) & (tree.n_node_samples[children].min(1) >= min_rows)
    layers = [np.zeros(1, dtype=np.int64)]
    while len(layers[-1]):
        layers.append(children[layers[-1][splits[layers[-1]]]].reshape(-1))
    nodes = np.concatenate(layers)
    places = np.zeros(len(children), dtype=np.int64)
    places[nodes] = np.arange(len(nodes))
    inner = splits[nodes]
    return TreeArrays(
        np.where(inner, tree.feature[nodes], -1).astype(np.int64),
        tree.threshold[nodes].astype(np.float64),
        places[children[nodes]] * inner[:, None],
        np.zeros(1, dtype=np.int64),
    )
