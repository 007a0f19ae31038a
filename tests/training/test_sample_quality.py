"""The quality of samples at validation, which chooses the checkpoints of families without a likelihood."""

from __future__ import annotations

import math
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from genlab.core.batch import Batch
from genlab.core.codec import one_hot
from genlab.core.finite import FiniteGuard, NonFiniteError
from genlab.core.noise import uniform
from genlab.core.spec import DataSpec
from genlab.data.base import GenlabDataModule
from genlab.data.images import Digits
from genlab.data.toy2d import Toy2D
from genlab.measure.case import Case, Instruments, Reference
from genlab.measure.features.extractors import Features
from genlab.measure.metrics.frechet import FrechetDistance
from genlab.measure.quality import Quality
from genlab.modalities import modality_of
from genlab.models.steps import Progress
from genlab.training.callbacks.sample_quality import SampleQuality
from genlab.training.callbacks.saving import SaveCheckpoints
from tests.tiny import train


class Sampler:
    """What the callback needs of a model: its samples are given."""

    def __init__(self, datamodule: Any, samples: torch.Tensor, chosen_by_samples: bool = True) -> None:
        self.spec = datamodule.spec
        self.device = torch.device("cpu")
        self.conditional = False
        self.chosen_by_samples = chosen_by_samples
        self.monitor = f"val/{modality_of(self.spec).sample_figure}"
        self.progress = Progress(examples=640)
        self.logged: dict[str, float] = {}
        self._samples = samples

    def sample(self, n: int, y: torch.Tensor | None, generator: torch.Generator) -> torch.Tensor:
        assert (y is not None) == self.conditional
        return self._samples[torch.randint(len(self._samples), (n,), generator=generator)]

    def log_dict(self, figures: dict[str, float], logger: bool) -> None:
        self.logged |= figures


def measured(
    datamodule: Any,
    samples: torch.Tensor,
    count: int | None = 200,
    kind: type[Sampler] = Sampler,
    callback: SampleQuality | None = None,
    **options: bool,
) -> dict[str, float]:
    model = kind(datamodule, samples, **options)
    trainer = SimpleNamespace(
        is_global_zero=True, datamodule=datamodule, strategy=SimpleNamespace(broadcast=lambda figures: figures)
    )
    (callback or SampleQuality(count, seed=0)).on_validation_epoch_end(trainer, model)
    return model.logged


class Conditional(Sampler):
    """Draws real examples of the classes that it is told."""

    def __init__(self, datamodule: Any, *given: Any) -> None:
        super().__init__(datamodule, *given)
        self.conditional = True
        self._train = datamodule.tensors("train")

    def sample(self, n: int, y: torch.Tensor | None, generator: torch.Generator) -> torch.Tensor:
        assert y is not None
        places = [(self._train.y == label).nonzero()[:, 0] for label in y]
        chosen = uniform((n,), generator, self.device)
        return self._train.x[[int(own[int(u * len(own))]) for own, u in zip(places, chosen, strict=True)]]


@pytest.fixture(scope="module")
def digits() -> Digits:
    return Digits(batch_size=32, seed=0, device="cpu", validation_examples=None)


def test_real_digits_are_better_than_one_class_and_that_than_noise(digits: Digits) -> None:
    train_set = digits.tensors("train")
    real = measured(digits, train_set.x)
    zeros = measured(digits, train_set.x[train_set.y == 0])
    noise = measured(digits, torch.randint(0, 17, (500, 1, 8, 8), dtype=torch.uint8))
    assert real["val/fid"] < 0.2 * zeros["val/fid"]
    assert real["val/fid"] < 0.2 * noise["val/fid"]
    assert real["val/recall"] > 0.5 > zeros["val/recall"]
    assert real["val/class_total_variation"] < 0.2
    assert zeros["val/class_total_variation"] > 0.8


class UnequalDigits(Digits):
    """All zeros and ones, and a tenth of each other digit, in all splits."""

    def load(self, split: str) -> dict[str, Batch]:
        return {name: batch.rows(_unequal(batch.y)) for name, batch in super().load(split).items()}


def _unequal(y: torch.Tensor) -> torch.Tensor:
    earlier = one_hot(y, 10).cumsum(0).gather(1, y[:, None])[:, 0] - 1
    return (y < 2) | (earlier % 10 == 0)


def test_a_perfect_conditional_model_of_unequal_classes_is_as_good_as_real_data() -> None:
    data = UnequalDigits(batch_size=32, seed=0, device="cpu", validation_examples=None)
    samples = data.tensors("train").x
    real, drawn = measured(data, samples), measured(data, samples, 200, Conditional)
    assert drawn["val/class_total_variation"] < 0.2
    assert drawn["val/fid"] < 2 * real["val/fid"]


def test_the_same_weights_get_the_same_figures(digits: Digits) -> None:
    samples = digits.tensors("train").x
    assert measured(digits, samples) == measured(digits, samples)


class Moved:
    """An extractor that notes where it is."""

    name, sha256 = "moved", "0" * 64

    def __init__(self) -> None:
        self.place = "cpu"
        self.computed: list[str] = []

    def __call__(self, x: torch.Tensor) -> Features:
        self.computed.append(self.place)
        return Features(x.flatten(1).float())

    def to(self, device: torch.device) -> None:
        self.place = str(device)


@pytest.mark.parametrize("has_room", [True, False])
def test_features_are_computed_and_compared_where_the_model_is_and_leave_nothing_there(
    digits: Digits, has_room: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is no room for that, on the CPU."""
    extractor, compared = Moved(), []

    def measure(samples: Batch, reference: Reference, instruments: Instruments, wanted: list[str]) -> Quality:
        case = Case(samples, reference, instruments)
        compared.append({str(features.values.device) for features in (case.real, case.fake)})
        if not has_room and instruments.device.type == "meta":
            raise torch.OutOfMemoryError
        return Quality({"fid": 1.0}, {})

    place = "genlab.training.callbacks.sample_quality"
    monkeypatch.setattr(f"{place}.choose_extractor", lambda spec, training: extractor)
    monkeypatch.setattr(f"{place}.measure_quality", measure)
    # In place of a GPU a device that computes nothing.
    monkeypatch.setattr(f"{place}.comparing_device", lambda device: {"cpu": torch.device("meta")}[device.type])
    quality = SampleQuality(100, seed=0)
    for _ in range(2):
        assert measured(digits, digits.tensors("train").x, callback=quality) == {"val/fid": 1.0}
        assert extractor.place == "cpu", "between validations all memory is the training's"
    assert compared == [{"meta"}] * 2 if has_room else [{"meta"}, {"cpu"}, {"cpu"}]
    assert extractor.computed == ["meta"] * 3 if has_room else ["meta", "meta", "cpu", "cpu"], "real ones once"


def test_without_a_count_only_a_model_that_samples_choose_is_measured(digits: Digits) -> None:
    samples = digits.tensors("train").x
    assert measured(digits, samples, None, chosen_by_samples=False) == {}
    assert "val/fid" in measured(digits, samples, None)


def test_vectors_have_a_distance_of_their_own() -> None:
    plane = Toy2D(batch_size=32, seed=0, device="cpu", train_size=2000)
    near, far = (measured(plane, plane.tensors("train").x + shift) for shift in (0.0, 3.0))
    assert near["val/sliced_wasserstein"] < 0.2 * far["val/sliced_wasserstein"]
    broken = measured(plane, torch.full((300, 2), math.nan))
    assert math.isnan(broken["val/sliced_wasserstein"])


def test_a_figure_that_chooses_and_is_not_defined_is_not_passed_over(
    digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = digits.tensors("train").x
    monkeypatch.setattr(FrechetDistance, "compute", lambda metric: torch.tensor(math.nan))
    broken = measured(digits, samples)
    assert math.isnan(broken["val/fid"])
    assert broken["val/recall"] > 0.5
    assert "val/fid" not in measured(digits, samples, chosen_by_samples=False)


def test_a_checkpoint_is_best_by_the_metric_that_the_model_names(tmp_path: Path) -> None:
    saved: list[str] = []
    trainer: Any = SimpleNamespace(
        callback_metrics={},
        save_checkpoint=lambda path, weights_only: saved.append(path.name),
        lightning_module=SimpleNamespace(guard=FiniteGuard()),
    )
    model: Any = SimpleNamespace(monitor="val/fid", chosen_by_samples=True, progress=Progress(examples=640))
    budget: Any = SimpleNamespace(paused=lambda trainer: nullcontext())
    checkpoints = SaveCheckpoints(tmp_path, 1.0, budget)
    for figures, expected in [
        ({"val/fid": 3.0}, ["best.ckpt", "last.ckpt"]),
        ({"val/fid": 4.0}, ["last.ckpt"]),
        ({"val/fid": 2.0}, ["best.ckpt", "last.ckpt"]),
    ]:
        saved.clear()
        trainer.callback_metrics = figures
        checkpoints.on_validation_end(trainer, model)
        assert saved == expected
    checkpoints.best_score = math.inf
    for _ in range(2):
        saved.clear()
        trainer.callback_metrics = {}
        checkpoints.on_validation_end(trainer, model)
        assert saved == ["best.ckpt", "last.ckpt"], "without a figure the newest is the best"
    for kept in (checkpoints.state_dict(), {"best_score": -math.inf}):  # of this version, of an earlier one
        checkpoints.load_state_dict(kept)
        saved.clear()
        trainer.callback_metrics = {"val/fid": 5.0}
        checkpoints.on_validation_end(trainer, model)
        assert saved == ["best.ckpt", "last.ckpt"], "the first figure chooses among those that have one"
    trainer.callback_metrics = {"val/fid": math.nan}
    with pytest.raises(NonFiniteError, match="a sample is not finite"):
        checkpoints.on_validation_end(trainer, model)


def test_a_run_logs_it(tmp_path: Path) -> None:
    train(tmp_path, "validation_samples=100")
    (csv,) = tmp_path.rglob("metrics.csv")
    header = csv.read_text().splitlines()[0].split(",")
    assert {"val/bits_per_dim", "val/fid", "val/recall", "val/class_total_variation"} <= set(header)


class Letters(GenlabDataModule):
    """A text of pairs of equal letters, in windows."""

    spec = DataSpec("letters", "text", (8,), levels=4)

    def __init__(self) -> None:
        super().__init__()
        pairs = torch.randint(4, (600, 4), generator=torch.Generator().manual_seed(0))
        self.x = pairs.repeat_interleave(2, dim=1)

    def load(self, split: str) -> dict[str, Batch]:
        return {split: Batch(self.x[:300] if split == "train" else self.x[300:])}


def test_text_is_judged_without_features() -> None:
    data = Letters()
    like = measured(data, data.x)
    shuffled = measured(data, data.x[:, torch.randperm(8, generator=torch.Generator().manual_seed(1))])
    assert set(like) == {"val/ngram_divergence"}
    assert like["val/ngram_divergence"] < 0.2 * shuffled["val/ngram_divergence"]
