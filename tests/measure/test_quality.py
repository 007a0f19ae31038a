"""Sample quality as it stands in a result: which features, which figures, and the reasons of those that are missing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from genlab.core.batch import Batch
from genlab.core.spec import DataSpec
from genlab.data.images import Digits
from genlab.measure.features.cache import FeatureCache
from genlab.measure.features.inception import FEATURES, InceptionExtractor
from genlab.measure.metrics import classification_accuracy
from genlab.measure.quality import MIN_SAMPLES, Quality, QualityOptions, evaluate_floor, evaluate_quality

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


def test_a_collapsed_model_says_how_many_classes_are_missing(digits: Digits) -> None:
    x, y, *_ = digits.tensors("train")
    test = digits.tensors("test")
    two = x[(y == 3) | (y == 7)][:200]
    assert evaluate_quality(two, test, digits.tensors("train"), "test", digits.spec).figures["missing_classes"] == 8
    assert evaluate_quality(x[:300], test, digits.tensors("train"), "test", digits.spec).figures["missing_classes"] == 0


def test_the_floor_is_what_a_model_of_the_other_examples_would_have_had(digits: Digits, tmp_path: Path) -> None:
    train, test = digits.tensors("train"), digits.tensors("test")
    rows = torch.randperm(len(train.x), generator=torch.Generator().manual_seed(0))
    others = Batch(train.x[rows[300:].sort().values], None)
    direct = evaluate_quality(train.x[rows[:300]], test, others, "test", digits.spec).figures
    for _ in range(2):  # without the kept features, and with them
        kept = QualityOptions(FeatureCache(tmp_path))
        floor = evaluate_floor(rows[:300], test, train, "test", digits.spec, kept).figures
        for name in ("fid", "precision", "recall", "mifid", "neighbour_ratio", "class_total_variation", "n_fake"):
            assert floor[name] == pytest.approx(direct[name], rel=1e-3), name
    assert len(list(tmp_path.iterdir())) == 2


def scored(digits: Digits, samples: torch.Tensor, labels: torch.Tensor | None) -> Quality:
    test, train = digits.tensors("test"), digits.tensors("train")
    return evaluate_quality(
        samples, test, train, "test", digits.spec, QualityOptions(classification_accuracy=True), labels
    )


def test_samples_with_wrong_labels_teach_a_classifier_nothing(digits: Digits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classification_accuracy, "STEPS", 60)
    x, y, *_ = digits.tensors("train")
    right, wrong = (scored(digits, x[:600], labels).figures for labels in (y[:600], (y[:600] + 1) % 10))
    assert right["classification_accuracy"] > 0.7
    assert wrong["classification_accuracy"] < 0.2
    assert right["classification_accuracy_real"] == wrong["classification_accuracy_real"] > 0.7
    torch.manual_seed(1)
    state = torch.get_rng_state()
    again = classification_accuracy.classification_accuracy(x[:600], y[:600], *digits.tensors("test")[:2], 17, 10)
    assert again == right["classification_accuracy"], "the recipe has a seed of its own"
    assert torch.equal(torch.get_rng_state(), state)


def test_samples_without_labels_have_no_accuracy_score(digits: Digits) -> None:
    quality = scored(digits, digits.tensors("train").x[:200], None)
    assert quality.figures["classification_accuracy"] is quality.figures["classification_accuracy_real"] is None
    assert "not class-conditional" in quality.missing()["quality.classification_accuracy"]
    assert quality.figures["fid"] > 0


class Pixels(torch.nn.Module):
    """In the place of Inception: the first pixel of each image as all of its features."""

    def features(self, images: torch.Tensor) -> torch.Tensor:
        return images[:, 0, 0, :1].repeat(1, FEATURES) * torch.linspace(0, 1, FEATURES)


def test_inceptions_figures_stand_beside_ours_also_for_images_without_an_extractor(tmp_path: Path) -> None:
    options = QualityOptions(FeatureCache(tmp_path), InceptionExtractor(Pixels(), "ab" * 32))  # type: ignore[arg-type]
    colour = DataSpec("cifar10", "image", (3, 8, 8), levels=256, num_classes=10)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (300, 3, 8, 8), generator=generator).to(torch.uint8)
    real, same = Batch(images[:150], None), images[150:]
    near, far = (evaluate_quality(x, real, real, "test", colour, options) for x in (same, same // 4))
    assert near.figures["fid"] is None
    assert "there is none for cifar10" in near.missing()["quality.fid"]
    assert near.pairs is None
    assert 0 <= near.figures["inception_fid"] < 0.1 * far.figures["inception_fid"]
    assert near.figures["inception_kid"] < 0.1 * far.figures["inception_kid"]
    assert near.figures["inception_sha256"] == "ab" * 32
    assert [path.name[:13] for path in tmp_path.iterdir()] == ["cifar10-test-"]
    points = evaluate_quality(plane(150, 0), Batch(plane(150, 1)), Batch(plane(150, 2)), "test", PLANE, options)
    assert points.figures["inception_fid"] is None
    assert "discrete images" in points.missing()["quality.inception_fid"]
