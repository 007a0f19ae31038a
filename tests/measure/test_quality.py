"""Sample quality as it stands in a result: which features, which figures, and the reasons of those that are missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torchmetrics import Metric

from genlab.core.batch import Batch
from genlab.core.errors import GenlabError
from genlab.core.spec import DataSpec
from genlab.data.images import Digits
from genlab.measure import case
from genlab.measure.case import Case, Instruments, Reference
from genlab.measure.features.cache import FeatureCache
from genlab.measure.features.choice import choose_extractor
from genlab.measure.features.extractors import Values
from genlab.measure.features.inception import InceptionExtractor
from genlab.measure.figures import FIGURES, Figure, of_section, register
from genlab.measure.measurements import find_measurement
from genlab.measure.measuring import Measured, choose_instruments, comparing_device, measure
from genlab.measure.metrics import classification_accuracy
from genlab.measure.protocol import EvaluationProtocol
from genlab.measure.quality import MIN_SAMPLES, Quality, measure_quality
from genlab.modalities.text import Text
from tests.measure.judging import PLANE, judged, plane


@pytest.fixture(scope="module")
def digits() -> Digits:
    return Digits(batch_size=8, seed=0, device="cpu", validation_examples=None)


def test_features_lie_where_they_are_compared(digits: Digits) -> None:
    train, test = digits.tensors("train"), digits.tensors("test")
    instruments = Instruments(choose_extractor(digits.spec, lambda: train.x), device=torch.device("meta"))
    reference, rows = Reference(digits.spec, test, "test", train), torch.arange(100)
    drawn = Case(test.rows(slice(100)), reference, instruments)
    trained = Case(train.rows(slice(100)), reference, instruments, rows)
    found = [drawn.fake, drawn.real, drawn.trained, trained.fake]
    assert {tensor.device.type for part in found for tensor in (part.values, part.logits)} == {"meta"}


def test_only_cuda_devices_compare_features(digits: Digits) -> None:
    """Apple's GPUs have no float64, in which distances are summed."""
    protocol = EvaluationProtocol("p", "test", 1, None, 100, 100, 0)
    assert choose_instruments(digits, protocol, torch.device("mps")).device == torch.device("cpu")
    devices = {None: "cpu", "cpu": "cpu", "mps": "cpu", "cuda:1": "cuda:1"}
    for of_model, expected in devices.items():
        assert comparing_device(of_model and torch.device(of_model)) == torch.device(expected)


def test_real_digits_are_better_samples_than_noise_and_copies_are_noticed(digits: Digits) -> None:
    train, test = digits.tensors("train"), digits.tensors("test")
    noise = torch.randint(17, (250, 1, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    held_out = digits.tensors("validation").x
    measured = {
        name: judged(samples, test, train, digits.spec)
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
    near, far = (judged(plane(300, 2, shift), test, train, PLANE) for shift in (0.0, 3.0))
    assert near.figures["extractor"] == "identity"
    assert near.missing() == {"quality.extractor_sha256": "the features are the values themselves"}
    # Two unit normals a distance apart: the squared distance of their means, and the mean distance along a direction.
    assert far.figures["fid"] - near.figures["fid"] == pytest.approx(18, abs=2)
    for name in ("fid", "kid", "sliced_wasserstein", "mmd"):
        assert near.figures[name] < 0.1 * far.figures[name]
    assert "recall_by_class" not in near.figures


def test_what_cannot_be_measured_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    train = Batch(plane(300, 1), None)
    few = judged(plane(MIN_SAMPLES - 1, 0), train, train, PLANE)
    assert few.figures is few.pairs is None
    assert "needs 100 samples, and this protocol draws 99" in few.missing()["quality"]
    broken = plane(MIN_SAMPLES, 0)
    broken[3, 1] = torch.inf
    infinite = judged(broken, train, train, PLANE)
    assert infinite.figures is None
    assert "infinite" in infinite.missing()["quality"]
    words = DataSpec("words", "text", (4,), levels=5)
    monkeypatch.setattr(Text, "judged_as", frozenset())
    tokens = torch.zeros(100, 4, dtype=torch.int64)
    none = judged(tokens, Batch(tokens), Batch(tokens), words)
    assert none.missing() == {"quality": "sample quality needs a feature extractor, and there is none for words"}


ALPHABET = " .abcdefghij"


def text(count: int, seed: int) -> torch.Tensor:
    """Windows of 40 symbols of words of three letters, cut from one text; the letters of a word rise."""
    generator = torch.Generator().manual_seed(seed)
    letters = (torch.rand(10 * count, 10, generator=generator).argsort(1)[:, :3].sort(1).values + 2).clone()
    return torch.cat([letters, torch.zeros(len(letters), 1, dtype=torch.int64)], dim=1).view(count, 40)


def test_text_is_judged_as_it_reads() -> None:
    spec = DataSpec("words", "text", (40,), levels=len(ALPHABET), alphabet=ALPHABET)
    train, test = text(400, 0), Batch(text(100, 1))
    held_out, copied = text(120, 2), train[:120]
    shuffled = held_out[:, torch.randperm(40, generator=torch.Generator().manual_seed(0))]
    found = {
        name: judged(samples, test, Batch(train), spec).figures
        for name, samples in {"held out": held_out, "copied": copied, "shuffled": shuffled}.items()
    }
    assert found["held out"]["ngram_divergence"] < 0.5 * found["shuffled"]["ngram_divergence"]
    assert len(found["held out"]["ngram_divergence_by_order"]) == 4
    assert found["copied"]["longest_copy"] == found["copied"]["longest_copy_of_all"] == 40 > 20
    assert found["held out"]["longest_copy"] < 20
    assert found["held out"]["known_words"] > 0.9 > 0.5 > found["shuffled"]["known_words"]
    assert found["held out"]["fid"] is found["held out"]["extractor"] is None


def test_training_text_that_stands_for_samples_is_taken_out_of_what_they_may_have_copied() -> None:
    spec = DataSpec("words", "text", (40,), levels=len(ALPHABET), alphabet=ALPHABET)
    train, rows = text(300, 0), torch.arange(0, 300, 2)[:120]
    train[1] = train[0]  # what another window has too is copied
    floor = judged(train[rows], Batch(text(100, 1)), Batch(train), spec, rows=rows).figures
    assert floor["longest_copy_of_all"] == 40
    assert floor["longest_copy"] < 20


def test_the_class_that_was_asked_for_is_heard_or_not(digits: Digits) -> None:
    train, test = digits.tensors("train"), digits.tensors("test")
    asked = train.y[:200].clone()
    asked[:50] = (asked[:50] + 1) % 10
    figures = judged(train.x[:200], test, train, digits.spec, asked).figures
    assert figures["asked_class_accuracy"] == pytest.approx(0.75, abs=0.02)
    assert "asked_class_accuracy" not in judged(train.x[:200], test, train, digits.spec).figures


def test_sound_says_how_much_of_it_is_silent() -> None:
    spec = DataSpec("noises", "waveform", (1, 1600), sampling_rate_hz=8000)
    real = torch.rand(200, 1, 1600, generator=torch.Generator().manual_seed(0)) - 0.5
    samples = real.clone()
    samples[:, :, 480:800] = 0
    samples[::2, :, 800:] *= 10**-3  # -71 dB: the noise itself is 11 dB below full scale
    figures = judged(samples, Batch(real), Batch(real), spec, only=["silence", "silence_real", "fid"]).figures
    assert figures["silence"] == pytest.approx(0.2 + 0.25)
    assert figures["silence_real"] == 0
    assert figures["extractor"] == "random-64"
    assert figures["fid"] > 1


def test_a_few_real_examples_leave_reasons_and_the_figures_that_they_can_give() -> None:
    quality = judged(plane(300, 2), Batch(plane(3, 0)), Batch(plane(300, 1)), PLANE)
    assert quality.figures["sliced_wasserstein"] > 0
    assert quality.figures["kid"] is quality.figures["kid_sd"] is None
    assert quality.reasons["kid"] == "At least 4 real examples are needed, 3 were given."


def test_images_without_a_classifier_are_seen_by_a_random_network() -> None:
    colour = DataSpec("photographs", "image", (3, 9, 12), levels=256)
    noise = torch.Generator().manual_seed(0)
    smooth = torch.rand(600, 3, 3, 4, generator=noise).repeat_interleave(3, 2).repeat_interleave(3, 3)
    images = (smooth * 255).to(torch.uint8)
    train, test = Batch(images[:300]), Batch(images[300:450])
    near = judged(images[450:], test, train, colour)
    far = judged(torch.randint(256, (150, 3, 9, 12), generator=noise).to(torch.uint8), test, train, colour)
    assert near.figures["extractor"] == "random-64"
    assert len(near.figures["extractor_sha256"]) == 64
    assert near.figures["fid"] < 0.5 * far.figures["fid"]
    assert near.figures["precision"] > 0.5 > far.figures["precision"]
    assert {"mifid", "neighbour_ratio", "density"} <= set(near.figures)
    assert not {"class_total_variation", "inception_score", "recall_by_class"} & set(near.figures), (
        "it knows no classes"
    )


def test_a_collapsed_model_says_how_many_classes_are_missing(digits: Digits) -> None:
    x, y, *_ = digits.tensors("train")
    test = digits.tensors("test")
    two = x[(y == 3) | (y == 7)][:200]
    assert judged(two, test, digits.tensors("train"), digits.spec).figures["missing_classes"] == 8
    assert judged(x[:300], test, digits.tensors("train"), digits.spec).figures["missing_classes"] == 0


def test_a_class_without_real_examples_has_no_recall(digits: Digits) -> None:
    train, test = digits.tensors("train"), digits.tensors("test")
    quality = judged(train.x[:200], test.rows(test.y != 3), train, digits.spec)
    recall = quality.figures["recall_by_class"]
    assert [label for label, value in enumerate(recall) if value is None] == [3]
    assert json.dumps(quality.figures, allow_nan=False), "as results are written"


def test_the_floor_is_what_a_model_of_the_other_examples_would_have_had(digits: Digits, tmp_path: Path) -> None:
    train, test = digits.tensors("train"), digits.tensors("test")
    rows = torch.randperm(len(train.x), generator=torch.Generator().manual_seed(0))
    others = Batch(train.x[rows[300:].sort().values], None)
    direct = judged(train.x[rows[:300]], test, others, digits.spec).figures
    for _ in range(2):  # without the kept features, and with them
        cache = FeatureCache(tmp_path)
        floor = judged(train.x[rows[:300]], test, train, digits.spec, rows=rows[:300], cache=cache).figures
        for name in ("fid", "precision", "recall", "mifid", "neighbour_ratio", "class_total_variation", "n_fake"):
            assert floor[name] == pytest.approx(direct[name], rel=1e-3), name
    assert len(list(tmp_path.iterdir())) == 2


def scored(digits: Digits, samples: torch.Tensor, labels: torch.Tensor | None) -> Quality:
    test, train = digits.tensors("test"), digits.tensors("train")
    return judged(samples, test, train, digits.spec, labels, classification_accuracy=True)


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
        return images[:, 0, 0, :1].repeat(1, 64) * torch.linspace(0, 1, 64)


def test_inceptions_figures_stand_beside_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genlab.measure.measurements.INCEPTION_FEATURES", 64)  # whose roots take no time
    asked = {"cache": FeatureCache(tmp_path), "inception": InceptionExtractor(Pixels(), "ab" * 32)}
    colour = DataSpec("cifar10", "image", (3, 8, 8), levels=256, num_classes=10)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (300, 3, 8, 8), generator=generator).to(torch.uint8)
    real, same = Batch(images[:150], None), images[150:]
    near, far = (judged(x, real, real, colour, **asked) for x in (same, same // 4))
    assert near.figures["extractor"] == "random-64"
    assert 0 <= near.figures["inception_fid"] < 0.1 * far.figures["inception_fid"]
    assert near.figures["inception_kid"] < 0.1 * far.figures["inception_kid"]
    assert near.figures["inception_sha256"] == "ab" * 32
    points = judged(plane(150, 0), Batch(plane(150, 1)), Batch(plane(150, 2)), PLANE, **asked)
    assert points.figures["inception_fid"] is None
    assert "discrete images" in points.missing()["quality.inception_fid"]


def test_samples_of_anybody_get_the_figures_that_a_model_of_ours_gets(digits: Digits) -> None:
    """One function for both: training examples given as samples have the figures of the floor, to the last digit."""
    train, test = digits.tensors("train"), digits.tensors("test")
    rows = torch.arange(200)
    reference = Reference(digits.spec, test, "test", train)
    instruments = Instruments(choose_extractor(digits.spec, lambda: train.x))
    protocol = EvaluationProtocol("p", "test", 1, None, 200, 50, 0)
    foreign: Measured = measure(Batch(train.x[rows]), reference, instruments, protocol)
    floor = measure_quality(Batch(train.x[rows]), reference, instruments, rows=rows)
    assert foreign.likelihood is foreign.sampling is None
    of_data = ("fid", "kid", "precision", "recall", "density", "coverage", "class_total_variation")
    assert all(foreign.quality.figures[name] == floor.figures[name] for name in of_data)
    # What is trained on differs: the samples themselves are left out of it for the floor.
    assert foreign.quality.figures["neighbour_ratio"] < 0.01 < floor.figures["neighbour_ratio"]


def test_samples_of_anybody_that_are_no_such_data_are_not_scored(digits: Digits) -> None:
    test = digits.tensors("test")
    instruments = Instruments(choose_extractor(digits.spec, lambda: test.x))
    protocol = EvaluationProtocol("p", "test", 1, None, 200, 50, 0)
    bright = test.x[:200].float() / 16
    with pytest.raises(GenlabError, match=r"x is float32, expected whole numbers 0 to 16"):
        measure(Batch(bright), Reference(digits.spec, test, "test"), instruments, protocol)
    with pytest.raises(GenlabError, match=r"y is int32"):
        measure(Batch(test.x[:200], test.y[:200].int()), Reference(digits.spec, test, "test"), instruments, protocol)


def test_only_what_is_asked_for_is_measured(digits: Digits) -> None:
    train, test = digits.tensors("train"), digits.tensors("test")
    quality = judged(train.x[:200], test, train, digits.spec, only=["fid", "recall"])
    about = {"extractor", "extractor_sha256", "n_real", "n_fake", "reference_split"}
    assert set(quality.figures) == {"fid", "recall"} | about
    whole = judged(train.x[:200], test, train, digits.spec).figures
    assert (quality.figures["fid"], quality.figures["recall"]) == (whole["fid"], whole["recall"])


class MeanGap(Metric):
    """How far the means of the features are apart: a figure of somebody's own."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        for name in ("real_sum", "fake_sum"):
            self.add_state(name, torch.zeros(num_features), dist_reduce_fx="sum")

    def update(self, features: torch.Tensor, real: bool) -> None:
        name = "real_sum" if real else "fake_sum"
        setattr(self, name, getattr(self, name) + features.mean(0))

    def compute(self) -> torch.Tensor:
        return (self.real_sum - self.fake_sum).norm()


def test_a_figure_is_a_metric_and_an_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genlab.measure.figures.FIGURES", dict(FIGURES))
    register(Figure("mean_gap", "quality", "mean gap", better="lower", measured_by=f"{__name__}:MeanGap"))
    test, train = Batch(plane(300, 0)), Batch(plane(300, 1))
    near, far = (judged(plane(300, 2, shift), test, train, PLANE).figures["mean_gap"] for shift in (0.0, 3.0))
    assert near < 0.3
    assert far == pytest.approx(3 * 2**0.5, abs=0.3)


def test_a_measurement_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genlab.measure.figures.FIGURES", dict(FIGURES))
    register(Figure("lost", "quality", "lost", measured_by="genlab.measure.nowhere:Lost"))
    test = Batch(plane(300, 0))
    with pytest.raises(ValueError, match=r"genlab.measure.nowhere:Lost of lost cannot be found"):
        judged(plane(300, 2), test, test, PLANE)


def test_every_figure_of_the_registry_names_what_measures_it() -> None:
    for figure in of_section("quality"):
        assert callable(find_measurement(figure.measured_by, [figure.key])), figure.key
        assert figure.spread is None or figure.spread in FIGURES


def test_of_very_many_examples_some_are_compared_and_the_result_says_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(case, "MOST_REAL", 150)
    monkeypatch.setattr(case, "MOST_TRAINED", 120)
    spec, test, train = DataSpec("plane", "vector", (2,)), Batch(plane(400, 1)), Batch(plane(500, 2))
    reference, instruments = Reference(spec, test, "test", train), Instruments(Values())
    drawn = Case(Batch(train.x[:200]), reference, instruments)
    assert torch.equal(drawn.real.values, test.x[drawn.real_rows])
    assert len(set(drawn.real_rows.tolist())) == 150
    assert len(drawn.trained.values) == 120
    found = measure_quality(drawn.samples, reference, instruments)
    assert found.figures["n_real"] == 150
    near, nearest = found.pairs
    assert torch.equal(drawn.samples.x[near[:5]], train.x[nearest[:5]]), "copies are found at their own places"
    rows = torch.arange(450)
    held_out = Case(Batch(train.x[:450]), reference, instruments, rows)
    assert held_out.trained_rows.tolist() == list(range(450, 500)), "few enough for all"
    assert Case(drawn.samples, Reference(spec, Batch(test.x[:150]), "test"), instruments).real_rows is None
