"""The figures of tables: their columns, pairs of columns, and what is learned from the samples and about them."""

from __future__ import annotations

from typing import Any

from genlab.measure.figure import FRACTION, Figure, Number, quality_figure

__all__ = ["TABLE_FIGURES"]

_TABLES = "genlab.measure.of_tables:"
_THREE = Number("fixed", 3)


def _of_table(key: str, label: str, measurement: str, needs: tuple[str, ...] = ("table",), **about: Any) -> Figure:
    return quality_figure(key, label, _TABLES + measurement, number=_THREE, needs=needs, optional=True, **about)


TABLE_FIGURES = (
    quality_figure(
        "column_distance", "column distance", _TABLES + "distances", short="column\ndist.", number=_THREE,
        better="lower", priority=14, spread="column_distance_se", headline=True, validated=True, needs=("table",),
        optional=True, **FRACTION,
        about="How far the distribution of a column is from that of held-out rows: Kolmogorov-Smirnov distance of "
        "numbers, total variation of categories; the mean over columns.",
    ),
    quality_figure(
        "column_distance_se", "column distance's error", _TABLES + "distances", minimum=0.0, needs=("table",),
        optional=True,
    ),
    quality_figure(
        "column_distance_by_column", "column distance by column", _TABLES + "distances", kind="list", first=1,
        of_columns=True, needs=("table",), optional=True, **FRACTION, about="The same of each column.",
    ),
    quality_figure(
        "correlation_difference", "correlation difference", _TABLES + "distances", short="corre-\nlation",
        number=_THREE, better="lower", priority=13, spread="correlation_difference_se", minimum=0.0, maximum=2.0,
        needs=("number_pairs",), optional=True,
        about="How far the rank correlation of two columns of numbers is from that of held-out rows; the mean over "
        "pairs.",
    ),
    quality_figure(
        "correlation_difference_se", "correlation difference's error", _TABLES + "distances", minimum=0.0,
        needs=("number_pairs",), optional=True,
    ),
    quality_figure(
        "contingency_difference", "contingency difference", _TABLES + "distances", short="contin-\ngency",
        number=_THREE, better="lower", priority=12, spread="contingency_difference_se",
        needs=("category_pairs",), optional=True, **FRACTION,
        about="Total variation between the contingency tables of two columns, one of them at least of categories and "
        "numbers cut at quartiles, and those of held-out rows; the mean over pairs.",
    ),
    quality_figure(
        "contingency_difference_se", "contingency difference's error", _TABLES + "distances", minimum=0.0,
        needs=("category_pairs",), optional=True,
    ),
    _of_table(
        "c2st_auc", "classifier's AUC", "told_apart", short="C2ST\nAUC", better="lower", ideal=0.5,
        priority=11, spread="c2st_auc_se", **FRACTION,
        about="How well a classifier tells samples from held-out rows: the area under its ROC curve, by "
        "cross-validation; 0.5 is chance, and nothing below it is better.",
    ),
    _of_table("c2st_auc_se", "classifier's AUC's error", "told_apart", minimum=0.0, about="Of the rows judged."),
    _of_table(
        "tstr_r2", "R² by samples", "predicted_number", short="TSTR\nR²", better="higher", priority=10,
        needs=("predicted number", "training"), spread="tstr_r2_se", maximum=1.0,
        about="R² on held-out rows of trees that were trained on the samples to predict a column from the others.",
    ),
    _of_table(
        "tstr_r2_se", "R² by samples' error", "predicted_number", needs=("predicted number", "training"), minimum=0.0,
        about="Of the held-out rows.",
    ),
    _of_table(
        "tstr_r2_real", "R² by real rows", "predicted_number", needs=("predicted number", "training"), maximum=1.0,
        about="The same of trees trained on as many training rows: what to reach.",
    ),
    _of_table(
        "tstr_accuracy", "accuracy by samples", "predicted_class", short="TSTR\nacc.", better="higher", priority=10,
        needs=("predicted class", "training"), spread="tstr_accuracy_se", **FRACTION,
        about="Balanced accuracy on held-out rows of trees that were trained on the samples to predict the class.",
    ),
    _of_table(
        "tstr_accuracy_se", "accuracy by samples' error", "predicted_class", needs=("predicted class", "training"),
        minimum=0.0, about="Of the held-out rows.",
    ),
    _of_table(
        "tstr_accuracy_real", "accuracy by real rows", "predicted_class", needs=("predicted class", "training"),
        **FRACTION, about="The same of trees trained on as many training rows: what to reach.",
    ),
    _of_table(
        "nearer_share", "nearer to train", "training_rows", short="nearer\ntrain", priority=4,
        needs=("table", "training"), spread="nearer_share_se", **FRACTION,
        # Neither way is better: 0.5 is ideal, and more says that training rows are repeated.
        about="Share of samples that are nearer to training rows than to as many held-out ones; 0.5 is ideal.",
    ),
    _of_table(
        "nearer_share_se", "nearer to train's error", "training_rows", needs=("table", "training"), minimum=0.0,
        about="Over which real rows were trained on.",
    ),
)  # fmt: skip
