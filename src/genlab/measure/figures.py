"""The registry of figures: what each is called, how it is written, which way is better, how it is measured.

Everything that shows, checks or optimizes figures is derived from here: the schema of results, the columns of tables,
the terminal, dashboards, objectives of searches, live tables. Nothing here imports torch: what computes a figure is
named and looked up when it is needed.
"""

from __future__ import annotations

from typing import Any

from genlab.measure.figure import Figure, Kind, Number, Section, decimal_places, short_count

__all__ = [
    "FIGURES",
    "Figure",
    "Number",
    "decimal_places",
    "headlines",
    "known_figure",
    "of_kind",
    "of_section",
    "register",
    "short_count",
    "spreads",
    "validated",
]

_METRICS = "genlab.measure.metrics."
_THREE = Number("fixed", 3)
_TEXT = "genlab.measure.of_text:"
_TABLES = "genlab.measure.of_tables:"
_SOUND = "genlab.measure.of_sound:"
_SERIES = "genlab.measure.of_series:stylized_facts"
_SCORES = "genlab.measure.of_series:scores"


def _quality(key: str, label: str, measurement: str, **about: Any) -> Figure:
    name = measurement if ":" in measurement else f"genlab.measure.measurements:{measurement}"
    return Figure(key, "quality", label, basis="features", measured_by=name, **about)


def _of_table(key: str, label: str, measurement: str, needs: tuple[str, ...] = ("table",), **about: Any) -> Figure:
    return _quality(key, label, _TABLES + measurement, number=_THREE, needs=needs, optional=True, **about)


def _of_series(key: str, label: str, **about: Any) -> Figure:
    about |= {"number": Number("significant", 3), "needs": ("time series",), "optional": True}
    return _quality(key, label, _SERIES, **about)


def _gap(fact: str, label: str, short: str, priority: int, about: str) -> tuple[Figure, Figure, Figure]:
    """Return the figures of how far a stylized fact of samples is from the data's."""
    key = f"{fact}_gap"
    return (
        _of_series(
            key, f"{label} gap", short=short, better="lower", priority=priority, spread=f"{key}_se", minimum=0.0,
            about=f"How far {about} of samples is from the data's; the mean over columns and lags. r is the distance "
            "from the mean.",
        ),
        _of_series(f"{key}_se", f"{label} gap's error", minimum=0.0, about="By a bootstrap of windows."),
        _of_series(
            f"{key}_chance", f"{label} gap by chance", minimum=0.0,
            about="The same between real windows drawn twice, of as many as there are samples and real ones.",
        ),
    )  # fmt: skip


def _score(key: str, label: str, short: str, priority: int, about: str, of_real: str) -> tuple[Figure, ...]:
    """Return the figures of a score of recurrent networks, and of the same of real windows."""
    shared: dict[str, Any] = {"needs": ("series scores",), "optional": True, "minimum": 0.0}
    error = "Deviation over networks, each tested on windows drawn anew."
    return (
        _quality(
            key, f"{label} score", _SCORES, short=short, number=Number("fixed", 3), better="lower", priority=priority,
            spread=f"{key}_se", about=about, **shared,
        ),
        _quality(f"{key}_se", f"{label} score's error", _SCORES, about=error, **shared),
        _quality(
            f"{key}_real", f"{label} score of real windows", _SCORES, number=Number("fixed", 3),
            spread=f"{key}_real_se", about=of_real, **shared,
        ),
        _quality(f"{key}_real_se", f"{label} score of real windows' error", _SCORES, about=error, **shared),
    )  # fmt: skip


FIGURES: dict[str, Figure] = {}
"""All figures by their keys, in the order in which tables show them."""


def register(*figures: Figure) -> None:
    """Add figures to the registry, behind those that are there.

    Raises:
        ValueError: If there is another figure of that key.
    """
    for new in figures:
        if FIGURES.get(new.key, new) != new:
            raise ValueError(f"there is another figure {new.key!r}.")
        FIGURES[new.key] = new


def known_figure(key: str) -> Figure | None:
    """Return the figure of a key as :func:`figure` does; None where it is none, as ``"val/loss"``."""
    return FIGURES.get(key.removeprefix("val/"))


def of_section(section: Section) -> list[Figure]:
    """Return the figures of a section of a result."""
    return [figure for figure in FIGURES.values() if figure.section == section]


def of_kind(kind: Kind) -> list[Figure]:
    """Return the figures whose values are of a kind."""
    return [figure for figure in FIGURES.values() if figure.kind == kind]


def validated(headlines_only: bool = False) -> list[Figure]:
    """Return the figures that validation measures as ``val/<key>``, all or those of the headlines."""
    return [figure for figure in FIGURES.values() if figure.validated and (figure.headline or not headlines_only)]


def headlines() -> list[Figure]:
    """Return the few figures that a line or a dashboard has room for."""
    return [figure for figure in FIGURES.values() if figure.headline]


def spreads() -> set[str]:
    """Return the keys of figures that say how far another varies by chance, beside which they are shown."""
    return {figure.spread for figure in FIGURES.values() if figure.spread is not None}


_KERNEL_SUBSETS = (100, 1000)
_FRACTION: dict[str, Any] = {"minimum": 0.0, "maximum": 1.0}

register(
    Figure(
        "bits_per_dim", "likelihood", "bits/dim", unit="bits/dim", number=Number("fixed", 4), better="lower",
        basis="likelihood", spread="bits_per_dim_se", headline=True, validated=True,
        about="Negative log-likelihood of discrete data.",
    ),
    Figure(
        "nats", "likelihood", "nats", unit="nats", number=Number("fixed", 4), better="lower", basis="likelihood",
        spread="nats_se", headline=True, validated=True, about="Negative log-likelihood per example.",
    ),
    _quality(
        "fid", "FID", _METRICS + "frechet:FrechetDistance", number=Number("fixed", 2), better="lower", priority=19,
        headline=True, validated=True, about="Fréchet distance between the features of samples and data.",
    ),
    _quality(
        "mifid", "MIFID (train)", "memorization", number=Number("fixed", 2),
        needs=("network", "training"), optional=True,
        # Neither ranked nor in tables: its threshold, where the penalty for nearness sets in, is calibrated for
        # Inception's features alone. In others it takes uncopied real images for memorized ones.
        about="Fréchet distance to the training split, divided by how near samples lie to training examples.",
    ),
    _quality(
        "kid", "KID", "kernel", number=Number("fixed", 4), better="lower", priority=17, spread="kid_sd",
        subsets=_KERNEL_SUBSETS, about="Squared maximum mean discrepancy with a polynomial kernel.",
    ),
    _quality("kid_sd", "KID's deviation", "kernel", minimum=0.0, about="Over the subsets of examples."),
    _quality(
        "inception_score", "IS", "inception_score", number=Number("fixed", 2), better="higher", priority=3, minimum=0.0,
        needs=("classes",), optional=True, about="How sure and how diverse the classes of samples are.",
    ),
    _quality(
        "precision", "precision", "manifold", short="preci-\nsion", number=_THREE, better="higher", priority=16,
        **_FRACTION, about="Share of samples that lie among the data.",
    ),
    _quality(
        "recall", "recall", "manifold", number=_THREE, better="higher", priority=15, validated=True, **_FRACTION,
        about="Share of the data that lies among the samples.",
    ),
    _quality(
        "density", "density", "manifold", short="den-\nsity", number=_THREE, better="higher", priority=13, minimum=0.0,
        about="How densely the samples lie among the data.",
    ),
    _quality(
        "coverage", "coverage", "manifold", short="cover-\nage", number=_THREE, better="higher", priority=14,
        **_FRACTION, about="Share of the data that has a sample beside it.",
    ),
    _quality(
        "recall_by_class", "recall by class", "manifold", kind="list", needs=("classes",), optional=True, **_FRACTION,
        about="Recall of each class, by rising label.",
    ),
    _quality(
        "sliced_wasserstein", "sliced Wasserstein", _METRICS + "vectors:SlicedWasserstein", short="sliced\nW",
        number=Number("significant", 3), better="lower", priority=7, headline=True, validated=True, minimum=0.0,
        needs=("values",), optional=True, about="Mean over directions of the distance between projections.",
    ),
    _quality(
        "mmd", "MMD", _METRICS + "vectors:MaximumMeanDiscrepancy", number=Number("significant", 3), better="lower",
        priority=6, needs=("values",), optional=True, about="Squared maximum mean discrepancy with Gaussian kernels.",
    ),
    _quality(
        "class_total_variation", "class TV", "class_histogram", short="class\nTV", number=_THREE, better="lower",
        priority=5, validated=True, needs=("classes",), optional=True, **_FRACTION,
        about="Between the class frequencies of samples and data.",
    ),
    _quality(
        "missing_classes", "missing classes", "class_histogram", number=Number("whole"), minimum=0, kind="whole",
        needs=("classes",), optional=True, about="Classes with under a tenth of their share in the data.",
        warning="{value} of {classes} classes hardly occur among the samples, a sign of mode collapse",
    ),
    _quality(
        "inception_fid", "Inception FID", "inception", short="Incep.\nFID", number=Number("fixed", 2), better="lower",
        priority=18, needs=("inception",), optional=True, about="FID of the literature.",
    ),
    _quality(
        "inception_kid", "Inception KID", "inception", short="Incep.\nKID", number=Number("fixed", 4), better="lower",
        priority=3, spread="inception_kid_sd", subsets=_KERNEL_SUBSETS, needs=("inception",), optional=True,
        about="KID of the literature.",
    ),
    _quality(
        "inception_kid_sd", "Inception KID's deviation", "inception", minimum=0.0, needs=("inception",), optional=True,
    ),
    _quality(
        "inception_sha256", "Inception's checksum", "inception", kind="sha256", needs=("inception",), optional=True,
    ),
    _quality(
        "classification_accuracy", "accuracy score", "accuracy", short="accu-\nracy", number=_THREE,
        better="higher", priority=5, needs=("accuracy",), optional=True, **_FRACTION,
        about="On real data, of a classifier trained on the samples.",
    ),
    _quality(
        "classification_accuracy_real", "accuracy of real data", "accuracy", number=_THREE, needs=("accuracy",),
        optional=True, **_FRACTION, about="The same of one trained on as many real examples: the ceiling.",
    ),
    _quality(
        "asked_class_accuracy", "asked class", "asked_class", short="asked\nclass", number=_THREE, better="higher",
        priority=6, needs=("classes", "asked"), optional=True, **_FRACTION,
        about="Share of samples in which the classifier sees the class that they were drawn for.",
    ),
    _quality(
        "ngram_divergence", "n-gram divergence", _TEXT + "ngram_divergence", short="n-gram\nJSD", number=_THREE,
        better="lower", priority=14, spread="ngram_divergence_se", headline=True, validated=True, needs=("text",),
        optional=True, **_FRACTION,
        about="Jensen-Shannon divergence, in bits, of the frequencies of n symbols in a row from those of held-out "
        "text; the mean over n of 1 to 4.",
    ),
    _quality(
        "ngram_divergence_se", "n-gram divergence's error", _TEXT + "ngram_divergence", minimum=0.0, needs=("text",),
        optional=True,
    ),
    _quality(
        "ngram_divergence_by_order", "n-gram divergence by n", _TEXT + "ngram_divergence", kind="list", first=1,
        needs=("text",), optional=True, **_FRACTION, about="The same for n of 1, 2, 3 and 4.",
    ),
    _quality(
        "distinct_words", "distinct words", _TEXT + "words", short="distinct\nwords", number=_THREE, priority=5,
        needs=("text", "training"), optional=True, **_FRACTION,
        about="Share of different words among all words of the samples; it falls with the size of a text.",
    ),
    _quality(
        "known_words", "known words", _TEXT + "words", short="known\nwords", number=_THREE, better="higher",
        priority=7, needs=("text", "training"), optional=True, **_FRACTION,
        about="Share of the samples' words that the training text has.",
    ),
    _quality(
        "longest_copy", "longest copy", _TEXT + "copies", short="longest\ncopy", number=Number("fixed", 1),
        priority=5, minimum=0.0, needs=("text", "training"), optional=True,
        about="Symbols of the longest string of a sample that stands in the training text; the mean over samples.",
    ),
    _quality(
        "longest_copy_of_all", "longest copy of all", _TEXT + "copies", number=Number("whole"), minimum=0,
        kind="whole", needs=("text", "training"), optional=True, about="The same of the sample that copies most.",
    ),
    _quality(
        "copied_share", "copied", _TEXT + "copies", short="copied", number=_THREE, priority=6,
        needs=("text", "training"), optional=True, **_FRACTION,
        about="Share of the samples' symbols that lie in a string of at least 50 that stands in the training text.",
    ),
    _quality(
        "column_distance", "column distance", _TABLES + "distances", short="column\ndist.", number=_THREE,
        better="lower", priority=14, spread="column_distance_se", headline=True, validated=True, needs=("table",),
        optional=True, **_FRACTION,
        about="How far the distribution of a column is from that of held-out rows: Kolmogorov-Smirnov distance of "
        "numbers, total variation of categories; the mean over columns.",
    ),
    _quality(
        "column_distance_se", "column distance's error", _TABLES + "distances", minimum=0.0, needs=("table",),
        optional=True,
    ),
    _quality(
        "column_distance_by_column", "column distance by column", _TABLES + "distances", kind="list", first=1,
        of_columns=True, needs=("table",), optional=True, **_FRACTION, about="The same of each column.",
    ),
    _quality(
        "correlation_difference", "correlation difference", _TABLES + "distances", short="corre-\nlation",
        number=_THREE, better="lower", priority=13, spread="correlation_difference_se", minimum=0.0, maximum=2.0,
        needs=("number_pairs",), optional=True,
        about="How far the rank correlation of two columns of numbers is from that of held-out rows; the mean over "
        "pairs.",
    ),
    _quality(
        "correlation_difference_se", "correlation difference's error", _TABLES + "distances", minimum=0.0,
        needs=("number_pairs",), optional=True,
    ),
    _quality(
        "contingency_difference", "contingency difference", _TABLES + "distances", short="contin-\ngency",
        number=_THREE, better="lower", priority=12, spread="contingency_difference_se",
        needs=("category_pairs",), optional=True, **_FRACTION,
        about="Total variation between the contingency tables of two columns, one of them at least of categories and "
        "numbers cut at quartiles, and those of held-out rows; the mean over pairs.",
    ),
    _quality(
        "contingency_difference_se", "contingency difference's error", _TABLES + "distances", minimum=0.0,
        needs=("category_pairs",), optional=True,
    ),
    _of_table(
        "c2st_auc", "classifier's AUC", "told_apart", short="C2ST\nAUC", better="lower", priority=11,
        spread="c2st_auc_se", **_FRACTION,
        about="How well a classifier tells samples from held-out rows: the area under its ROC curve, by "
        "cross-validation; 0.5 is chance.",
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
        needs=("predicted class", "training"), spread="tstr_accuracy_se", **_FRACTION,
        about="Balanced accuracy on held-out rows of trees that were trained on the samples to predict the class.",
    ),
    _of_table(
        "tstr_accuracy_se", "accuracy by samples' error", "predicted_class", needs=("predicted class", "training"),
        minimum=0.0, about="Of the held-out rows.",
    ),
    _of_table(
        "tstr_accuracy_real", "accuracy by real rows", "predicted_class", needs=("predicted class", "training"),
        **_FRACTION, about="The same of trees trained on as many training rows: what to reach.",
    ),
    _of_table(
        "nearer_share", "nearer to train", "training_rows", short="nearer\ntrain", priority=4,
        needs=("table", "training"), spread="nearer_share_se", **_FRACTION,
        # Neither way is better: 0.5 is ideal, and more says that training rows are repeated.
        about="Share of samples that are nearer to training rows than to as many held-out ones; 0.5 is ideal.",
    ),
    _of_table(
        "nearer_share_se", "nearer to train's error", "training_rows", needs=("table", "training"), minimum=0.0,
        about="Over which real rows were trained on.",
    ),
    _quality(
        "silence", "silence", _SOUND + "silence", number=_THREE, priority=5, needs=("sound",), optional=True,
        **_FRACTION, about="Share of 20 ms in samples that are more than 60 dB below full scale, padding included.",
    ),
    _quality(
        "silence_real", "silence of the data", _SOUND + "silence", number=_THREE, needs=("sound",), optional=True,
        **_FRACTION, about="The same of the data that samples are compared with.",
    ),
    *_gap("autocorrelation", "ACF", "ACF\ngap", 8, "the autocorrelation"),
    *_gap("autocorrelation_abs", "ACF of sizes", "sizes'\nACF gap", 14, "the autocorrelation of |r|"),
    *_gap("autocorrelation_squared", "ACF of squares", "squares'\nACF gap", 9, "the autocorrelation of r²"),
    *_gap("leverage", "leverage", "lever-\nage gap", 10, "the correlation of r with a later r²"),
    *_gap("kurtosis", "kurtosis", "kurto-\nsis gap", 12, "the kurtosis"),
    *_gap("tail_index", "tail index", "tail\ngap", 13, "the tail index, Hill's of the largest twentieth,"),
    _of_series(
        "autocorrelation_squared_deviation", "ACF of squares' deviation by lag", kind="list", first=1,
        about="How far the autocorrelation of r² of samples is above the data's, at each lag, in standard deviations "
        "of the difference between two sets of real windows, as many as samples and as many as the split has; of "
        "several columns that of the farthest.",
    ),
    _of_series("kurtosis_deviation", "kurtosis' deviation", about="The same of the kurtosis."),
    _of_series("kurtosis", "kurtosis", minimum=0.0, about="Of the samples; 3 for a normal distribution."),
    _of_series("kurtosis_real", "kurtosis of the data", minimum=0.0, about="The same of the data."),
    _of_series("tail_index", "tail index", minimum=0.0, about="Of the samples; the lower, the heavier the tails."),
    _of_series("tail_index_real", "tail index of the data", minimum=0.0, about="The same of the data."),
    *_score(
        "discriminative_score", "discriminative", "discri-\nminative", 7,
        "How much better than chance a recurrent network tells samples from real windows; at most 0.5.",
        "The same of training windows in the place of samples: what chance and the passing of time give.",
    ),
    *_score(
        "predictive_score", "predictive", "predic-\ntive", 6,
        "Mean absolute error, in standard deviations, of the next step of real windows, predicted by a recurrent "
        "network that was trained on samples.",
        "The same of one that was trained on the training windows.",
    ),
    _quality(
        "neighbour_ratio", "neighbour ratio", "neighbours", short="neigh-\nbours", number=_THREE, priority=4,
        minimum=0.0, needs=("features", "training"), optional=True,
        # Neither way is better: far below 1 says that training examples are repeated.
        about="Median distance of samples to their nearest training example, over that of test examples.",
    ),
    Figure(
        "nfe", "sampling", "NFE", unit="network evaluations", singular="network evaluation", number=Number("whole"),
        better="lower", priority=11, minimum=0.0, about="Network evaluations per sample.",
    ),
    Figure(
        "ms_per_sample", "sampling", "ms per sample", short="ms per\nsample", unit="ms per sample",
        number=Number("significant", 3), better="lower", basis="hardware", priority=12, minimum=0.0,
        cost="sampling cost",
        cost_unit="ms per sample", about="Milliseconds that one sample costs.",
    ),
    Figure(
        "parameters", "model", "parameters", short="para-\nmeters", number=Number("count"), priority=10, minimum=0,
        kind="whole", about="Number of trained weights.",
    ),
    Figure(
        "parameters_to_sample", "model", "parameters to sample", short="to\nsample", number=Number("count"),
        priority=6, minimum=0, kind="whole", optional=True,
        about="Number of trained weights that a sample needs: without a discriminator or an encoder.",
    ),
    Figure(
        "examples_seen", "training", "examples seen", short="exam-\nples", number=Number("count"), priority=8,
        minimum=0, kind="whole", about="Training examples seen.",
    ),
    Figure(
        "wall_seconds", "training", "train minutes", short="train\nmin", column="train_minutes",
        number=Number("fixed", 1), priority=9, minimum=0.0, divisor=60.0, cost="training cost",
        cost_unit="minutes",
        about="Wall time of training, in seconds; shown in minutes.",
    ),
)  # fmt: skip
