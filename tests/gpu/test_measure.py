"""Figures of samples do not depend on where they are computed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from genlab.core.batch import Batch
from genlab.core.noise import ExampleNoise, integers
from genlab.core.spec import DataSpec
from genlab.data.images import Digits
from genlab.measure.case import Instruments, Reference
from genlab.measure.features.choice import choose_extractor
from genlab.measure.metrics.frechet import FrechetDistance
from genlab.measure.quality import measure_quality
from genlab.training.callbacks.sample_quality import SampleQuality

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


def figures(samples: Batch, reference: Reference, device: torch.device) -> dict[str, object]:
    extractor = choose_extractor(reference.spec, lambda: reference.training.x)
    extractor.to(device)
    found = measure_quality(samples, reference, Instruments(extractor, device=device))
    assert found.figures is not None
    return {key: value for key, value in found.figures.items() if value is not None}


@pytest.mark.parametrize("features", ["digits-64", "random-64", "identity"])
def test_a_gpu_gives_the_figures_of_the_cpu(features: str) -> None:
    digits = Digits(batch_size=8, seed=0, device="cpu", validation_examples=None)
    test, train, spec = digits.tensors("test"), digits.tensors("train"), digits.spec
    if features == "random-64":
        spec = DataSpec("own digits", "image", spec.shape, levels=spec.levels)
    elif features == "identity":
        spec = DataSpec("points", "vector", (2,))
        train, test = (Batch(torch.randn(n, 2)) for n in (600, 300))
    samples = train.rows(slice(150)).x.clone()
    samples[:75] = samples[:75].flip(1 if samples.ndim == 2 else 3)
    reference = Reference(spec, test, "test", train)
    on_cpu = figures(Batch(samples), reference, torch.device("cpu"))
    on_gpu = figures(Batch(samples), reference, torch.device("cuda"))
    assert on_cpu["extractor"] == features
    assert on_gpu == {
        key: pytest.approx(v, rel=1e-3, abs=1e-5) if not isinstance(v, str) else v for key, v in on_cpu.items()
    }


def test_a_validation_finds_there_what_the_cpu_finds_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of samples that are given: the extractor and all features are on the GPU while these are judged."""
    digits = Digits(batch_size=8, seed=0, device="cpu", validation_examples=None)
    images, places = digits.tensors("train").x.flip(3), []
    update = FrechetDistance.update

    def noted(metric: FrechetDistance, features: Tensor, *arguments: Any, **options: Any) -> None:
        places.append(features.device.type)
        update(metric, features, *arguments, **options)

    def draw(n: int, y: None, generator: ExampleNoise) -> Tensor:
        return images[integers(len(images), n, generator, generator.device).cpu()].to(generator.device)

    monkeypatch.setattr(FrechetDistance, "update", noted)
    found: dict[str, dict[str, float]] = {}
    for place in ("cpu", "cuda"):
        model: Any = SimpleNamespace(
            spec=digits.spec, device=torch.device(place), conditional=False, chosen_by_samples=True, monitor="val/fid",
            sample=draw,
        )  # fmt: skip
        quality = SampleQuality(150, seed=0)
        quality._measure(digits, model)
        memory = torch.cuda.memory_allocated()
        found[place] = quality._measure(digits, model)
        assert torch.cuda.memory_allocated() == memory
        assert quality._instruments.extractor._classifier.feature_sd.device.type == "cpu"
        assert set(places) == {place}
        places.clear()
    assert found["cuda"] == pytest.approx(found["cpu"], rel=1e-3, abs=1e-5)
    assert found["cpu"]["val/fid"] > 0
