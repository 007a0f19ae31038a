"""Train the classifier whose features compare samples with data."""

from __future__ import annotations

import hashlib
import math
import time
from pathlib import Path

import torch
from omegaconf import DictConfig
from torch import Generator, Tensor
from torch.nn import functional as F

from genlab.command.config import check_config
from genlab.command.schemas import ExtractorConfig
from genlab.core.batch import Batch
from genlab.core.codec import levels_to_unit
from genlab.core.errors import GenlabError
from genlab.core.memory import BuildWithinMemory, check_examples_fit
from genlab.core.randomness import Stream, generator, stream_seed
from genlab.core.schedules import WarmupCosine
from genlab.data.base import GenlabDataModule, Split
from genlab.measure.features.choice import trained_extractor_path
from genlab.measure.features.classifier import Classifier, pack
from genlab.modalities import modality_of
from genlab.runs.atomic import make_room, write_atomic

__all__ = ["run"]


def run(config: DictConfig) -> Path:
    """Train a classifier on ``config.data``, say its test accuracy and checksum, and write its file.

    Without ``config.out`` the file lies where evaluations look for it: from then on the samples of this data are judged
    by its features, unless a shipped extractor knows the data's classes.

    Args:
        config: The composed config.

    Raises:
        GenlabError: If the data has no labels, or is neither seen as square discrete images nor such itself.
    """
    settings = check_config(config, ExtractorConfig)
    datamodule: GenlabDataModule = settings.data.make()
    spec = datamodule.spec
    check_examples_fit("data.batch_size", datamodule.batch_size, spec.num_dims)
    seen = modality_of(spec).pictured(spec)
    square = len(seen.shape) == 3 and seen.shape[1] == seen.shape[2] and seen.shape[1] % 4 == 0
    if modality_of(spec).features != "network" or not square or seen.levels is None or spec.num_classes is None:
        raise GenlabError(
            f"{spec.name} is not square discrete images with labels, of a size that 4 divides, nor sound of a second "
            "with labels: its samples are judged by the features of a random network."
        )
    out = Path(settings.out) if settings.out else trained_extractor_path(spec)
    make_room(out, "out" if settings.out else "The place of this data's extractor")  # before the work, not after it
    datamodule.prepare_data()
    torch.manual_seed(stream_seed(Stream.WEIGHTS, settings.seed))
    with BuildWithinMemory("The classifier"):
        classifier = Classifier(seen.shape[0], seen.shape[1], spec.num_classes, settings.width)
    train, test = (_seen(datamodule, split) for split in ("train", "test"))
    _fit(classifier, train, seen.levels, settings)
    _standardize(classifier, train.x, seen.levels)
    figures = _accuracies(classifier, test, seen.levels, settings.binarize)
    name = f"{spec.name}-64"
    about = {"name": name, **{f"{kind}_test_accuracy": f"{value:.4f}" for kind, value in figures.items()}}
    content = pack(classifier, about)
    write_atomic(out, content)
    print(", ".join(f"{kind} test accuracy {value:.4f}" for kind, value in figures.items()))
    print(f"{out}: {len(content):,} bytes, SHA-256 {hashlib.sha256(content).hexdigest()}")
    return out


def _seen(datamodule: GenlabDataModule, split: Split) -> Batch:
    """Return a split as the classifier sees it."""
    batch = datamodule.tensors(split)
    return Batch(modality_of(datamodule.spec).pictures(batch.x, datamodule.spec), batch.y)


def _fit(classifier: Classifier, data: Batch, levels: int, settings: ExtractorConfig) -> None:
    batch_size, budget = settings.data.batch_size, settings.budget
    optimizer = torch.optim.AdamW(classifier.parameters(), weight_decay=settings.weight_decay)
    schedule, began, fraction, step = WarmupCosine(warmup=0.1), time.monotonic(), 0.0, 0
    while fraction < 1:
        optimizer.param_groups[0]["lr"] = settings.lr * schedule(fraction)
        noise = generator(Stream.NOISE, settings.seed, step)
        rows = torch.randint(len(data.x), (batch_size,), generator=noise)
        images = _augmented(
            levels_to_unit(data.x[rows], levels), settings.binarize, settings.flip, settings.shift, noise
        )
        loss = F.cross_entropy(classifier(images), data.y[rows], label_smoothing=settings.label_smoothing)
        if not math.isfinite(loss.item()):
            raise GenlabError(f"The loss is {loss.item()} after {step:,} steps. Lower lr.")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
        if step % 500 == 0:
            print(f"{step * batch_size:,} examples, {fraction:.0%} of the budget: loss {loss.item():.4f}", flush=True)
        minutes = (time.monotonic() - began) / 60
        fraction = max(step * batch_size / budget.examples, minutes / (budget.minutes or math.inf))


def _augmented(images: Tensor, binarize: bool, flip: bool, shift: int, noise: Generator) -> Tensor:
    """Draw half of the images binary, half mirrored, and all moved by up to ``shift`` pixels, as asked."""
    if binarize:
        uniform = torch.rand(images.shape, generator=noise)
        binary = torch.rand((len(images), 1, 1, 1), generator=noise) < 0.5
        images = torch.where(binary, (images > uniform).float(), images)
    if flip:
        mirrored = torch.rand((len(images), 1, 1, 1), generator=noise) < 0.5
        images = torch.where(mirrored, images.flip(-1), images)
    if shift:
        down, right = torch.randint(0, 2 * shift + 1, (2,), generator=noise).tolist()
        height, width = images.shape[-2:]
        images = F.pad(images, (shift,) * 4)[..., down : down + height, right : right + width]
    return images


@torch.no_grad()
def _standardize(classifier: Classifier, x: Tensor, levels: int) -> None:
    parts = levels_to_unit(x, levels).split(500)
    features = torch.cat([classifier.features(part) for part in parts]).double()
    classifier.feature_mean.copy_(features.mean(0))
    classifier.feature_sd.copy_(features.std(0).clamp_min(1e-6))


@torch.no_grad()
def _accuracies(classifier: Classifier, data: Batch, levels: int, binarize: bool) -> dict[str, float]:
    classifier.eval()
    images = levels_to_unit(data.x, levels)
    versions = {"gray": images}
    if binarize:
        versions["binary"] = (images > torch.rand(images.shape, generator=generator(Stream.NOISE, 0))).float()
    return {
        kind: sum(
            float((classifier(part).argmax(1) == label).sum())
            for part, label in zip(version.split(500), data.y.split(500), strict=True)
        )
        / len(data.y)
        for kind, version in versions.items()
    }
