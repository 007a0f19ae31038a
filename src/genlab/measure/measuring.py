"""The protocol, carried out: from a model, or from samples, and data to all figures of one result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from genlab.core.batch import Batch
from genlab.core.contract import Evaluable
from genlab.core.hardware import device_name
from genlab.core.timetable import Timetable
from genlab.data.base import GenlabDataModule
from genlab.measure.case import Instruments, Reference
from genlab.measure.features.cache import FeatureCache, MemoryCache
from genlab.measure.features.choice import choose_extractor
from genlab.measure.features.inception import load_inception
from genlab.measure.likelihood import measure_likelihood
from genlab.measure.protocol import EvaluationProtocol
from genlab.measure.quality import Quality, measure_quality
from genlab.measure.sampling import describe_sampling, draw_samples
from genlab.modalities import modality_of

__all__ = ["Measured", "choose_instruments", "comparing_device", "measure", "reference_of"]


@dataclass(frozen=True)
class Measured:
    """All figures of one source of samples.

    Attributes:
        likelihood: The ``likelihood`` section of a result; None for samples, and for a model without one.
        quality: How the samples compare with data.
        sampling: The ``sampling`` section of a result; None for samples whose cost nobody knows.
        samples: What was judged, on the CPU.
        parameters: How many of the model's parameters a sample needs; None for samples.
    """

    likelihood: dict[str, Any] | None
    quality: Quality
    sampling: dict[str, Any] | None
    samples: Batch
    parameters: int | None = None


def measure(
    source: Evaluable | Batch,
    reference: Reference,
    instruments: Instruments,
    protocol: EvaluationProtocol,
    timetable: Timetable | None = None,
) -> Measured:
    """Measure a model, or samples, under a protocol.

    Args:
        source: A model in eval mode, or samples in the data's own values, on the CPU.
        reference: The data; of a model, the likelihood of its examples is measured.
        instruments: What samples are judged with.
        protocol: How many examples, draws and samples.
        timetable: Is told how far it is.

    Raises:
        GenlabError: If samples have another shape, dtype or range than the data.
    """
    if isinstance(source, Batch):
        _check(source, reference)
        return Measured(None, measure_quality(source, reference, instruments, timetable=timetable), None, source)
    likelihood = measure_likelihood(source, reference.examples, protocol, timetable)
    drawn = draw_samples(source, protocol, timetable, reference.training_labels)
    # Before other samples are drawn: an adaptive sampler counts what all of them cost.
    sampling = describe_sampling(source, drawn) | {"device": device_name(source.device)}
    samples = Batch(drawn.samples, drawn.labels)
    quality = measure_quality(samples, reference, instruments, timetable=timetable)
    return Measured(likelihood, quality, sampling, samples, drawn.parameters)


def _check(samples: Batch, reference: Reference) -> None:
    codec = modality_of(reference.spec).codec(reference.spec)
    codec.check(samples.x)
    if samples.y is not None:
        codec.check_labels(samples.y, len(samples.x))


def reference_of(datamodule: GenlabDataModule, split: str) -> Reference:
    """Return what the samples of a model that was trained on a data set's training split are compared with."""
    return Reference(datamodule.spec, datamodule.tensors(split), split, datamodule.tensors("train"))


def comparing_device(device: torch.device | None) -> torch.device:
    """Return where features are computed and compared: on the device, if that is a CUDA device, as others lack float64.

    Args:
        device: Of the model; None is the CPU.
    """
    return device if device is not None and device.type == "cuda" else torch.device("cpu")


def choose_instruments(
    datamodule: GenlabDataModule, protocol: EvaluationProtocol, device: torch.device | None = None
) -> Instruments:
    """Return what the samples of a data set are judged with under a protocol.

    Args:
        datamodule: The data set.
        protocol: Asks for some figures beside those that all protocols have.
        device: Of the model; see :func:`comparing_device`.
    """
    device = comparing_device(device)
    folder = datamodule.cache_folder()
    cache = MemoryCache() if folder is None else FeatureCache(folder)
    weights = protocol.inception_weights
    extractor = choose_extractor(datamodule.spec, lambda: datamodule.tensors("train").x)
    if extractor is not None:
        extractor.to(device)
    return Instruments(
        extractor,
        cache,
        None if weights is None else load_inception(weights, device),
        protocol.classification_accuracy,
        protocol.series_scores,
        device,
    )
