"""Classification accuracy score: what a classifier that has seen samples alone knows of real data."""

from __future__ import annotations

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from genlab.core.codec import levels_to_unit
from genlab.core.schedules import WarmupCosine
from genlab.measure.features.classifier import Classifier
from genlab.measure.metrics.rows import MetricError, as_labels, require_examples

__all__ = ["BATCH", "STEPS", "classification_accuracy"]

STEPS = 600
BATCH = 128
PEAK_RATE = 2e-3


def classification_accuracy(
    images: Tensor,
    labels: Tensor,
    test_images: Tensor,
    test_labels: Tensor,
    levels: int,
    num_classes: int,
    seed: int = 0,
) -> float:
    """Train the extractors' classifier on images and return its accuracy on others.

    Ravuri and Vinyals (2019), "Classification accuracy score for conditional generative models": trained on samples
    with the labels that they were drawn for and tested on real data, it falls with wrong labels, with poor images and
    with what is missing between them. Its ceiling is the same for as many real training examples. The recipe is fixed:
    600 steps of 128 images with AdamW, one seed for weights and order, on the CPU, so that figures compare.

    Args:
        images: ``[N, C, H, W]``, integers in ``[0, levels)``, of a size that 4 divides.
        labels: ``[N]``, int64, their classes.
        test_images: ``[M, C, H, W]``.
        test_labels: ``[M]``, int64.
        levels: Number of values per dimension.
        num_classes: Number of classes.
        seed: Of the weights and of the order.

    Returns:
        The share of test images whose class is told right, in ``[0, 1]``.

    Raises:
        MetricError: Without an image or without a test image, or if the images' size is no multiple of 4.
    """
    require_examples("labelled", len(images), 1)
    require_examples("real", len(test_images), 1)
    if images.shape[2] != images.shape[3] or images.shape[2] % 4:
        raise MetricError("The classifier needs square images of a size that 4 divides.")
    labels, test_labels = as_labels(labels, num_classes), as_labels(test_labels, num_classes)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        classifier = Classifier(images.shape[1], images.shape[2], num_classes)
        _fit(classifier, images, labels, levels, seed)
    with torch.no_grad():
        parts = zip(test_images.split(500), test_labels.split(500), strict=True)
        right = sum(int((classifier(levels_to_unit(x, levels)).argmax(1) == y).sum()) for x, y in parts)
    return right / len(test_labels)


def _fit(classifier: Classifier, images: Tensor, labels: Tensor, levels: int, seed: int) -> None:
    optimizer = torch.optim.AdamW(classifier.parameters(), weight_decay=0.02)
    schedule, generator = WarmupCosine(warmup=0.1), Generator().manual_seed(seed)
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = PEAK_RATE * schedule(step / STEPS)
        rows = torch.randint(len(images), (BATCH,), generator=generator)
        loss = F.cross_entropy(classifier(levels_to_unit(images[rows], levels)), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
