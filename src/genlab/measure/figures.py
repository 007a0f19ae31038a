"""The registry of figures: what each is called, how it is written, which way is better, how it is measured.

Everything that shows, checks or optimizes figures is derived from here: the schema of results, the columns of tables,
the terminal, dashboards, objectives of searches, live tables. Nothing here imports torch: what computes a figure is
named and looked up when it is needed.
"""

from __future__ import annotations

from genlab.measure.figure import FRACTION, Figure, Kind, Number, Section, decimal_places, quality_figure, short_count
from genlab.measure.figures_of_series import SERIES_FIGURES
from genlab.measure.figures_of_tables import TABLE_FIGURES

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
_SOUND = "genlab.measure.of_sound:"

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
    quality_figure(
        "fid", "FID", _METRICS + "frechet:FrechetDistance", number=Number("fixed", 2), better="lower", priority=19,
        headline=True, validated=True, minimum=0.0, about="Fréchet distance between the features of samples and data.",
    ),
    quality_figure(
        "mifid", "MIFID (train)", "memorization", number=Number("fixed", 2),
        needs=("network", "training"), optional=True,
        # Neither ranked nor in tables: its threshold, where the penalty for nearness sets in, is calibrated for
        # Inception's features alone. In others it takes uncopied real images for memorized ones.
        about="Fréchet distance to the training split, divided by how near samples lie to training examples.",
    ),
    quality_figure(
        "kid", "KID", "kernel", number=Number("fixed", 4), better="lower", ideal=0.0, priority=17, spread="kid_sd",
        subsets=_KERNEL_SUBSETS, about="Squared maximum mean discrepancy with a polynomial kernel.",
    ),
    quality_figure("kid_sd", "KID's deviation", "kernel", minimum=0.0, about="Over the subsets of examples."),
    quality_figure(
        "inception_score", "IS", "inception_score", number=Number("fixed", 2), better="higher", priority=3, minimum=0.0,
        needs=("classes",), optional=True, about="How sure and how diverse the classes of samples are.",
    ),
    quality_figure(
        "precision", "precision", "manifold", short="preci-\nsion", number=_THREE, better="higher", priority=16,
        **FRACTION, about="Share of samples that lie among the data.",
    ),
    quality_figure(
        "recall", "recall", "manifold", number=_THREE, better="higher", priority=15, validated=True, **FRACTION,
        about="Share of the data that lies among the samples.",
    ),
    quality_figure(
        "density", "density", "manifold", short="den-\nsity", number=_THREE, better="higher", priority=13, minimum=0.0,
        about="How densely the samples lie among the data.",
    ),
    quality_figure(
        "coverage", "coverage", "manifold", short="cover-\nage", number=_THREE, better="higher", priority=14,
        **FRACTION, about="Share of the data that has a sample beside it.",
    ),
    quality_figure(
        "recall_by_class", "recall by class", "manifold", kind="list", needs=("classes",), optional=True, **FRACTION,
        about="Recall of each class, by rising label.",
    ),
    quality_figure(
        "sliced_wasserstein", "sliced Wasserstein", _METRICS + "vectors:SlicedWasserstein", short="sliced\nW",
        number=Number("significant", 3), better="lower", priority=7, headline=True, validated=True, minimum=0.0,
        needs=("values",), optional=True, about="Mean over directions of the distance between projections.",
    ),
    quality_figure(
        "mmd", "MMD", _METRICS + "vectors:MaximumMeanDiscrepancy", number=Number("significant", 3), better="lower",
        ideal=0.0, priority=6, needs=("values",), optional=True,
        about="Squared maximum mean discrepancy with Gaussian kernels.",
    ),
    quality_figure(
        "class_total_variation", "class TV", "class_histogram", short="class\nTV", number=_THREE, better="lower",
        priority=5, validated=True, needs=("classes",), optional=True, **FRACTION,
        about="Between the class frequencies of samples and data.",
    ),
    quality_figure(
        "missing_classes", "missing classes", "class_histogram", number=Number("whole"), minimum=0, kind="whole",
        needs=("classes",), optional=True, about="Classes with under a tenth of their share in the data.",
        warning="hardly any sample is of {value} of {classes} classes, a sign of mode collapse",
    ),
    quality_figure(
        "inception_fid", "Inception FID", "inception", short="Incep.\nFID", number=Number("fixed", 2), better="lower",
        priority=18, minimum=0.0, needs=("inception",), optional=True, about="FID of the literature.",
    ),
    quality_figure(
        "inception_kid", "Inception KID", "inception", short="Incep.\nKID", number=Number("fixed", 4), better="lower",
        ideal=0.0, priority=3, spread="inception_kid_sd", subsets=_KERNEL_SUBSETS, needs=("inception",), optional=True,
        about="KID of the literature.",
    ),
    quality_figure(
        "inception_kid_sd", "Inception KID's deviation", "inception", minimum=0.0, needs=("inception",), optional=True,
    ),
    quality_figure(
        "inception_sha256", "Inception's checksum", "inception", kind="sha256", needs=("inception",), optional=True,
    ),
    quality_figure(
        "classification_accuracy", "accuracy score", "accuracy", short="accu-\nracy", number=_THREE,
        better="higher", priority=5, needs=("accuracy",), optional=True, **FRACTION,
        about="On real data, of a classifier trained on the samples.",
    ),
    quality_figure(
        "classification_accuracy_real", "accuracy of real data", "accuracy", number=_THREE, needs=("accuracy",),
        optional=True, **FRACTION, about="The same of one trained on as many real examples: the ceiling.",
    ),
    quality_figure(
        "asked_class_accuracy", "asked class", "asked_class", short="asked\nclass", number=_THREE, better="higher",
        priority=6, needs=("classes", "asked"), optional=True, **FRACTION,
        about="Share of samples in which the classifier sees the class that they were drawn for.",
    ),
    quality_figure(
        "ngram_divergence", "n-gram divergence", _TEXT + "ngram_divergence", short="n-gram\nJSD", number=_THREE,
        better="lower", priority=14, spread="ngram_divergence_se", headline=True, validated=True, needs=("text",),
        optional=True, **FRACTION,
        about="Jensen-Shannon divergence, in bits, of the frequencies of n symbols in a row from those of held-out "
        "text; the mean over n of 1 to 4.",
    ),
    quality_figure(
        "ngram_divergence_se", "n-gram divergence's error", _TEXT + "ngram_divergence", minimum=0.0, needs=("text",),
        optional=True,
    ),
    quality_figure(
        "ngram_divergence_by_order", "n-gram divergence by n", _TEXT + "ngram_divergence", kind="list", first=1,
        needs=("text",), optional=True, **FRACTION, about="The same for n of 1, 2, 3 and 4.",
    ),
    quality_figure(
        "distinct_words", "distinct words", _TEXT + "words", short="distinct\nwords", number=_THREE, priority=5,
        needs=("text", "training"), optional=True, **FRACTION,
        about="Share of different words among all words of the samples; it falls with the size of a text.",
    ),
    quality_figure(
        "known_words", "known words", _TEXT + "words", short="known\nwords", number=_THREE, better="higher",
        priority=7, needs=("text", "training"), optional=True, **FRACTION,
        about="Share of the samples' words that the training text has.",
    ),
    quality_figure(
        "longest_copy", "longest copy", _TEXT + "copies", short="longest\ncopy", number=Number("fixed", 1),
        priority=5, minimum=0.0, needs=("text", "training"), optional=True,
        about="Symbols of the longest string of a sample that stands in the training text; the mean over samples.",
    ),
    quality_figure(
        "longest_copy_of_all", "longest copy of all", _TEXT + "copies", number=Number("whole"), minimum=0,
        kind="whole", needs=("text", "training"), optional=True, about="The same of the sample that copies most.",
    ),
    quality_figure(
        "copied_share", "copied", _TEXT + "copies", short="copied", number=_THREE, priority=6,
        needs=("text", "training"), optional=True, **FRACTION,
        about="Share of the samples' symbols that lie in a string of at least 50 that stands in the training text.",
    ),
    *TABLE_FIGURES,
    quality_figure(
        "silence", "silence", _SOUND + "silence", number=_THREE, priority=5, needs=("sound",), optional=True,
        **FRACTION, about="Share of 20 ms in samples that are more than 60 dB below full scale, padding included.",
    ),
    quality_figure(
        "silence_real", "silence of the data", _SOUND + "silence", number=_THREE, needs=("sound",), optional=True,
        **FRACTION, about="The same of the data that samples are compared with.",
    ),
    *SERIES_FIGURES,
    quality_figure(
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
