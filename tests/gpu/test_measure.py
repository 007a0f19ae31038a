"""Figures of samples do not depend on where they are computed."""

from __future__ import annotations

import pytest
import torch

from genlab.core.batch import Batch
from genlab.core.spec import DataSpec
from genlab.data.images import Digits
from genlab.measure.case import Instruments, Reference
from genlab.measure.features.choice import choose_extractor
from genlab.measure.quality import measure_quality

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
