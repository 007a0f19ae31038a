"""Sample quality as it stands in a result: which features, which figures, and the reasons of those that are missing."""

from __future__ import annotations

import pytest
import torch

from genlab.data.batch import Batch
from genlab.data.images import Digits
from genlab.quality import MIN_SAMPLES, evaluate_quality
from genlab.spec import DataSpec

PLANE = DataSpec("plane", "vector", (2,))


@pytest.fixture(scope="module")
def digits() -> Digits:
    return Digits(batch_size=8, seed=0, device="cpu", validation_examples=None)


def plane(n: int, seed: int, shift: float = 0.0) -> torch.Tensor:
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(seed)) + shift


def test_real_digits_are_better_samples_than_noise_and_copies_are_noticed(digits: Digits) -> None:
    train, test = digits.tensors("train"), digits.tensors("test")
    noise = torch.randint(17, (250, 1, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    held_out = digits.tensors("validation").x
    measured = {
        name: evaluate_quality(samples, test, train, "test", digits.spec)
        for name, samples in {"real": held_out, "copies": train.x[:250], "noise": noise}.items()
    }
    figures = {name: quality.figures for name, quality in measured.items()}
    assert figures["real"]["fid"] < 0.1 * figures["noise"]["fid"]
    assert figures["real"]["kid"] < 0.1 * figures["noise"]["kid"]
    assert figures["real"]["precision"] > 0.5 > figures["noise"]["precision"]
    assert figures["real"]["class_total_variation"] < 0.2 < figures["noise"]["class_total_variation"]
    assert figures["real"]["inception_score"] > 5
    assert figures["real"]["neighbour_ratio"] == pytest.approx(1, abs=0.3)
    assert figures["copies"]["neighbour_ratio"] == pytest.approx(0, abs=1e-3)
    copies, originals = measured["copies"].pairs
    assert torch.equal(train.x[copies], train.x[originals])
    assert len(figures["real"]["recall_by_class"]) == 10
    assert (figures["real"]["n_real"], figures["real"]["n_fake"]) == (250, 250)
    assert figures["real"]["extractor"] == "digits-64"


def test_vectors_are_compared_as_they_are() -> None:
    test, train = Batch(plane(300, 0), None), Batch(plane(300, 1), None)
    near, far = (evaluate_quality(plane(300, 2, shift), test, train, "test", PLANE) for shift in (0.0, 3.0))
    assert near.figures["extractor"] == "identity"
    assert near.missing() == {"quality.extractor_sha256": "the features are the values themselves"}
    # Two unit normals a distance apart: the squared distance of their means, and the mean distance along a direction.
    assert far.figures["fid"] - near.figures["fid"] == pytest.approx(18, abs=2)
    for name in ("fid", "kid", "sliced_wasserstein", "mmd"):
        assert near.figures[name] < 0.1 * far.figures[name]
    assert "recall_by_class" not in near.figures


def test_what_cannot_be_measured_says_why() -> None:
    train = Batch(plane(300, 1), None)
    few = evaluate_quality(plane(MIN_SAMPLES - 1, 0), train, train, "test", PLANE)
    assert few.figures is few.pairs is None
    assert "needs 100 samples, and this protocol draws 99" in few.missing()["quality"]
    broken = plane(MIN_SAMPLES, 0)
    broken[3, 1] = torch.inf
    infinite = evaluate_quality(broken, train, train, "test", PLANE)
    assert infinite.figures is None
    assert "infinite" in infinite.missing()["quality"]
    colour = DataSpec("cifar10", "image", (3, 8, 8), levels=256, num_classes=10)
    images = torch.zeros(100, 3, 8, 8, dtype=torch.uint8)
    none = evaluate_quality(images, Batch(images, None), Batch(images, None), "test", colour)
    assert none.missing() == {"quality": "sample quality needs a feature extractor, and there is none for cifar10"}
