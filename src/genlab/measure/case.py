"""One set of samples to be judged: with what they are compared, through which features, and what is not at hand."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from genlab.core.batch import Batch
from genlab.core.spec import DataSpec, Field
from genlab.core.timetable import Timetable
from genlab.measure.features.cache import FeatureCache, MemoryCache
from genlab.measure.features.extractors import Extractor, Features
from genlab.measure.features.inception import InceptionExtractor
from genlab.modalities import modality_of

__all__ = ["MOST_REAL", "MOST_TRAINED", "Case", "Instruments", "Reference"]

MOST_REAL, MOST_TRAINED = 50_000, 200_000
"""Most real and most training examples that samples are compared with: every pair of the first is compared too, and of
data with millions of rows that would take hours. No set of images comes near."""
_TOLD_EVERY = 2000
"""Examples whose features are computed before it is told; a multiple of the batches of all extractors."""


@dataclass(frozen=True)
class Reference:
    """What samples are compared with.

    Attributes:
        spec: What one example is.
        examples: The real examples; samples are compared with all of them, or of very many with some.
        split: Name of the split that they are.
        training: What the model was trained on, for the distances to the nearest training example; None where these
            are not asked for.
    """

    spec: DataSpec
    examples: Batch
    split: str
    training: Batch | None = None

    @property
    def training_labels(self) -> Tensor | None:
        """Labels of the training examples, ``[N]``; None where there are none."""
        return None if self.training is None else self.training.y


@dataclass(frozen=True)
class Instruments:
    """What samples are judged with.

    Attributes:
        extractor: What examples are seen through; None where nothing judges such data yet.
        cache: Keeps the features of real examples, in memory or in files.
        inception: Gives the FID and KID of the literature too, of images.
        classification_accuracy: Whether a classifier is trained on the samples, and beside it one on real examples.
        series_scores: Whether recurrent networks are trained on samples of series, and beside them on real windows.
        device: Where features are compared; one that knows float64.
    """

    extractor: Extractor | None
    cache: FeatureCache | MemoryCache = field(default_factory=MemoryCache)
    inception: InceptionExtractor | None = None
    classification_accuracy: bool = False
    series_scores: bool = False
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))


@dataclass(frozen=True)
class Case:
    """Samples, what they are compared with, and what with; what measurements share is computed once.

    Attributes:
        samples: ``x`` ``[N, *spec.shape]`` in the data's own values, on the CPU; ``y`` the classes that they were drawn
            for, or None where the model was given none.
        rows: Places of the samples among the training examples, where they are such: these then count as trained on
            the others.
        timetable: Is told of the features that are computed.
    """

    samples: Batch
    reference: Reference
    instruments: Instruments
    rows: Tensor | None = None
    timetable: Timetable = field(default_factory=Timetable)

    def lacks(self, need: str) -> str | None:
        """Say why something that a figure needs is not at hand, in a sentence without its full stop; None if it is.

        Args:
            need: ``features``, or of these ``values`` (vectors as they are), ``network`` (any other), ``classes``
                (logits of a classifier and labels); ``training`` (the training examples); ``text``, ``sound``,
                ``table`` or ``time series``, which the data is; ``number_pairs`` and ``category_pairs`` (two columns of
                a table, both of numbers, or one at least of categories); ``predicted number`` and ``predicted class``
                (what is to be predicted of a row, if it is that); ``asked`` (classes that samples were drawn for);
                ``inception``, ``accuracy`` and ``series scores``, which are measured where they are asked for.

        Raises:
            ValueError: If there is no such need.
        """
        found = _NEEDS.get(need)
        if found is None:
            raise ValueError(f"need is {need!r}, expected one of {', '.join(_NEEDS)}.")
        return found(self)

    def asks_for(self, need: str) -> bool:
        """Whether the protocol asks for what other protocols leave out."""
        if need == "inception":
            return self.instruments.inception is not None
        if need == "series scores":
            return self.instruments.series_scores
        return need == "accuracy" and self.instruments.classification_accuracy

    @functools.cached_property
    def fake(self) -> Features:
        """The samples' features."""
        if self.rows is None:
            return self._extract(self.samples.x).to(self.instruments.device)
        return self._all_trained.at(self.rows)

    @functools.cached_property
    def real(self) -> Features:
        """The features of the real examples that samples are compared with."""
        found = self._kept(self.reference.examples.x, self.reference.split)
        return found if self.real_rows is None else found.at(self.real_rows)

    @functools.cached_property
    def real_rows(self) -> Tensor | None:
        """Places of these among the real examples; None: they are all."""
        return _some(torch.arange(len(self.reference.examples.x)), MOST_REAL)

    @functools.cached_property
    def trained(self) -> Features:
        """The training examples' features, without the samples where these are training examples."""
        return self._all_trained if self.trained_rows is None else self._all_trained.at(self.trained_rows)

    @functools.cached_property
    def trained_rows(self) -> Tensor | None:
        """Places of these among the training examples; None: they are all."""
        assert self.reference.training is not None
        places = torch.arange(len(self.reference.training.x))
        if self.rows is None:
            return _some(places, MOST_TRAINED)
        others = torch.ones(len(places), dtype=torch.bool)
        others[self.rows] = False
        some = _some(places[others], MOST_TRAINED)
        return places[others] if some is None else some

    @functools.cached_property
    def _all_trained(self) -> Features:
        assert self.reference.training is not None
        return self._kept(self.reference.training.x, "train")

    @property
    def _extractor(self) -> Extractor:
        assert self.instruments.extractor is not None
        return self.instruments.extractor

    def _extract(self, x: Tensor) -> Features:
        if self._extractor.sha256 is None:  # nothing to compute
            return self._extractor(x)
        with self.timetable.phase("features", len(x), counts=True):
            parts = []
            for part in x.split(_TOLD_EVERY):
                parts.append(self._extractor(part))
                self.timetable.advance(len(part))
        logits = [part.logits for part in parts if part.logits is not None]
        return Features(torch.cat([part.values for part in parts]), torch.cat(logits) if logits else None)

    def _kept(self, x: Tensor, split: str) -> Features:
        extractor, spec = self._extractor, self.reference.spec
        if extractor.sha256 is None:  # nothing to compute
            return extractor(x).to(self.instruments.device)

        def extract() -> dict[str, Tensor]:
            found = self._extract(x)
            return {"features": found.values} | ({} if found.logits is None else {"logits": found.logits})

        kept = self.instruments.cache.get(spec.name, split, extractor.sha256, x, spec.levels or 0, extract)
        return Features(kept["features"], kept.get("logits")).to(self.instruments.device)


def _some(places: Tensor, most: int) -> Tensor | None:
    """Return some of the places, always the same, in their order; None: they are few enough for all."""
    if len(places) <= most:
        return None
    return places[torch.randperm(len(places), generator=torch.Generator().manual_seed(0))[:most].sort().values]


def _without_features(case: Case) -> str | None:
    if case.instruments.extractor is not None:
        return None
    return f"sample quality needs a feature extractor, and there is none for {case.reference.spec.name}"


def _without_values(case: Case) -> str | None:
    extractor = case.instruments.extractor
    if extractor is not None and extractor.sha256 is None:
        return None
    return "it is for vectors, which are their own features"


def _without_network(case: Case) -> str | None:
    return _without_features(case) or (None if _without_values(case) else "it is for the features of a network")


def _without_classes(case: Case) -> str | None:
    labelled = case.reference.examples.y is not None and case.reference.spec.num_classes is not None
    if _without_features(case) is None and labelled and case.fake.logits is not None:
        return None
    return "it needs labelled data and a classifier of its classes"


def _without_training(case: Case) -> str | None:
    return None if case.reference.training is not None else "it needs the training examples"


def _without_asked(case: Case) -> str | None:
    return "the model is not class-conditional: its samples have no labels" if case.samples.y is None else None


def _not_judged_as(kind: str) -> Callable[[Case], str | None]:
    return lambda case: None if kind in modality_of(case.reference.spec).judged_as else f"it is for {kind}"


def _without_number_pairs(case: Case) -> str | None:
    numbers = [field for field in case.reference.spec.fields if field.levels is None]
    return _not_judged_as("table")(case) or (None if len(numbers) > 1 else "it needs two columns of numbers")


def _without_category_pairs(case: Case) -> str | None:
    fields = case.reference.spec.fields
    has_pair = len(fields) > 1 and any(field.levels is not None for field in fields)
    return _not_judged_as("table")(case) or (None if has_pair else "it needs two columns, one of them of categories")


def _without_predicted_number(case: Case) -> str | None:
    field = _predicted(case)
    is_number = field is not None and field.levels is None
    return _not_judged_as("table")(case) or (None if is_number else "it needs a column of numbers to predict")


def _without_predicted_class(case: Case) -> str | None:
    spec, training, examples = case.reference.spec, case.reference.training, case.reference.examples
    if (why := _not_judged_as("table")(case)) is not None:
        return why
    if spec.predicted is not None:
        field = _predicted(case)
        return None if field is not None and field.levels is not None else "it needs a column of categories to predict"
    if training is None or training.y is None or examples.y is None:
        return "it needs labels or a column of categories to predict"
    return _without_asked(case)


def _predicted(case: Case) -> Field | None:
    spec = case.reference.spec
    return next((field for field in spec.fields if field.name == spec.predicted), None)


def _without_inception(case: Case) -> str | None:
    spec = case.reference.spec
    if case.instruments.inception is None:
        return "it needs the weights of Inception: evaluation.inception_weights=<file>"
    if len(spec.shape) == 3 and spec.shape[0] in (1, 3) and spec.is_discrete:
        return None
    return "Inception sees discrete images of one or three channels"


def _without_accuracy(case: Case) -> str | None:
    reference = case.reference
    if not case.instruments.classification_accuracy:
        return "it is measured with evaluation.classification_accuracy=true"
    labelled = reference.training is not None and reference.training.y is not None and reference.examples.y is not None
    if len(reference.spec.shape) != 3 or not reference.spec.is_discrete or not labelled:
        return "the score needs discrete images with labels"
    return _without_asked(case)


def _without_series_scores(case: Case) -> str | None:
    if not case.instruments.series_scores:
        return "it is measured with evaluation.series_scores=true"
    return _not_judged_as("time series")(case) or _without_training(case)


_NEEDS = {
    "features": _without_features,
    "values": _without_values,
    "network": _without_network,
    "classes": _without_classes,
    "training": _without_training,
    "text": _not_judged_as("text"),
    "sound": _not_judged_as("sound"),
    "table": _not_judged_as("table"),
    "number_pairs": _without_number_pairs,
    "category_pairs": _without_category_pairs,
    "predicted number": _without_predicted_number,
    "predicted class": _without_predicted_class,
    "time series": _not_judged_as("time series"),
    "asked": _without_asked,
    "inception": _without_inception,
    "accuracy": _without_accuracy,
    "series scores": _without_series_scores,
}
