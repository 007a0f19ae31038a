"""The trees that judge tables: scikit-learn's gradient boosting over histograms, made for the columns of a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from genlab.core.spec import Field

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

__all__ = ["classifier", "regressor"]

MOST_CATEGORIES = 255
"""Of a column whose categories may be grouped in any way; those of a larger one are split by their order."""
USUAL_LEAF, SMALLEST_LEAF = 20, 5
TREES, FEWEST_TREES = 100, 10


def classifier(rows: int, fields: Sequence[Field], classes: int = 2, **options: Any) -> HistGradientBoostingClassifier:
    """Return a classifier of rows whose columns are ``fields``; it fits on so many of them.

    Each class has trees of its own: of more than ten it has fewer, and at least ten, or a thousand would take hours.
    """
    # Imported here: it takes most of a second, and only tables need it.
    from sklearn.ensemble import HistGradientBoostingClassifier

    trees = max(FEWEST_TREES, TREES * 10 // max(10, classes))
    return HistGradientBoostingClassifier(**_settings(rows, fields), max_iter=trees, **options)


def regressor(rows: int, fields: Sequence[Field]) -> HistGradientBoostingRegressor:
    """Return a regressor of rows whose columns are ``fields``; it fits on so many of them."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    return HistGradientBoostingRegressor(**_settings(rows, fields))


def _settings(rows: int, fields: Sequence[Field]) -> dict[str, Any]:
    """The library's defaults, but for leaves that few rows can fill, and always all of the trees."""
    return {
        "categorical_features": [f.levels is not None and f.levels <= MOST_CATEGORIES for f in fields],
        "min_samples_leaf": min(USUAL_LEAF, max(SMALLEST_LEAF, rows // 50)),
        "early_stopping": False,
        "random_state": 0,
    }
