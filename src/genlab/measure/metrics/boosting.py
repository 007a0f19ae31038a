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


def classifier(rows: int, fields: Sequence[Field], **options: Any) -> HistGradientBoostingClassifier:
    """Return a classifier of rows whose columns are ``fields``; it fits on so many of them."""
    # Imported here: it takes most of a second, and only tables need it.
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(**_settings(rows, fields), **options)


def regressor(rows: int, fields: Sequence[Field]) -> HistGradientBoostingRegressor:
    """Return a regressor of rows whose columns are ``fields``; it fits on so many of them."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    return HistGradientBoostingRegressor(**_settings(rows, fields))


def _settings(rows: int, fields: Sequence[Field]) -> dict[str, Any]:
    """The library's defaults, but for leaves that few rows can fill, and always all of its 100 trees."""
    return {
        "categorical_features": [f.levels is not None and f.levels <= MOST_CATEGORIES for f in fields],
        "min_samples_leaf": min(USUAL_LEAF, max(SMALLEST_LEAF, rows // 50)),
        "early_stopping": False,
        "random_state": 0,
    }
