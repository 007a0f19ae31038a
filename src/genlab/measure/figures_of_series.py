"""The figures of series: how far their stylized facts are from the data's, and scores of recurrent networks."""

from __future__ import annotations

from typing import Any

from genlab.measure.figure import Figure, Number, quality_figure

__all__ = ["SERIES_FIGURES"]

_SERIES = "genlab.measure.of_series:stylized_facts"
_SCORES = "genlab.measure.of_series:scores"


def _of_series(key: str, label: str, **about: Any) -> Figure:
    about |= {"number": Number("significant", 3), "needs": ("time series",), "optional": True}
    return quality_figure(key, label, _SERIES, **about)


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
        quality_figure(
            key, f"{label} score", _SCORES, short=short, number=Number("fixed", 3), better="lower", priority=priority,
            spread=f"{key}_se", about=about, **shared,
        ),
        quality_figure(f"{key}_se", f"{label} score's error", _SCORES, about=error, **shared),
        quality_figure(
            f"{key}_real", f"{label} score of real windows", _SCORES, number=Number("fixed", 3),
            spread=f"{key}_real_se", about=of_real, **shared,
        ),
        quality_figure(f"{key}_real_se", f"{label} score of real windows' error", _SCORES, about=error, **shared),
    )  # fmt: skip


SERIES_FIGURES = (
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
)  # fmt: skip
