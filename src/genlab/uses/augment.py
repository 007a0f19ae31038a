"""Augment: whether examples that a model draws make a classifier better, and what they are worth alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from genlab.core.batch import Batch
from genlab.core.errors import GenlabError
from genlab.core.noise import ExampleNoise
from genlab.core.randomness import Stream, generator, stream_seed
from genlab.core.spec import DataSpec
from genlab.measure.batches import BatchSizes
from genlab.measure.metrics.classification_accuracy import classification_accuracy
from genlab.modalities import has_layout, modality_of
from genlab.models.base import GenerativeModel

__all__ = ["KINDS", "Accuracies", "Interval", "Learner", "accuracies", "learner_of", "require_labels", "some_of_each"]

KINDS = ("real", "synthetic", "both")
"""What a classifier is trained on."""

TELL = "Train a flow, a gan, diffusion, flow_matching or an autoregressive model with model.conditional=true."
"""What draws samples with labels, and how."""

CONFIDENCE = 0.95

Learner = Callable[[Batch, Batch, int], float]
"""Trains a classifier on labelled examples, with a seed, and returns its accuracy on others, in [0, 1]."""


@dataclass(frozen=True)
class Interval:
    """A mean over seeds and where it lies with a confidence of 95 %, by Student's t.

    Attributes:
        mean: The mean.
        half_width: What the interval reaches to either side.
    """

    mean: float
    half_width: float

    @classmethod
    def of(cls, values: list[float]) -> Interval:
        """Return that of the values of at least two seeds."""
        from scipy.stats import t

        quantile = t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)
        return cls(float(np.mean(values)), float(quantile * np.std(values, ddof=1) / math.sqrt(len(values))))

    @property
    def sign(self) -> int:
        """1 where the whole interval is above zero, -1 below, 0 where it contains zero."""
        return 0 if abs(self.mean) <= self.half_width else int(math.copysign(1, self.mean))


@dataclass(frozen=True)
class Accuracies:
    """Accuracies on real test examples.

    Attributes:
        of_seeds: For each of :data:`KINDS` one for each seed.
        real: Real examples that a classifier saw.
        synthetic: Synthetic ones.
        guess: Accuracy of naming the most frequent class of the training examples, whatever there is to see.
    """

    of_seeds: dict[str, list[float]]
    real: int
    synthetic: int
    guess: float

    def interval(self, kind: str) -> Interval:
        """Return the mean accuracy of one kind."""
        return Interval.of(self.of_seeds[kind])

    @property
    def gain(self) -> Interval:
        """What synthetic examples add to the real ones: both less real, seed by seed."""
        return self._less_real("both")

    @property
    def gap(self) -> Interval:
        """What synthetic examples alone are worth against the real ones: train on synthetic, test on real."""
        return self._less_real("synthetic")

    def _less_real(self, kind: str) -> Interval:
        pairs = zip(self.of_seeds[kind], self.of_seeds["real"], strict=True)
        return Interval.of([other - real for other, real in pairs])


def require_labels(model: GenerativeModel) -> None:
    """Refuse a model that is not told labels, whose samples have none.

    Raises:
        GenlabError: In one line.
    """
    if not model.conditional:
        raise GenlabError(
            f"augment needs samples with labels, but this {model.name} on {model.spec.name} is not class-conditional. "
            f"{TELL}"
        )


def learner_of(spec: DataSpec) -> Learner:
    """Return the classifier of such data: a small convolutional network for pictures, else boosted trees.

    Sound is classified by its spectrograms.

    Raises:
        GenlabError: If there is none.
    """
    seen = modality_of(spec).pictured(spec)
    is_square = len(seen.shape) == 3 and seen.shape[1] == seen.shape[2] and seen.shape[1] % 4 == 0
    if modality_of(spec).features == "network" and is_square and seen.levels is not None:
        return _of_pictures(spec, seen)
    if has_layout(spec, "flat"):
        return _of_columns(spec)
    raise GenlabError(
        f"augment has no classifier of {spec.modality} data like {spec.name}: it has one of square pictures in levels, "
        "of sound, of vectors and of tables."
    )


def _of_pictures(spec: DataSpec, seen: DataSpec) -> Learner:
    def learn(train: Batch, test: Batch, seed: int) -> float:
        x, test_x = (modality_of(spec).pictures(batch.x, spec) for batch in (train, test))
        assert train.y is not None
        assert test.y is not None
        return classification_accuracy(
            x, train.y, test_x, test.y, seen.levels or 0, seen.num_classes or spec.num_classes or 0, seed
        )

    return learn


def _of_columns(spec: DataSpec) -> Learner:
    categories = [field.levels is not None and field.levels <= 255 for field in spec.fields]

    def learn(train: Batch, test: Batch, seed: int) -> float:
        from sklearn.ensemble import HistGradientBoostingClassifier

        assert train.y is not None
        assert test.y is not None
        classifier = HistGradientBoostingClassifier(categorical_features=categories or None, random_state=seed)
        classifier.fit(train.x.flatten(1).double().numpy(), train.y.numpy())
        return float(classifier.score(test.x.flatten(1).double().numpy(), test.y.numpy()))

    return learn


def some_of_each(y: Tensor, fraction: float, seed: int) -> Tensor:
    """Return the rows of a fraction of each class of labels ``[N]``, by chance, at least one of each."""
    noise = generator(Stream.NOISE, seed)
    chosen = []
    for label in y.unique():
        rows = (y == label).nonzero()[:, 0]
        chosen.append(rows[torch.randperm(len(rows), generator=noise)[: max(1, round(fraction * len(rows)))]])
    return torch.cat(chosen)


@torch.no_grad()
def _drawn(model: GenerativeModel, y: Tensor, seed: int) -> Batch:
    """Draw an example for each label ``[n]``."""
    base, device = stream_seed(Stream.SAMPLES, seed), model.device

    def of_batch(start: int, size: int) -> Tensor:
        labels = y[start : start + size].to(device)
        return model.sample(len(labels), labels, generator=ExampleNoise(base, start, device)).cpu()

    return Batch(torch.cat(list(BatchSizes(None, device).each(len(y), of_batch))), y)


def accuracies(
    model: GenerativeModel,
    train: Batch,
    test: Batch,
    learner: Learner,
    *,
    fraction: float,
    n: int,
    seeds: int,
    done: Callable[[], None] = lambda: None,
) -> Accuracies:
    """Train classifiers on real examples, on synthetic ones and on both, and test each on real ones.

    Each seed takes other real examples, draws other synthetic ones, with labels as frequent as the real ones, and
    starts other classifiers.

    Args:
        model: In eval mode; told labels.
        train: Real training examples, on the CPU.
        test: Real test examples.
        learner: Of :func:`learner_of`.
        fraction: Of the training examples that a classifier sees, in (0, 1].
        n: Synthetic examples.
        seeds: At least 2.
        done: Called after each classifier.
    """
    require_labels(model)
    assert train.y is not None
    assert test.y is not None
    found: dict[str, list[float]] = {kind: [] for kind in KINDS}
    real = Batch(train.x)
    for seed in range(seeds):
        rows = some_of_each(train.y, fraction, seed)
        real = Batch(train.x[rows], train.y[rows])
        labels = train.y[torch.randint(len(train.y), (n,), generator=generator(Stream.SAMPLES, seed))]
        synthetic = _drawn(model, labels, seed)
        both = Batch(torch.cat([real.x, synthetic.x]), torch.cat([train.y[rows], labels]))
        for kind, batch in zip(KINDS, (real, synthetic, both), strict=True):
            found[kind].append(learner(batch, test, seed))
            done()
    guess = (test.y == train.y.mode().values).double().mean().item()
    return Accuracies(found, len(real.x), n, guess)
