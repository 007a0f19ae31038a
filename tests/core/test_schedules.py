"""Learning-rate schedules."""

from __future__ import annotations

import pytest

from genlab.core.schedules import WarmupConstant, WarmupCosine


def test_warmup_cosine_rises_and_falls() -> None:
    assert WarmupCosine(warmup=0.1)(0.0) == 0
    assert WarmupCosine(warmup=0.1)(0.05) == pytest.approx(0.5)
    assert WarmupCosine(warmup=0.1)(0.1) == pytest.approx(1.0)
    assert WarmupCosine(warmup=0.1, final=0.2)(0.55) == pytest.approx(0.6)
    assert WarmupCosine(warmup=0.1, final=0.2)(1.0) == pytest.approx(0.2)
    assert WarmupCosine(warmup=0.0)(0.0) == pytest.approx(1.0)


def test_constant_only_warms_up() -> None:
    assert [WarmupConstant(warmup=0.5)(f) for f in (0.0, 0.25, 0.5, 1.0)] == [0.0, 0.5, 1.0, 1.0]
    assert WarmupConstant()(0.0) == 1.0
