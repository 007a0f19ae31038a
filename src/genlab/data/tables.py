"""Tables: rows of numbers and categories, and those that come with scikit-learn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Unpack

import numpy as np
import torch
from annotated_types import Ge, Le

from genlab.core.batch import Batch
from genlab.core.codec import to_grid
from genlab.core.errors import GenlabError, nearest, shown
from genlab.core.spec import DataSpec, Field
from genlab.data.base import GenlabDataModule, LoaderOptions, Split
from genlab.data.columns import ColumnsConfig, Sheet, TypedColumn, typed
from genlab.data.row_noise import RowNoise
from genlab.data.table_warnings import tell_once, warn_of_common_values, warn_of_counters, warn_of_thousands

__all__ = ["BreastCancer", "Deviation", "Diabetes", "Missing", "Rounding", "TableData", "Wine"]

Missing = Literal["refuse", "drop", "category", "indicator"]
Rounding = Literal["cells", "noise"]
Deviation = Annotated[float, Ge(0), Le(10)]
HELD_OUT = 0.15
"""Share of the different rows that are validation, and as many test."""
FEWEST_ROWS = 20


class _Taken(NamedTuple):
    """What a table was found to hold, until its splits are made: columns, labels ``[N]``, rows of each split."""

    columns: list[TypedColumn]
    labels: np.ndarray | None
    places: dict[Split, np.ndarray]


class TableData(GenlabDataModule):
    """Rows of a table, float32 ``[N, D]``: numbers as they are, categories as whole numbers.

    70 % of the different rows are training, 15 % validation and 15 % test, drawn by a fixed seed; rows that are equal
    in float32, whatever their labels, are in the same split, so that none is tested on what was trained. Numbers with
    few decimals are rounded: what a model says of them is the probability of their cell, see
    :class:`genlab.core.spec.Field`. With ``rounding="noise"`` they get uniform noise within their cells, once and for
    all by a fixed seed, and have a density as other numbers have: its logarithm plus that of the width of the cells is,
    on average over the noise, a lower bound of the probability's. All families of vectors take such numbers.

    A table is a subclass that calls :meth:`take`.

    The other arguments are those of :class:`LoaderOptions`.

    Args:
        root: Folder in which what is computed once for the data is kept.
        rounding: ``"cells"`` or ``"noise"``.
        training_noise: Standard deviation of normal noise that is added to the numbers of a training row each time that
            it is drawn, in units of each column's deviation; 0: none is. See :class:`genlab.data.row_noise.RowNoise`.
    """

    def __init__(
        self,
        root: str | Path = "data",
        *,
        rounding: Rounding = "cells",
        training_noise: Deviation = 0.0,
        **loader: Unpack[LoaderOptions],
    ) -> None:
        super().__init__(root, **loader)
        if rounding not in ("cells", "noise"):
            near = nearest(rounding, ("cells", "noise"))
            raise GenlabError(f"data.rounding is '{rounding}', expected cells or noise.{near}")
        self.rounding = rounding
        self.training_noise = training_noise

    def take(
        self,
        name: str,
        sheet: Sheet,
        config: ColumnsConfig,
        target: str | None,
        missing: Missing = "refuse",
        predict: str | None = None,
    ) -> None:
        """Find out what the columns of a table hold, and set ``spec``.

        Args:
            name: Name of the data set.
            sheet: The table as text.
            config: What is said of its columns.
            target: Column whose categories are the labels, and which is no column of the rows then; None: none is.
            missing: What is done where values are missing; see :class:`genlab.data.own.CsvTable`.
            predict: Column that models trained on samples are to predict from the others; None: the labels.
        """
        sheet.check_names("data.predict", [] if predict is None else [predict])
        sheet = _complete(_without(sheet, config, target), config, missing)
        labels = None if target is None else _labels(sheet, target, config)
        names = [column for column in sheet.columns if column != target]
        if not names:
            raise GenlabError(f"No column of {sheet.where} is left, expected at least one.")
        if predict is not None:
            _check_predict(sheet, predict, names, config)
        columns = _filled_columns(sheet, names, config, missing)
        self.spec = DataSpec(
            name,
            "table",
            (len(columns),),
            num_classes=None if labels is None else labels.field.levels,
            fields=tuple(self._described(column.field) for column in columns),
            predicted=predict,
            label=None if labels is None else labels.field,
        )
        # As models see them, and without labels: what differs by these alone would be tested on what was trained.
        rows = np.column_stack([c.values for c in columns]).astype(np.float32)
        places, equal = _split(rows, sheet.where)
        self._taken: _Taken | None = _Taken(columns, None if labels is None else labels.values, places)
        if equal:
            what = f"{equal:,} of {len(rows):,} rows equal another"
            tell_once(f"{sheet.where}: {what}; equal ones are in the same split.", name)

    def load(self, split: Split) -> dict[Split, Batch]:
        assert self._taken is not None, "all splits come from the first call"
        taken, self._taken = self._taken, None  # the table lies in memory once, as its splits
        noise = np.random.RandomState(0)  # NumPy promises never to change this stream
        x = torch.stack([self._values(column, noise) for column in taken.columns], dim=1)
        y = None if taken.labels is None else torch.from_numpy(taken.labels).long()
        places = {name: torch.from_numpy(rows) for name, rows in taken.places.items()}
        if self.training_noise:
            self.draw_transform = RowNoise(self.spec, self.training_noise, x[places["train"]])
        return {name: Batch(x[rows], None if y is None else y[rows]) for name, rows in places.items()}

    def _described(self, field: Field) -> Field:
        return replace(field, rounded=False) if self.rounding == "noise" else field

    def _values(self, column: TypedColumn, noise: np.random.RandomState) -> torch.Tensor:
        values, step = torch.from_numpy(column.values), column.field.step
        if step is None:
            return values.float()
        if self.rounding == "noise":
            return (values + step * torch.from_numpy(noise.random_sample(len(values)) - 0.5)).float()
        return to_grid(values.float(), column.field.decimals or 0)


def _without(sheet: Sheet, config: ColumnsConfig, target: str | None) -> Sheet:
    """Leave columns out that are not wanted."""
    for key, names in (("drop", config.drop), ("categorical", config.categorical), ("numeric", config.numeric)):
        sheet.check_names(f"data.columns.{key}", names)
    sheet.check_names("data.target", [] if target is None else [target])
    if target in config.drop:
        raise GenlabError(f"data.target is '{shown(target)}', which data.columns.drop leaves out. Choose one of them.")
    both = set(config.categorical) & set(config.numeric)
    if both:
        raise GenlabError(
            f"Column '{shown(min(both))}' is in data.columns.categorical and numeric. Choose one of them."
        )
    return Sheet(sheet.where, {name: texts for name, texts in sheet.columns.items() if name not in config.drop})


def _check_predict(sheet: Sheet, predict: str, names: list[str], config: ColumnsConfig) -> None:
    """Refuse a column to predict that is none of the rows, has gaps, or has nothing beside it."""
    if predict not in names:
        why = "data.columns.drop leaves it out" if predict in config.drop else "data.target makes it the label"
        raise GenlabError(
            f"data.predict is '{shown(predict)}', which is no column of the rows: {why}. "
            "Choose one of them; labels are predicted without data.predict."
        )
    if len(names) == 1:
        raise GenlabError(f"data.predict is '{shown(predict)}', the only column: there is none to predict it from.")
    if not set(config.missing_values).isdisjoint(sheet.columns[predict]):
        raise GenlabError(
            f"Column '{shown(predict)}' of {sheet.where}, which data.predict names, has missing values. "
            "Use data.missing=drop."
        )


def _complete(sheet: Sheet, config: ColumnsConfig, missing: Missing) -> Sheet:
    """Refuse rows in which values are missing, or leave them out, unless they are to be kept."""
    gone = set(config.missing_values)
    counts = {name: sum(text in gone for text in texts) for name, texts in sheet.columns.items()}
    if missing in ("category", "indicator") or not any(counts.values()):
        return sheet
    rows = list(zip(*sheet.columns.values(), strict=True))
    whole = [row for row in rows if gone.isdisjoint(row)]
    if missing == "refuse":
        which = ", ".join(f"{shown(name)} ({count:,})" for name, count in counts.items() if count)
        raise GenlabError(
            f"{sheet.where} has missing values in {len(rows) - len(whole):,} of {len(rows):,} rows: {which}. "
            "Leave these rows out by data.missing=drop, or keep them by data.missing=category or indicator."
        )
    if not whole:
        raise GenlabError(
            f"Every row of {sheet.where} has a missing value. Leave columns out by data.columns.drop=[...]."
        )
    tell_once(f"{sheet.where}: left out {len(rows) - len(whole):,} of {len(rows):,} rows, which have missing values.")
    return Sheet(sheet.where, dict(zip(sheet.columns, map(list, zip(*whole, strict=True)), strict=True)))


def _filled_columns(sheet: Sheet, names: list[str], config: ColumnsConfig, missing: Missing) -> list[TypedColumn]:
    """Return what the columns of these names hold, without gaps, and beside them those that say what is missing."""
    columns = [part for name in names for part in _filled(typed(sheet, name, config), sheet.where, missing)]
    twice = [c.field.name for c in columns if c.field.marks is not None and c.field.name in sheet.columns]
    if twice:
        raise GenlabError(f"{sheet.where} has a column '{shown(twice[0])}' already. Give it another name.")
    for column in columns:
        warn_of_common_values(column, sheet.where)
        warn_of_counters(column, sheet.where)
        warn_of_thousands(column, sheet, config)
    return columns


def _labels(sheet: Sheet, target: str, config: ColumnsConfig) -> TypedColumn:
    as_categories = replace(config, categorical=[*config.categorical, target])
    labels = typed(sheet, target, as_categories)
    if np.isnan(labels.values).any():
        raise GenlabError(f"The target '{shown(target)}' of {sheet.where} has missing values. Use data.missing=drop.")
    return labels


def _filled(column: TypedColumn, where: str, missing: Missing) -> list[TypedColumn]:
    """Return a column without gaps: a category of its own for what is missing, or of numbers a column that says so."""
    field, gaps = column.field, np.isnan(column.values)
    if not gaps.any():
        return [column]
    if field.levels is not None:
        return [_with_a_category(column, gaps)]
    if missing == "category":
        raise GenlabError(
            f"Column '{shown(field.name)}' of {where} has {int(gaps.sum()):,} missing numbers, of which no category "
            "can be made. Use data.missing=indicator or drop."
        )
    return [_with_the_median(column, gaps, where), _marks(field.name, gaps)]


def _with_a_category(column: TypedColumn, gaps: np.ndarray) -> TypedColumn:
    field, levels = column.field, column.field.levels or 0
    values = np.where(gaps, levels, column.values)
    return TypedColumn(replace(field, levels=levels + 1, categories=(*field.categories, "")), values)


def _with_the_median(column: TypedColumn, gaps: np.ndarray, where: str) -> TypedColumn:
    if not column.field.rounded:
        raise GenlabError(
            f"Column '{shown(column.field.name)}' of {where} has missing numbers with so many decimals that they have "
            "a density, which one value for all gaps would spoil. Use data.missing=drop."
        )
    present = np.sort(column.values[~gaps])
    return TypedColumn(column.field, np.where(gaps, present[len(present) // 2], column.values))


def _marks(name: str, gaps: np.ndarray) -> TypedColumn:
    field = Field(f"{name} is missing", levels=2, categories=("no", "yes"), marks=name)
    return TypedColumn(field, gaps.astype(float))


def _split(rows: np.ndarray, where: str) -> tuple[dict[Split, np.ndarray], int]:
    """Return the places of the rows of each split, equal ones in the same, and how many rows equal an earlier one."""
    _, group = np.unique(rows, axis=0, return_inverse=True)
    group = group.reshape(-1)
    groups = int(group.max()) + 1
    if groups < FEWEST_ROWS:
        raise GenlabError(f"{where} has {groups} different rows, expected at least {FEWEST_ROWS}.")
    order = np.random.RandomState(0).permutation(groups)  # NumPy promises never to change this stream
    held_out = round(HELD_OUT * groups)
    parts = {"validation": order[:held_out], "test": order[held_out : 2 * held_out], "train": order[2 * held_out :]}
    places = {name: np.flatnonzero(np.isin(group, chosen)) for name, chosen in parts.items()}
    return places, len(rows) - groups


class _FromScikitLearn(TableData):
    """A table that comes with scikit-learn; nothing is read from ``root``."""

    table: str
    target: str | None = None
    predict: str | None = None

    def __init__(
        self,
        root: str | Path = "data",
        *,
        rounding: Rounding = "noise",
        training_noise: Deviation = 0.0,
        **loader: Unpack[LoaderOptions],
    ) -> None:
        loader.setdefault("batch_size", 32)
        super().__init__(root, rounding=rounding, training_noise=training_noise, **loader)
        sheet = Sheet(self.table, self.texts())
        self.take(f"{self.table}_{rounding}", sheet, ColumnsConfig(), self.target, predict=self.predict)

    def texts(self) -> dict[str, list[str]]:
        """Return the texts of each column by its name."""
        raise NotImplementedError


def _columns_of(names: list[str], values: np.ndarray) -> dict[str, list[str]]:
    """Write numbers with the fewest digits that tell them apart."""
    columns = zip(names, values.T, strict=True)
    return {name: [np.format_float_positional(v, trim="-") for v in column] for name, column in columns}


class Wine(_FromScikitLearn):
    """Wine: 13 measurements of 178 wines of three cultivars, which are the labels. The arguments are those of
    :class:`TableData`.

    Source: S. Aeberhard and M. Forina, "Wine", UCI Machine Learning Repository, 1992; CC BY 4.0; with scikit-learn.
    """

    licence = "CC BY 4.0"

    table, target = "wine", "cultivar"

    def texts(self) -> dict[str, list[str]]:
        from sklearn.datasets import load_wine

        found = load_wine()
        return _columns_of(found.feature_names, found.data) | {"cultivar": [str(label) for label in found.target]}


class BreastCancer(_FromScikitLearn):
    """Breast cancer Wisconsin (diagnostic): 30 measurements of 569 tumours; the diagnosis is the label. The arguments
    are those of :class:`TableData`.

    Source: W. Wolberg et al., "Breast cancer Wisconsin (diagnostic)", UCI Machine Learning Repository, 1993; CC BY 4.0;
    with scikit-learn.
    """

    licence = "CC BY 4.0"

    table, target = "breast_cancer", "diagnosis"

    def texts(self) -> dict[str, list[str]]:
        from sklearn.datasets import load_breast_cancer

        found = load_breast_cancer()
        labels = [str(found.target_names[label]) for label in found.target]
        return _columns_of(found.feature_names.tolist(), found.data) | {"diagnosis": labels}


class Diabetes(_FromScikitLearn):
    """Diabetes: 10 measurements of 442 patients, sex as categories among them, and the disease's progression a year
    later, in their own units. The arguments are those of :class:`TableData`.

    Source: B. Efron et al. (2004), "Least angle regression"; with scikit-learn.
    """

    table, predict = "diabetes", "progression"

    def texts(self) -> dict[str, list[str]]:
        from sklearn.datasets import load_diabetes

        found = load_diabetes(scaled=False)
        names = [*found.feature_names, "progression"]
        return _columns_of(names, np.column_stack([found.data, found.target]))
