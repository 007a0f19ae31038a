"""Scores of how unusual an example is for a model, each high for what is unusual.

What a score needs to be told, such as a mean, is told by the model's own training data: never by the other set.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from genlab.core.batch import Batch
from genlab.core.contract import Denoises, Encodes
from genlab.core.noise import ExampleNoise
from genlab.core.randomness import some_of
from genlab.measure.batches import BatchSizes
from genlab.measure.case import MOST_TRAINED, Case, Reference
from genlab.measure.metrics.distances import Neighbours, centre_of, nearest_neighbours
from genlab.models.base import GenerativeModel
from genlab.uses.codes import decode, deviations, encode, errors_of
from genlab.uses.detect.compression import compressed_bits, compressors
from genlab.uses.detect.evidence import Evidence, Examples, bits, log_probs
from genlab.uses.inpaint import as_points

__all__ = ["SCORES", "Score"]

SOME = 8
"""Training examples by which it is seen whether codes lead back."""
EXACT = 0.01
"""Root mean square of what is lost, over the data's standard deviation, up to which codes do."""


class Score(ABC):
    """One way to say how unusual an example is.

    Attributes:
        name: What commands and files call it.
        about: What it is, a clause with its unit and its source.
        is_fitted: Whether training examples are scored too, to set it.
    """

    name: ClassVar[str]
    about: ClassVar[str]
    is_fitted: ClassVar[bool] = False

    def lacks(self, evidence: Evidence) -> str | None:
        """Say why a model or its data has no such score, a clause; None if it has."""
        return None

    @abstractmethod
    def of(self, examples: Examples, evidence: Evidence) -> Tensor:
        """Return the scores ``[N]``, float64 on the CPU, of examples."""

    def settings(self, evidence: Evidence) -> Mapping[str, Any]:
        """Return what the score rests on beside the model, and where that is from; by name, for a JSON file."""
        return {}


class NegativeLogLikelihood(Score):
    name = "nll"
    about = "negative log-likelihood, nats"

    def lacks(self, evidence: Evidence) -> str | None:
        return lacks_likelihood(evidence.model, evidence.examples)

    def of(self, examples: Examples, evidence: Evidence) -> Tensor:
        return -log_probs(evidence.model, examples, evidence)

    def settings(self, evidence: Evidence) -> Mapping[str, Any]:
        model = evidence.model
        given = {"labels": "averaged over all, alike probable"} if model.conditional else {}
        return {"kind": model.likelihood_kind(evidence.draws), "draws": evidence.draws, **given}


class Typicality(NegativeLogLikelihood):
    """How far an example's likelihood is from that of training examples, whichever way.

    Their mean stands for the entropy: Nalisnick et al. (2019), "Detecting out-of-distribution inputs to deep generative
    models using typicality", the test of a batch, here of one example.
    """

    name = "typicality"
    about = "distance of the log-likelihood from its mean over training examples, nats; Nalisnick et al. 2019"
    is_fitted = True

    def of(self, examples: Examples, evidence: Evidence) -> Tensor:
        return (super().of(examples, evidence) - self._mean(evidence)).abs()

    def settings(self, evidence: Evidence) -> Mapping[str, Any]:
        fitted = {"mean_nll": self._mean(evidence), "training_examples": len(evidence.training)}
        return {**super().settings(evidence), **fitted}

    def _mean(self, evidence: Evidence) -> float:
        return float(super().of(evidence.training, evidence).mean())


class LikelihoodRatio(NegativeLogLikelihood):
    """How much more probable an example is for a background model, which knows what all such examples share.

    log p_background(x) - log p(x): the ratio of Ren et al. (2019), "Likelihood ratios for out-of-distribution
    detection", with the other sign.
    """

    name = "likelihood_ratio"
    about = "log-likelihood of a background model less the model's, nats; Ren et al. 2019"

    def lacks(self, evidence: Evidence) -> str | None:
        if evidence.background is None:
            return "it needs a background model: background=<run>"
        if (reason := lacks_likelihood(evidence.background, evidence.examples)) is not None:
            return f"of the background model {reason}"
        return super().lacks(evidence)

    def of(self, examples: Examples, evidence: Evidence) -> Tensor:
        assert evidence.background is not None
        return log_probs(evidence.background, examples, evidence) + super().of(examples, evidence)

    def settings(self, evidence: Evidence) -> Mapping[str, Any]:
        background = evidence.background
        assert background is not None
        kind = background.likelihood_kind(evidence.draws)
        told = {"background": background.name, "background_data": background.spec.name, "background_kind": kind}
        return {**super().settings(evidence), **told}


class InputComplexity(NegativeLogLikelihood):
    """How many more bits the model needs for an example than a lossless compressor.

    -log2 p(x) - L(x), L being the compressor's bits: the score S(x) of Serra et al. (2020), "Input complexity and
    out-of-distribution detection with likelihood-based generative models".
    """

    name = "complexity"
    about = "bits of the model less those of the better of PNG and zlib; Serra et al. 2020"

    def lacks(self, evidence: Evidence) -> str | None:
        if not compressors(evidence.model.spec):
            return "bits of continuous data depend on how finely its numbers are written"
        return super().lacks(evidence)

    def of(self, examples: Examples, evidence: Evidence) -> Tensor:
        mask, spec = examples.batch.mask, evidence.model.spec
        compressed = evidence.once(("compressed", examples.name), lambda: compressed_bits(examples.batch.x, spec, mask))
        return bits(super().of(examples, evidence)) - compressed

    def settings(self, evidence: Evidence) -> Mapping[str, Any]:
        return {**super().settings(evidence), "compressors": list(compressors(evidence.model.spec))}


class ReconstructionError(Score):
    name = "reconstruction"
    about = "error of the example that is encoded and decoded: root mean square, or the share of wrong symbols"

    def lacks(self, evidence: Evidence) -> str | None:
        model = evidence.model
        if not isinstance(model, Encodes):
            return "it has no code of an example that could be decoded"
        if model.conditional:
            return "its codes are decoded with labels, which unknown examples have not"
        if evidence.once("leads back", lambda: self._leads_back(evidence)):
            return "its codes lead back to any example, up to rounding or a solver's error"
        return None

    def of(self, examples: Examples, evidence: Evidence) -> Tensor:
        found = next(iter(self._errors(examples.batch, evidence).values())).double()
        evidence.timetable.advance(len(examples))
        return found

    def _errors(self, batch: Batch, evidence: Evidence) -> dict[str, Tensor]:
        model = evidence.model
        values = decode(model, encode(model, batch), batch)
        return errors_of(batch, values, model.spec, deviations(evidence.training.batch.x, model.spec))

    def _leads_back(self, evidence: Evidence) -> bool:
        """Whether codes hold all of an example, as those of flows do, so that what is lost is no sign of anything."""
        spec, batch = evidence.model.spec, evidence.training.batch
        errors = self._errors(batch.rows(slice(SOME)), evidence)
        # The columns of a table are in units of their own deviations.
        usual = 1.0 if spec.fields else float(batch.x.double().std())
        return "rmse" in errors and bool((errors["rmse"] <= EXACT * usual).all())

    def settings(self, evidence: Evidence) -> Mapping[str, Any]:
        return {"codes": evidence.model.encoding_kind()}


class DenoisingError(Score):
    """How badly noisy copies of an example are denoised, over noise levels from a little to much.

    The errors at each level are standardized by their mean and deviation over training examples and averaged, as Graham
    et al. (2023), "Denoising diffusion models for out-of-distribution detection", do with the errors of whole
    reconstructions; here the network is evaluated once for each level.
    """

    name = "denoising"
    about = "mean error of denoising it at several noise levels, in standard deviations; after Graham et al. 2023"
    is_fitted = True
    RATIOS: ClassVar[tuple[float, ...]] = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)

    def lacks(self, evidence: Evidence) -> str | None:
        if not isinstance(evidence.model, Denoises):
            return "it is no denoiser"
        return "it denoises with labels, which unknown examples have not" if evidence.model.conditional else None

    def of(self, examples: Examples, evidence: Evidence) -> Tensor:
        usual = self._errors(evidence.training, evidence)
        deviation = usual.std(0).clamp_min(1e-12)
        return ((self._errors(examples, evidence) - usual.mean(0)) / deviation).mean(1)

    def settings(self, evidence: Evidence) -> Mapping[str, Any]:
        return {"noise_to_data": list(self.RATIOS), "training_examples": len(evidence.training)}

    def _errors(self, examples: Examples, evidence: Evidence) -> Tensor:
        model = evidence.model
        assert isinstance(model, Denoises)

        def denoise(start: int, size: int) -> Tensor:
            batch = examples.batch.rows(slice(start, start + size)).to(model.device)
            noise = ExampleNoise(examples.noise(evidence.seed), start, model.device)
            found = model.denoising_errors(batch.x, mask=batch.mask, ratios=self.RATIOS, generator=noise)
            evidence.timetable.advance(size)
            return found.cpu().double()

        each = BatchSizes(None, model.device).each
        return evidence.once(("denoising", examples.name), lambda: torch.cat(list(each(len(examples), denoise))))


class NearestNeighbour(Score):
    """The baseline, which knows nothing of the model: how far the nearest training example is.

    In the features of the protocol; of a table, which has none, in standard deviations of each column, and the squared
    distance of two categories is the number of those that differ.
    """

    name = "neighbour"
    about = "distance to the nearest training example in the protocol's features; of any run the same: the baseline"

    def lacks(self, evidence: Evidence) -> str | None:
        if evidence.instruments.extractor is None and not evidence.model.spec.fields:
            return f"nothing extracts features of {evidence.model.spec.modality} data"
        return None

    def of(self, examples: Examples, evidence: Evidence) -> Tensor:
        by = self._of_rows if evidence.instruments.extractor is None else self._of_features
        found = by(examples, evidence)
        evidence.timetable.advance(len(examples))
        return found.squared_distances[:, 0].sqrt().cpu()

    def _of_rows(self, examples: Examples, evidence: Evidence) -> Neighbours:
        spec, rows = evidence.model.spec, some_of(evidence.all_training.x, MOST_TRAINED)
        points, trained = (as_points(x, spec, rows) for x in (examples.batch.x, rows))
        return nearest_neighbours(points, trained, 1, centre_of(trained))

    def _of_features(self, examples: Examples, evidence: Evidence) -> Neighbours:
        # The features of training examples are those that evaluations keep.
        reference = Reference(evidence.model.spec, examples.batch, examples.name, evidence.all_training)
        case = Case(examples.batch, reference, evidence.instruments)
        trained = case.trained.values
        return nearest_neighbours(case.fake.values, trained, 1, centre_of(trained))

    def settings(self, evidence: Evidence) -> Mapping[str, Any]:
        extractor = evidence.instruments.extractor
        count = min(len(evidence.all_training.x), MOST_TRAINED)
        if extractor is None:
            return {"distance": "standard deviations of each column", "training_examples": count}
        return {"extractor": extractor.name, "extractor_sha256": extractor.sha256, "training_examples": count}


SCORES: dict[str, Score] = {
    score.name: score
    for score in (
        NegativeLogLikelihood(),
        Typicality(),
        LikelihoodRatio(),
        InputComplexity(),
        ReconstructionError(),
        DenoisingError(),
        NearestNeighbour(),
    )
}
"""All scores by their names."""


def lacks_likelihood(model: GenerativeModel, examples: int) -> str | None:
    """Say why a model does not tell the likelihood of so many examples, a clause; None if it does."""
    if not model.has_likelihood:
        return f"the {model.family} family has no likelihood, or this one was made without"
    most = model.likelihood_examples
    if most is not None and examples > most:
        return (
            f"its likelihood, which takes hundreds of passes, is of at most {most:,} images (model.likelihood_images): "
            f"give n={most} or fewer"
        )
    return None
